"""What each fault of joints and process signals does to them, and where it strikes."""

import numpy as np
import pytest

from simulators.faults.parts import Part, Place, Signal, places
from simulators.faults.registry import lookup, start
from stream.messages import Floats, Kind
from tests.scenes import NAMES, SEEDS, SIGNAL, motion

SENSORS = (Part.ENCODER, Part.VELOCITY, Part.TORQUE)


def seed_of(name: str, part: Part, nth: int = 0) -> int:
    """A seed with which this fault strikes this part."""
    entry = lookup(Kind.VECTOR, name)
    return [seed for seed in range(80) if entry.struck(seed, SIGNAL).part is part][nth]


def after(
    name: str, severity: float, seed: int, values: Floats, seconds: Floats, signal: Signal = SIGNAL
) -> Floats:
    return start(Kind.VECTOR, name, severity, seed, signal)(values, seconds)


def changed_columns(before: Floats, now: Floats) -> set[str]:
    return {NAMES[column] for column in np.flatnonzero((now != before).any(axis=0))}


def test_channels_group_into_parts_of_joints_by_their_names() -> None:
    found = places(("torque_a", "position_a", "force", "velocity_a", "position_b"), 5)
    joints = [Place(measured=1, derived=3), Place(measured=4)]
    assert found == {
        Part.JOINT: joints,
        Part.ENCODER: joints,
        Part.VELOCITY: [Place(measured=3)],
        Part.TORQUE: [Place(measured=0)],
        Part.CHANNEL: [Place(measured=2)],
    }
    assert places((), 2) == {Part.CHANNEL: [Place(measured=0), Place(measured=1)]}


@pytest.mark.parametrize("part", SENSORS)
def test_a_fault_strikes_only_what_it_says(part: Part) -> None:
    values, seconds = motion()
    for nth in range(3):
        seed = seed_of("noise", part, nth)
        struck = lookup(Kind.VECTOR, "noise").struck(seed, SIGNAL)
        assert struck.part is part
        hit = changed_columns(values, after("noise", 0.5, seed, values, seconds))
        assert hit == {NAMES[column] for column in struck.columns}
        quantities = {name.split("_")[0] for name in hit}
        own = {Part.ENCODER: {"position", "velocity"}}.get(part, {str(part)})
        assert quantities == own


def test_one_to_three_joints_are_hit_and_over_seeds_all_of_them() -> None:
    hit = [set(lookup(Kind.VECTOR, "noise").struck(seed, SIGNAL).measured) for seed in range(80)]
    assert {len(columns) for columns in hit} == {1, 2, 3}
    assert set.union(*hit) == set(range(18))


def test_what_never_moves_is_hit_only_where_nothing_does() -> None:
    still = SIGNAL.spread.copy()
    still[[0, 6, 12, 1, 7, 13]] = 0
    moving = Signal(rate_hz=125.0, spread=still, noise_sd=SIGNAL.noise_sd, names=NAMES)
    values, seconds = motion()
    for seed in range(20):
        now = after("stuck", 0.5, seed, values, seconds, moving)
        np.testing.assert_array_equal(now[:, [0, 1, 6, 7, 12, 13]], values[:, [0, 1, 6, 7, 12, 13]])
    none = Signal(rate_hz=125.0, spread=0 * still, noise_sd=SIGNAL.noise_sd, names=NAMES)
    assert (after("stuck", 0.5, 1, values, seconds, none) != values).any()


def test_channels_without_joint_names_are_hit_one_by_one() -> None:
    signal = Signal(rate_hz=9.7, spread=np.ones(6), noise_sd=np.zeros(6))
    values, seconds = np.zeros((50, 6)), np.arange(50) / 9.7
    for name in ("drift", "offset", "periodic"):
        now = after(name, 1.0, 3, values, seconds, signal)
        assert 1 <= np.count_nonzero(now.any(axis=0)) <= 3
        assert lookup(Kind.VECTOR, name).struck(3, signal).part is Part.CHANNEL


def test_a_drifting_encoder_gives_its_rate_to_the_velocity_and_nothing_to_the_torque() -> None:
    values, seconds = motion()
    added = after("drift", 0.4, seed_of("drift", Part.ENCODER), values, seconds) - values
    rate = added[0, 6:12]
    np.testing.assert_allclose(added[:, :6], seconds[:, None] * rate, atol=1e-12)
    np.testing.assert_allclose(added[:, 6:12], np.broadcast_to(rate, (100, 6)), atol=1e-12)
    assert not added[:, 12:].any()
    assert set(np.abs(rate[rate != 0]).round(9)) == {0.16}


def test_a_drifting_torque_runs_away_alone() -> None:
    values, seconds = motion()
    added = after("drift", 0.4, seed_of("drift", Part.TORQUE), values, seconds) - values
    assert not added[:, :12].any()
    assert set(np.abs(added[-1, 12:] / seconds[-1]).round(9)) == {0.0, 2.0}


@pytest.mark.parametrize("name", ["exponential_drift", "spike", "periodic"])
def test_the_velocity_is_the_slope_of_what_an_encoder_shows(name: str) -> None:
    """Of a joint that rests, so that every motion is the fault's."""
    seconds = np.arange(30_000) / 10_000
    still = np.zeros((30_000, 18))
    part = Part.JOINT if name == "periodic" else Part.ENCODER
    now = after(name, 1.0, seed_of(name, part), still, seconds)
    slope = np.gradient(now[:, :6], seconds, axis=0)[1:-1]
    wrong = np.abs(slope - now[1:-1, 6:12]).max(axis=1) > 0.01
    assert wrong.mean() < 0.001, "but where it ends, and between two spikes"
    assert np.abs(slope).max() > 0.1


def test_an_exponential_drift_grows_faster_and_faster_and_ends_at_three_spreads() -> None:
    seconds = np.arange(1000) / 125
    now = after("exponential_drift", 1.0, 1, np.zeros((1000, 18)), seconds)
    error = np.abs(now[:, lookup(Kind.VECTOR, "exponential_drift").struck(1, SIGNAL).measured[0]])
    spread = SIGNAL.spread[lookup(Kind.VECTOR, "exponential_drift").struck(1, SIGNAL).measured[0]]
    assert error[125] == pytest.approx(0.3 * spread * (np.e - 1))
    assert error.max() == error[-1] == pytest.approx(3 * spread)


def test_a_stuck_encoder_is_bit_equal_from_its_onset_with_no_velocity_while_torque_goes_on() -> (
    None
):
    values, seconds = motion()
    now = after("stuck", 0.2, seed_of("stuck", Part.ENCODER), values, seconds)
    hit = np.flatnonzero((now[:, :6] != values[:, :6]).any(axis=0))
    assert hit.size
    np.testing.assert_array_equal(now[:, hit], np.broadcast_to(values[0, hit], (100, hit.size)))
    assert not now[:, 6 + hit].any()
    np.testing.assert_array_equal(now[:, 12:], values[:, 12:])


def test_a_lost_reference_leaves_the_velocity_right() -> None:
    values, seconds = motion()
    for nth in range(3):
        now = after("offset", 0.5, seed_of("offset", Part.ENCODER, nth), values, seconds)
        assert all(name.startswith("position") for name in changed_columns(values, now))
        assert {0.0, 0.5} == set(np.abs((now - values) / SIGNAL.spread).ravel().round(9))


def test_steps_go_up_and_back_again_and_again() -> None:
    seconds = np.arange(500) / 125
    now = after("step", 0.5, 2, np.zeros((500, 18)), seconds) / SIGNAL.spread
    column = lookup(Kind.VECTOR, "step").struck(2, SIGNAL).measured[0]
    assert set(np.abs(now[:, column]).round(9)) == {0.0, 0.5}
    edges_s = seconds[1:][np.diff(now[:, column]) != 0]
    assert len(edges_s) >= 4
    assert 0.15 <= np.diff(edges_s).mean() <= 0.4


def test_spikes_are_gaussians_of_their_height_that_come_again() -> None:
    seconds = np.arange(20_000) / 5000
    seed = seed_of("spike", Part.TORQUE)
    now = np.abs(after("spike", 0.6, seed, np.zeros((20_000, 18)), seconds) / SIGNAL.spread)
    pulse = now[:, lookup(Kind.VECTOR, "spike").struck(seed, SIGNAL).measured[0]]
    assert pulse.max() == pytest.approx(0.3, rel=1e-3)
    assert pulse.min() < 0.001
    above = np.flatnonzero(np.diff((pulse > pulse.max() / 2).astype(int)))
    width_s = (above[1] - above[0]) / 5000
    assert 0.03 <= width_s / 2.355 <= 0.05
    assert 6 <= len(above) / 2 <= 10


def test_a_wrong_scale_keeps_position_and_velocity_consistent() -> None:
    values, seconds = np.ones((10, 18)), np.arange(10) / 125
    factor = after("gain", 1.0, seed_of("gain", Part.ENCODER), values, seconds)
    np.testing.assert_allclose(factor[:, :6], factor[:, 6:12])
    assert set(factor[0].round(9)) <= {0.5, 1.0, 1.5}
    assert set(factor[0].round(9)) != {1.0}


def test_noise_has_the_standard_deviation_that_its_severity_says() -> None:
    seconds = np.arange(4000) / 125
    now = after("noise", 0.4, seed_of("noise", Part.ENCODER), np.zeros((4000, 18)), seconds)
    deviation = (now / SIGNAL.spread).std(axis=0)
    np.testing.assert_allclose(deviation[deviation > 0], 0.2, rtol=0.05)
    hit = np.flatnonzero(deviation)
    assert abs(np.corrcoef(now[:, hit[0]], now[:, hit[-1]])[0, 1]) < 0.06


@pytest.mark.parametrize("part", SENSORS)
def test_a_turned_direction_changes_every_sign_it_reaches(part: Part) -> None:
    values, seconds = motion()
    seed = seed_of("sign_flip", part)
    now = after("sign_flip", 0.1, seed, values, seconds)
    columns = lookup(Kind.VECTOR, "sign_flip").struck(seed, SIGNAL).columns
    np.testing.assert_array_equal(now[:, columns], -values[:, columns])
    assert len(columns) == len(changed_columns(values, now))


def test_exchanged_encoders_show_each_others_position_and_velocity() -> None:
    values, seconds = motion()
    now = after("channel_swap", 0.1, seed_of("channel_swap", Part.ENCODER), values, seconds)
    from_column = [int(np.argmin(np.abs(values - now[:, [at]]).sum(axis=0))) for at in range(18)]
    np.testing.assert_array_equal(now, values[:, from_column])
    assert sorted(from_column) == list(range(18))
    moved = [at for at in range(6) if from_column[at] != at]
    assert 2 <= len(moved) <= 3
    assert [from_column[at + 6] - 6 for at in range(6)] == from_column[:6]
    assert from_column[12:] == list(range(12, 18))


def test_too_few_bits_leave_only_multiples_of_the_step() -> None:
    values, seconds = motion()
    seed = seed_of("quantisation", Part.ENCODER)
    now = after("quantisation", 0.4, seed, values, seconds)
    columns = lookup(Kind.VECTOR, "quantisation").struck(seed, SIGNAL).columns
    steps = now[:, columns] / (0.2 * SIGNAL.spread[columns])
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-9)
    assert np.abs(now - values)[:, columns].max() <= 0.1 * SIGNAL.spread[columns].max() + 1e-12


def test_a_saturated_encoder_stops_at_its_ends_and_has_no_velocity_there() -> None:
    values, seconds = motion(800)
    seed = seed_of("saturation", Part.ENCODER)
    now = after("saturation", 0.8, seed, values, seconds)
    place = lookup(Kind.VECTOR, "saturation").struck(seed, SIGNAL).places[0]
    assert place.derived is not None
    reach = (1 - 0.8 * 0.95) * 2 * SIGNAL.spread[place.measured]
    away = now[:, place.measured] - values[0, place.measured]
    assert np.abs(away).max() == pytest.approx(reach)
    stopped = now[:, place.measured] != values[:, place.measured]
    assert 0 < stopped.mean() < 1
    assert not now[stopped, place.derived].any()
    np.testing.assert_array_equal(now[~stopped], values[~stopped])


@pytest.mark.parametrize(("severity", "samples"), [(0.2, 5), (1.0, 25), (0.001, 1)])
def test_a_cut_out_loses_so_many_samples_from_the_onset_and_again(
    severity: float, samples: int
) -> None:
    seconds = np.arange(500) / 125
    now = after("cut_out", severity, 3, np.ones((500, 18)), seconds)
    column = lookup(Kind.VECTOR, "cut_out").struck(3, SIGNAL).columns[0]
    lost = np.concatenate([[False], now[:, column] == 0, [False]])
    starts, ends = (np.flatnonzero(np.diff(lost.astype(int)) == way) for way in (1, -1))
    assert starts[0] == 0
    assert len(starts) > 5
    assert set((ends - starts)[:-1]) == {samples}
    assert 10 <= (starts[1:] - ends[:-1]).min() <= (starts[1:] - ends[:-1]).max() <= 30


def test_a_warped_sensor_shows_its_own_past_and_the_velocity_of_what_it_shows() -> None:
    seconds = np.arange(2000) / 1000
    values = np.tile(seconds[:, None], (1, 18))
    values[:, 6:] = 1.0  # a joint that moves at one unit a second
    seed = seed_of("time_warp", Part.ENCODER)
    now = after("time_warp", 1.0, seed, values, seconds)
    place = lookup(Kind.VECTOR, "time_warp").struck(seed, SIGNAL).places[0]
    lag_s = seconds - now[:, place.measured]
    assert lag_s.min() >= -1e-12
    assert lag_s.max() == pytest.approx(0.4, abs=0.001)
    slope = np.gradient(now[:, place.measured], seconds)[1:-1]
    assert place.derived is not None
    np.testing.assert_allclose(slope, now[1:-1, place.derived], atol=0.01)
    assert slope.min() > 0, "time never runs backwards"


def test_a_masked_band_is_missing_and_what_lies_far_from_it_stays() -> None:
    seed = seed_of("frequency_mask", Part.TORQUE)
    column = lookup(Kind.VECTOR, "frequency_mask").struck(seed, SIGNAL).measured[0]
    seconds = np.arange(20_000) / 125
    passed = []
    frequencies_hz = [0.01, *np.geomspace(0.2, 8, 40), 40.0]
    for hertz in frequencies_hz:
        values = np.tile(np.sin(2 * np.pi * hertz * seconds)[:, None], (1, 18))
        now = after("frequency_mask", 1.0, seed, values, seconds)
        passed.append(float(now[-8000:, column].std() / values[-8000:, column].std()))
    assert passed[0] > 0.98
    assert passed[-1] > 0.98
    assert min(passed) < 0.15
    assert 0.4 * 0.9 <= frequencies_hz[int(np.argmin(passed))] <= 4 * 1.1


def test_a_masked_band_does_not_shift_what_rests() -> None:
    seconds = np.arange(300) / 125
    values = np.full((300, 18), 3.0)
    for seed in SEEDS:
        np.testing.assert_allclose(
            after("frequency_mask", 1.0, seed, values, seconds), values, atol=1e-9
        )
