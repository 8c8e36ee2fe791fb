"""The catalogue: what every fault must keep to."""

import re
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.faults.effect import image_effect, signal_noise, vector_effect
from simulators.faults.parts import Part
from simulators.faults.registry import (
    FAULTS,
    FaultError,
    ImageInjector,
    Origin,
    UnknownFault,
    catalogue,
    fault,
    fault_names,
    lookup,
    names_for,
    start,
)
from stream.messages import Kind
from tests.scenes import SEEDS, SIGNAL, motion, scene

IMAGE_FAULTS = fault_names(Kind.IMAGE)
VECTOR_FAULTS = fault_names(Kind.VECTOR)
STREAM_FAULTS = fault_names(None)
WITHOUT_DEGREE = {
    *("frozen", "frozen_noisy", "colour_swap", "stuck", "sign_flip", "channel_swap"),
}
NOTHING_DRAWN = {"blur", "black", "white", "frozen", "replayed"}
GRADED_IMAGES = sorted(set(IMAGE_FAULTS) - WITHOUT_DEGREE)
GRADED_VECTORS = sorted(set(VECTOR_FAULTS) - WITHOUT_DEGREE)
ADDING_VECTORS = ["drift", "frequency_mask", "gain", "noise", "offset", "periodic", "spike", "step"]


def test_the_whole_catalogue_is_there() -> None:
    lens = {"blur", "dust", "lens_flare", "water_drops", "scratches", "cracked_lens", "occlusion"}
    light = {"brightness", "contrast", "saturation", "hue", "perlin_fog", "fractal_fog", "smoke"}
    chip = {"salt_and_pepper", "noise", "speckle", "noise_frame", "black", "white", "colour_swap"}
    assert lens | light | chip | {"frozen", "frozen_noisy", "replayed"} == set(IMAGE_FAULTS)
    assert set(VECTOR_FAULTS) == {
        *("noise", "offset", "drift", "exponential_drift", "gain", "cut_out", "stuck"),
        *("channel_swap", "sign_flip", "time_warp", "spike", "step", "periodic"),
        *("frequency_mask", "quantisation", "saturation"),
    }
    assert set(STREAM_FAULTS) == {
        *("late", "missing", "duplicated", "reordered"),
        *("clock_offset", "clock_drift", "stalled", "malformed"),
    }


def test_every_entry_says_what_severity_scales_and_which_severities_were_published() -> None:
    for (kind, name), entry in catalogue().items():
        low, high = entry.published_range
        assert 0 < low <= high <= 1
        assert re.search(r"\d.* at 1$|^nothing: ", entry.parameter)
        assert entry.start.__doc__
        assert (entry.maximum is None) == (name in WITHOUT_DEGREE)
        assert (entry.origin is Origin.TRANSPORT) == (kind is None)


def test_a_fault_is_started_with_severity_times_its_maximum() -> None:
    amounts: list[float] = []

    def watched(amount: float, rng: np.random.Generator) -> ImageInjector:
        """Change nothing."""
        amounts.append(amount)
        return lambda frame, seconds: frame

    with entered(watched, maximum=9.0):
        start(Kind.IMAGE, "watched", 0.25, 0)
    with entered(watched, maximum=None):
        start(Kind.IMAGE, "watched", 0.25, 0)
    assert amounts == [2.25, 1.0]


class entered:  # noqa: N801  # reads as what it is in a with statement
    """A fault of this name in the catalogue, for as long as the with statement lasts."""

    def __init__(self, begin: Callable[..., ImageInjector], maximum: float | None = 1.0) -> None:
        self._begin, self._maximum = begin, maximum

    def __enter__(self) -> None:
        fault(
            name=self._begin.__name__,
            kind=Kind.IMAGE,
            origin=Origin.SENSOR,
            scales="opacity",
            maximum=self._maximum,
            published_range=(1.0, 1.0),
        )(self._begin)

    def __exit__(self, *_: object) -> None:
        del FAULTS[Kind.IMAGE, self._begin.__name__]


def test_a_fault_joins_by_being_written_and_only_once() -> None:
    def inverted(amount: float, rng: np.random.Generator) -> ImageInjector:
        """Turn light to dark."""
        return lambda frame, seconds: 255 - frame

    def late(amount: float, rng: np.random.Generator) -> ImageInjector:
        """Carry the name of a fault of streams."""
        return lambda frame, seconds: frame

    catalogue()
    with entered(inverted):
        changed = start(Kind.IMAGE, "inverted", 1.0, 0)(scene(), 0.0)
        np.testing.assert_array_equal(changed, 255 - scene())
        for begin in (inverted, late):
            with (
                pytest.raises(ValueError, match=f"'{begin.__name__}' is in the catalogue already"),
                entered(begin),
            ):
                pass


def test_an_unknown_fault_is_told_with_the_names_there_are() -> None:
    with pytest.raises(UnknownFault, match=r"'smudge'.*black, blur,.*late,.*salt_and_pepper"):
        lookup(Kind.IMAGE, "smudge")
    with pytest.raises(UnknownFault, match=r"no image fault is named 'drift'"):
        start(Kind.IMAGE, "drift", 0.5, 1)
    with pytest.raises(UnknownFault, match=r"no stream fault is named 'drift'"):
        lookup(None, "drift")


def test_what_happens_to_messages_can_be_looked_up_for_any_kind_and_is_in_neithers_own() -> None:
    for kind in Kind:
        assert set(STREAM_FAULTS) < set(names_for(kind))
        assert not set(STREAM_FAULTS) & set(fault_names(kind))
        assert lookup(kind, "late") is lookup(None, "late")
    with pytest.raises(UnknownFault, match="'late' is a fault of streams, not of images"):
        start(Kind.IMAGE, "late", 0.5, 1)


@pytest.mark.parametrize("severity", [-0.1, 1.01, float("nan")])
def test_a_severity_outside_zero_to_one_is_refused(severity: float) -> None:
    with pytest.raises(FaultError, match="outside 0 to 1"):
        start(Kind.IMAGE, "blur", severity, 1)


def test_a_vector_fault_without_its_signal_is_refused() -> None:
    with pytest.raises(FaultError, match="needs the signal"):
        start(Kind.VECTOR, "drift", 0.5, 1)


@pytest.mark.parametrize("name", IMAGE_FAULTS)
def test_an_image_fault_at_severity_zero_changes_nothing(name: str) -> None:
    injector = start(Kind.IMAGE, name, 0.0, 3)
    for number in range(3):
        np.testing.assert_array_equal(injector(scene(number), number / 15), scene(number))


@pytest.mark.parametrize("name", VECTOR_FAULTS)
def test_a_vector_fault_at_severity_zero_changes_nothing(name: str) -> None:
    values, seconds = motion()
    np.testing.assert_array_equal(start(Kind.VECTOR, name, 0.0, 3, SIGNAL)(values, seconds), values)


@pytest.mark.parametrize("name", GRADED_IMAGES)
def test_an_image_fault_vanishes_towards_severity_zero(name: str) -> None:
    faint = start(Kind.IMAGE, name, 1e-7, 3)
    for number in range(2):
        assert image_effect(scene(number), faint(scene(number), number / 15)) < 0.5


@pytest.mark.parametrize("name", ADDING_VECTORS)
def test_what_a_fault_adds_is_linear_in_its_severity(name: str) -> None:
    values, seconds = motion()
    quarter, whole = (
        start(Kind.VECTOR, name, severity, 3, SIGNAL)(values, seconds) - values
        for severity in (0.25, 1.0)
    )
    np.testing.assert_allclose(4 * quarter, whole, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(GRADED_IMAGES) - {"replayed"}))
def test_the_effect_on_images_grows_with_severity(name: str) -> None:
    for seed in SEEDS[:4]:
        changes = [image_change(name, severity, seed) for severity in (0.1, 0.3, 0.6, 1.0)]
        assert changes == sorted(changes)
        assert changes[1] > 0


def image_change(name: str, severity: float, seed: int) -> float:
    changed = start(Kind.IMAGE, name, severity, seed)(scene(), 0.0)
    return float(np.abs(changed - scene() * 1.0).mean())


@pytest.mark.parametrize("name", GRADED_VECTORS)
def test_the_effect_on_vectors_grows_with_severity(name: str) -> None:
    values, seconds = motion(500)
    for seed in SEEDS:
        changes = [
            float(np.abs(start(Kind.VECTOR, name, s, seed, SIGNAL)(values, seconds) - values).sum())
            for s in (0.05, 0.3, 0.6, 1.0)
        ]
        assert changes == sorted(changes)
        assert changes[1] > 0


@pytest.mark.parametrize("name", VECTOR_FAULTS)
def test_a_mild_vector_fault_stands_out_of_the_noise_without_leaving_the_range(name: str) -> None:
    values, seconds = motion(300)
    for seed in SEEDS:
        after = start(Kind.VECTOR, name, 0.3, seed, SIGNAL)(values, seconds)
        assert vector_effect(values, after, signal_noise(SIGNAL)) > 3
        assert np.abs((after - values) / SIGNAL.spread).max() < 3


@pytest.mark.parametrize("name", IMAGE_FAULTS)
def test_the_same_seed_gives_the_same_images_and_leaves_the_input_alone(name: str) -> None:
    given_frame, untouched = scene(), scene()
    once, again = (start(Kind.IMAGE, name, 0.6, 11) for _ in range(2))
    for number in range(3):
        np.testing.assert_array_equal(once(given_frame, number / 15), again(scene(), number / 15))
    np.testing.assert_array_equal(given_frame, untouched)


@pytest.mark.parametrize("name", VECTOR_FAULTS)
def test_the_same_seed_gives_the_same_vectors_and_leaves_the_input_alone(name: str) -> None:
    (values, seconds), (untouched, _) = motion(), motion()
    once, again = (
        start(Kind.VECTOR, name, 0.6, 11, SIGNAL)(values, seconds) for values in (values, untouched)
    )
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(values, untouched)
    assert (once.shape, once.dtype) == (values.shape, values.dtype)


@pytest.mark.parametrize("name", sorted(set(IMAGE_FAULTS) - NOTHING_DRAWN))
def test_another_seed_gives_another_image_fault(name: str) -> None:
    drawn = {start(Kind.IMAGE, name, 0.6, seed)(scene(), 0.0).tobytes() for seed in range(6)}
    assert len(drawn) > 1


@pytest.mark.parametrize("name", VECTOR_FAULTS)
def test_another_seed_strikes_another_part(name: str) -> None:
    struck = {lookup(Kind.VECTOR, name).struck(seed, SIGNAL).part for seed in range(30)}
    upstream = lookup(Kind.VECTOR, name).origin is Origin.UPSTREAM
    assert struck == ({Part.JOINT} if upstream else {Part.ENCODER, Part.VELOCITY, Part.TORQUE})


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (255, 255), (480, 640)])
@pytest.mark.parametrize("name", IMAGE_FAULTS)
def test_an_image_fault_takes_frames_of_any_size(name: str, shape: tuple[int, int]) -> None:
    frame = scene(0, *shape)
    changed = start(Kind.IMAGE, name, 0.7, 2)(frame, 0.3)
    assert changed.shape == frame.shape
    assert changed.dtype == np.uint8


@pytest.mark.parametrize("name", VECTOR_FAULTS)
@given(cuts=st.lists(st.integers(0, 100), max_size=6), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_how_samples_are_batched_changes_nothing(name: str, cuts: list[int], seed: int) -> None:
    values, seconds = motion()
    whole = start(Kind.VECTOR, name, 0.5, seed, SIGNAL)(values, seconds)
    injector = start(Kind.VECTOR, name, 0.5, seed, SIGNAL)
    bounds = [0, *sorted(cuts), 100]
    parts = [injector(values[low:high], seconds[low:high]) for low, high in pairwise(bounds)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("name", VECTOR_FAULTS)
def test_recorded_garbage_harms_no_later_sample_for_ever(name: str) -> None:
    values, seconds = motion(400)
    values[:3] = np.nan
    values[60] = np.inf
    with np.errstate(invalid="ignore"):
        after = start(Kind.VECTOR, name, 0.5, 4, SIGNAL)(values, seconds)
    if name != "stuck":  # which holds what it found
        assert np.isfinite(after[200:]).all()
