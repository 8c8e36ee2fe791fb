"""The catalogue: what every fault must keep to, and how the effect of one is measured."""

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulators.faults.effect import image_effect, measure_spread, signal_noise, vector_effect
from simulators.faults.registry import (
    FAULTS,
    FaultError,
    Origin,
    Signal,
    UnknownFault,
    catalogue,
    fault,
    fault_names,
    lookup,
    start,
)
from stream.messages import Kind, Samples
from tests.scenes import SEEDS, SIGNAL, motion, scene

IMAGE_FAULTS = fault_names(Kind.IMAGE)
VECTOR_FAULTS = fault_names(Kind.VECTOR)
WITHOUT_DEGREE = {"frozen", "stuck"}


def test_the_faults_of_the_demo_are_in_the_catalogue() -> None:
    assert {"occlusion", "blur", "frozen", "black"} <= set(IMAGE_FAULTS)
    assert {"drift", "stuck", "noise"} <= set(VECTOR_FAULTS)


def test_every_entry_says_what_severity_scales_and_which_severities_were_published() -> None:
    for entry in catalogue().values():
        low, high = entry.published_range
        assert 0 < low <= high <= 1
        assert re.search(r"\d.* at 1$|^nothing: ", entry.parameter)
        assert entry.start.__doc__


def test_an_unknown_fault_is_told_with_the_names_there_are() -> None:
    with pytest.raises(UnknownFault, match=r"'smudge'.*black, blur,.*salt_and_pepper"):
        lookup(Kind.IMAGE, "smudge")
    with pytest.raises(UnknownFault, match=r"no image fault is named 'drift'"):
        start(Kind.IMAGE, "drift", 0.5, 1)


@pytest.mark.parametrize("severity", [-0.1, 1.01, float("nan")])
def test_a_severity_outside_zero_to_one_is_refused(severity: float) -> None:
    with pytest.raises(FaultError, match="outside 0 to 1"):
        start(Kind.IMAGE, "blur", severity, 1)


def test_a_vector_fault_without_its_signal_is_refused() -> None:
    with pytest.raises(FaultError, match="needs the signal"):
        start(Kind.VECTOR, "drift", 0.5, 1)


def test_a_fault_joins_by_being_written_and_only_once() -> None:
    def enter() -> None:
        @fault(
            name="inverted",
            kind=Kind.IMAGE,
            origin=Origin.SENSOR,
            parameter="opacity, 1 at 1",
            published_range=(1.0, 1.0),
        )
        def inverted(severity: float, rng: np.random.Generator, signal: None) -> object:
            return lambda frame, seconds: 255 - frame

    try:
        enter()
        changed = start(Kind.IMAGE, "inverted", 1.0, 0)(scene(), 0.0)
        np.testing.assert_array_equal(changed, 255 - scene())
        with pytest.raises(ValueError, match="'inverted' is in the catalogue already"):
            enter()
    finally:
        del FAULTS[Kind.IMAGE, "inverted"]


@pytest.mark.parametrize("name", IMAGE_FAULTS)
def test_an_image_fault_at_severity_zero_changes_nothing(name: str) -> None:
    injector = start(Kind.IMAGE, name, 0.0, 3)
    for number in range(3):
        np.testing.assert_array_equal(injector(scene(number), number / 15), scene(number))


@pytest.mark.parametrize("name", VECTOR_FAULTS)
def test_a_vector_fault_at_severity_zero_changes_nothing(name: str) -> None:
    values, seconds = motion()
    np.testing.assert_array_equal(start(Kind.VECTOR, name, 0.0, 3, SIGNAL)(values, seconds), values)


@pytest.mark.parametrize("name", sorted(set(IMAGE_FAULTS) - WITHOUT_DEGREE))
def test_an_image_fault_vanishes_towards_severity_zero(name: str) -> None:
    faint = start(Kind.IMAGE, name, 1e-7, 3)(scene(), 0.0)
    assert image_effect(scene(), faint) < 0.5


@pytest.mark.parametrize("name", sorted(set(VECTOR_FAULTS) - WITHOUT_DEGREE))
def test_a_vector_fault_is_linear_in_its_severity(name: str) -> None:
    values, seconds = motion()
    quarter, whole = (
        start(Kind.VECTOR, name, severity, 3, SIGNAL)(values, seconds) - values
        for severity in (0.25, 1.0)
    )
    np.testing.assert_allclose(4 * quarter, whole, atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(IMAGE_FAULTS) - WITHOUT_DEGREE))
def test_the_effect_on_images_grows_with_severity(name: str) -> None:
    for seed in SEEDS:
        changes = [
            float(np.abs(start(Kind.IMAGE, name, s, seed)(scene(), 0.0) - scene() * 1.0).mean())
            for s in (0.1, 0.3, 0.6, 1.0)
        ]
        assert changes == sorted(changes)
        assert changes[0] > 0


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


@pytest.mark.parametrize("name", sorted(set(IMAGE_FAULTS) - {"blur", "black", "frozen"}))
def test_another_seed_gives_another_image_fault(name: str) -> None:
    drawn = {start(Kind.IMAGE, name, 0.6, seed)(scene(), 0.0).tobytes() for seed in range(12)}
    assert len(drawn) > 1


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (480, 640)])
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


def test_the_effect_on_vectors_is_the_largest_change_in_sensor_noises() -> None:
    before = np.zeros((3, 2))
    after = np.array([[0, 0], [0.5, -0.2], [np.nan, 0]])
    assert vector_effect(before, after, np.array([0.1, 0.01])) == pytest.approx(20)
    assert vector_effect(before[:0], after[:0], np.ones(2)) == 0


def test_where_the_noise_is_unknown_a_hundredth_of_the_spread_stands_for_it() -> None:
    signal = Signal(rate_hz=30, spread=np.array([2.0, 2.0, 0.0]), noise_sd=np.array([0.1, 0, 0]))
    np.testing.assert_allclose(signal_noise(signal), [0.1, 0.02, 1.0])


def test_the_effect_on_images_is_that_of_the_worst_block() -> None:
    before = np.full((40, 50, 3), 100, np.uint8)
    after = before.copy()
    after[0:16, 0:16] = 90
    assert image_effect(before, after) == pytest.approx(5)
    assert image_effect(before, after, (1.0, 1.0, 1.0)) == pytest.approx(10)
    # The last block of a side takes what fills none of its own: here 24 of 40 and 18 of 50.
    after = before.copy()
    after[16:, 32:] = 80
    assert image_effect(before, after) == pytest.approx(10)


def test_the_spread_is_the_standard_deviation_over_all_finite_samples() -> None:
    values = np.random.default_rng(0).normal([1e6, 0, 5], [1, 1e-3, 0], (500, 3))
    batches = [
        Samples(modality="arm", times_ns=np.arange(100), values=part)
        for part in np.split(values, 5)
    ]
    broken = values[:1].copy()
    broken[0, 0] = np.nan
    odd = np.ones((1, 2))
    spread = measure_spread(
        [
            *batches,
            Samples(modality="arm", times_ns=np.arange(1), values=odd),
            Samples(modality="other", times_ns=np.arange(1), values=broken),
        ]
    )
    np.testing.assert_allclose(spread["arm"], values.std(axis=0), rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(spread["other"], np.zeros(3))
