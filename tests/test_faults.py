"""The catalogue: what every fault must keep to, and what each does."""

import re
from itertools import pairwise

import cv2
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
from simulators.faults.vectors import joints
from stream.messages import Floats, Kind, Pixels, Samples

IMAGE_FAULTS = fault_names(Kind.IMAGE)
VECTOR_FAULTS = fault_names(Kind.VECTOR)
WITHOUT_DEGREE = {"frozen", "stuck"}
NAMES = tuple(f"{what}_{k}" for what in ("position", "velocity", "torque") for k in range(1, 7))
SIGNAL = Signal(
    rate_hz=125.0,
    spread=np.repeat([0.4, 0.6, 5.0], 6),
    noise_sd=np.repeat([0.001, 0.01, 0.1], 6),
    names=NAMES,
)
SEEDS = range(8)


def scene(seed: int = 0, height: int = 96, width: int = 128) -> Pixels:
    rough = np.random.default_rng(seed).integers(20, 236, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def motion(samples: int = 100) -> tuple[Floats, Floats]:
    seconds = np.arange(samples) / 125
    phases = np.linspace(0, 5, 18)
    return np.sin(seconds[:, None] * 2 + phases) * SIGNAL.spread * 1.4, seconds


def hit_columns(name: str, seed: int, severity: float = 0.5) -> set[str]:
    values, seconds = motion()
    after = start(Kind.VECTOR, name, severity, seed, SIGNAL)(values, seconds)
    return {NAMES[column] for column in np.flatnonzero((after != values).any(axis=0))}


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


@pytest.mark.parametrize("severity", [0.2, 0.6, 1.0])
def test_an_occluder_covers_its_share_of_the_frame_wherever_it_stands(severity: float) -> None:
    grey = np.full((256, 256, 3), 200, np.uint8)
    for seed in SEEDS:
        covered = start(Kind.IMAGE, "occlusion", severity, seed)(grey, 0.0)[:, :, 0] < 160
        assert covered.mean() == pytest.approx(0.5 * severity, abs=0.02)


def test_an_occluder_stays_in_place_but_for_a_slow_sway() -> None:
    grey = np.full((128, 128, 3), 200, np.uint8)
    injector = start(Kind.IMAGE, "occlusion", 0.5, 4)
    covered = [injector(grey, seconds)[:, :, 0] < 160 for seconds in np.arange(60) / 15]
    moved = [float((covered[0] ^ later).mean()) for later in covered]
    assert 0 < max(moved) < 0.08
    np.testing.assert_array_equal(covered[0], injector(grey, 0.0)[:, :, 0] < 160)


def test_dust_lies_in_the_same_place_on_every_frame() -> None:
    injector = start(Kind.IMAGE, "dust", 1.0, 4)
    first, second = (
        np.abs(injector(scene(n), n / 15).astype(int) - scene(n)).sum(axis=2) > 60 for n in (0, 1)
    )
    assert 0.01 < first.mean() < 0.2
    both = (first & second).sum() / min(first.sum(), second.sum())
    assert both > 0.5


def test_a_frozen_camera_repeats_its_first_frame_bit_by_bit() -> None:
    injector = start(Kind.IMAGE, "frozen", 0.3, 4)
    reused = scene(0)
    np.testing.assert_array_equal(injector(reused, 0.0), scene(0))
    reused[:] = 0
    for number in range(1, 4):
        np.testing.assert_array_equal(injector(scene(number), number / 15), scene(0))


def test_black_is_wholly_black_at_one_and_half_as_bright_at_a_half() -> None:
    assert not start(Kind.IMAGE, "black", 1.0, 0)(scene(), 0.0).any()
    half = start(Kind.IMAGE, "black", 0.5, 0)(scene(), 0.0)
    assert half.mean() == pytest.approx(scene().mean() / 2, rel=0.01)


def test_blur_smooths_a_point_to_the_sigma_that_its_severity_says() -> None:
    point = np.zeros((101, 101, 3), np.uint8)
    point[49:52, 49:52] = 255
    blurred = start(Kind.IMAGE, "blur", 1 / 3, 0)(point, 0.0)[:, :, 0].astype(float)
    across = (np.arange(101) - 50) ** 2
    variance = (blurred.sum(axis=0) * across).sum() / blurred.sum()
    assert np.sqrt(variance - 2 / 3) == pytest.approx(3.0, rel=0.1)


def test_image_noise_has_the_standard_deviation_that_its_severity_says() -> None:
    grey = np.full((256, 256, 3), 128, np.uint8)
    injector = start(Kind.IMAGE, "noise", 0.4, 0)
    first, second = (injector(grey, n / 15).astype(float) - 128 for n in (0, 1))
    assert first.std() == pytest.approx(20, rel=0.02)
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02


def test_channels_group_into_joints_by_their_names() -> None:
    grouped = joints(("torque_a", "position_a", "force", "velocity_a", "position_b"), 5)
    assert [sorted(joint.columns) for joint in grouped] == [[0, 1, 3], [2], [4]]
    assert [joint.measured for joint in grouped] == [[1], [2], [4]]
    assert [joint.columns for joint in joints((), 3)] == [[0], [1], [2]]


def test_one_to_three_joints_are_hit_and_over_seeds_all_of_them() -> None:
    hit = [{name.split("_")[1] for name in hit_columns("noise", seed)} for seed in range(60)]
    assert {len(joint_numbers) for joint_numbers in hit} == {1, 2, 3}
    assert set.union(*hit) == set("123456")


def test_a_joint_that_never_moves_is_hit_only_where_none_moves() -> None:
    still = SIGNAL.spread.copy()
    still[[0, 6, 12, 1, 7, 13]] = 0
    moving = Signal(rate_hz=125.0, spread=still, noise_sd=SIGNAL.noise_sd, names=NAMES)
    values, seconds = motion()
    for seed in range(20):
        after = start(Kind.VECTOR, "stuck", 0.5, seed, moving)(values, seconds)
        np.testing.assert_array_equal(after[:, [0, 1]], values[:, [0, 1]])
    none = Signal(rate_hz=125.0, spread=0 * still, noise_sd=SIGNAL.noise_sd, names=NAMES)
    assert (start(Kind.VECTOR, "stuck", 0.5, 1, none)(values, seconds) != values).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drifting_encoder_gives_its_rate_to_the_velocity_and_nothing_to_the_torque(
    seed: int,
) -> None:
    values, seconds = motion()
    added = start(Kind.VECTOR, "drift", 0.4, seed, SIGNAL)(values, seconds) - values
    rate = added[0, 6:12]
    np.testing.assert_allclose(added[:, :6], seconds[:, None] * rate, atol=1e-12)
    np.testing.assert_allclose(added[:, 6:12], np.broadcast_to(rate, (100, 6)), atol=1e-12)
    assert not added[:, 12:].any()
    assert set(np.abs(rate[rate != 0]).round(9)) == {0.16}


def test_a_stuck_encoder_is_bit_equal_from_its_onset_with_no_velocity_while_torque_goes_on() -> (
    None
):
    values, seconds = motion()
    after = start(Kind.VECTOR, "stuck", 0.2, 1, SIGNAL)(values, seconds)
    hit = np.flatnonzero((after[:, :6] != values[:, :6]).any(axis=0))
    assert hit.size
    np.testing.assert_array_equal(after[:, hit], np.broadcast_to(values[0, hit], (100, hit.size)))
    assert not after[:, 6 + hit].any()
    np.testing.assert_array_equal(after[:, 12:], values[:, 12:])


def test_a_lost_reference_leaves_the_velocity_right() -> None:
    for seed in SEEDS:
        assert all(name.startswith("position") for name in hit_columns("offset", seed))


def test_a_wrong_scale_keeps_position_and_velocity_consistent() -> None:
    values, seconds = np.ones((10, 18)), np.arange(10) / 125
    factor = start(Kind.VECTOR, "gain", 1.0, 5, SIGNAL)(values, seconds) / values
    np.testing.assert_allclose(factor[:, :6], factor[:, 6:12])
    assert set(factor[0].round(9)) <= {0.5, 1.0, 1.5}
    assert set(factor[0].round(9)) != {1.0}


def test_a_shaking_joint_moves_as_its_velocity_says() -> None:
    seconds = np.arange(2000) / 10_000
    still = np.zeros((2000, 18))
    shaken = start(Kind.VECTOR, "periodic", 1.0, 2, SIGNAL)(still, seconds)
    slope = np.gradient(shaken[:, :6], seconds, axis=0)[1:-1]
    np.testing.assert_allclose(slope, shaken[1:-1, 6:12], atol=1e-4)
    assert np.abs(slope).max() > 0.1


def test_channels_without_joint_names_are_hit_one_by_one() -> None:
    signal = Signal(rate_hz=9.7, spread=np.ones(6), noise_sd=np.zeros(6))
    values, seconds = np.zeros((50, 6)), np.arange(50) / 9.7
    for name in ("drift", "offset", "periodic"):
        after = start(Kind.VECTOR, name, 1.0, 3, signal)(values, seconds)
        assert 1 <= np.count_nonzero(after.any(axis=0)) <= 3


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
