"""What each fault of the catalogue does to pictures or to joints."""

import numpy as np
import pytest

from simulators.faults.registry import Signal, start
from simulators.faults.vectors import joints
from stream.messages import Kind
from tests.scenes import NAMES, SEEDS, SIGNAL, motion, scene


def hit_columns(name: str, seed: int, severity: float = 0.5) -> set[str]:
    values, seconds = motion()
    after = start(Kind.VECTOR, name, severity, seed, SIGNAL)(values, seconds)
    return {NAMES[column] for column in np.flatnonzero((after != values).any(axis=0))}


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
