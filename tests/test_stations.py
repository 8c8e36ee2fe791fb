"""What holds for every simulated station: clocks, sensors, surroundings, and the same bytes."""

import numpy as np
import pytest
from numpy.random import default_rng

from simulators.stations.camera import CameraPlace, camera_pose
from simulators.stations.motion import spline
from simulators.stations.sensors import NS_PER_S, Clock, lagged
from simulators.stations.station import STATIONS
from simulators.stations.surroundings import draw_surroundings
from stream.messages import Frame
from tests.simulated import (
    SECONDS,
    columns,
    pixels,
    readings,
    recorded,
    seconds_of,
    trajectory,
)

every_station = pytest.mark.parametrize("station", sorted(STATIONS))
every_modality = pytest.mark.parametrize(
    ("station", "modality"),
    [(name, modality) for name, station in STATIONS.items() for modality in station.modalities],
)

PLACE = CameraPlace(at_m=(0.6, -1.0, 1.4), target_m=(1.0, 0.0, 0.9))


@every_station
def test_records_come_in_the_order_of_their_log_times_and_never_before_capture(
    station: str,
) -> None:
    logged = [record.log_time_ns for record in recorded(station)]
    assert logged == sorted(logged)
    assert all(record.log_time_ns > record.reading.time_ns for record in recorded(station))


@every_modality
def test_a_sensor_keeps_its_rate_and_jitters_inside_the_trajectory(
    station: str, modality: str
) -> None:
    times_s = seconds_of(readings(recorded(station), modality))
    gaps = np.diff(times_s) * STATIONS[station].modalities[modality].rate_hz
    assert times_s[0] >= 0
    assert times_s[-1] < SECONDS
    assert gaps.min() > 0
    assert gaps.mean() == pytest.approx(1, abs=1e-3)
    assert 0.01 < gaps.std() < 0.08


def test_two_clocks_of_one_kind_drift_apart_by_tens_of_parts_in_a_million() -> None:
    clock = Clock(rate_hz=125.0, rate_error=4e-5, jitter_s=0.0, delay_s=(0.001, 0.002))
    periods = [
        np.diff(clock.draw(default_rng(seed), 60.0)[0]).mean() * 125 / NS_PER_S for seed in range(8)
    ]
    errors = np.abs(np.array(periods) - 1)
    assert 1e-5 < errors.max() < 4.1e-5


def test_readings_of_one_sensor_never_overtake_each_other_in_the_log() -> None:
    clock = Clock(rate_hz=125.0, rate_error=0.0, jitter_s=3e-4, delay_s=(0.001, 0.030))
    _, logged_ns = clock.draw(default_rng(0), 20.0)
    assert (np.diff(logged_ns) >= 0).all()


@every_station
def test_the_same_seed_gives_the_same_bytes_and_another_number_does_not(station: str) -> None:
    def reals(number: int) -> list[bytes]:
        found = STATIONS[station]
        short = trajectory(5, number, 0.7, tuple(found.modalities))
        return [
            r.reading.data if isinstance(r.reading, Frame) else r.reading.values.tobytes()
            for r in found.simulate_trajectory(short)
        ]

    assert reals(0) == reals(0)
    assert reals(0) != reals(1)


@every_station
def test_measured_values_are_the_clean_ones_with_the_noise_and_the_steps_declared(
    station: str,
) -> None:
    modality = STATIONS[station].modalities["kinematics"]
    measured, clean = columns(readings(recorded(station), "kinematics"))
    noise_sd, quantum = np.array(modality.noise_sd), np.array(modality.quantum)
    spread = (measured - clean).std(axis=0)
    assert spread == pytest.approx(np.hypot(noise_sd, quantum / np.sqrt(12)), rel=0.12)
    steps = measured / quantum
    assert np.abs(steps - np.round(steps)).max() < 1e-6
    assert len(modality.names) == len(modality.units) == measured.shape[1]


@every_station
def test_clean_speeds_are_the_angles_slopes_twenty_milliseconds_late(station: str) -> None:
    records = readings(recorded(station), "kinematics")
    times_s = seconds_of(records)
    positions, speeds, _ = np.split(columns(records)[1], 3, axis=1)
    slopes = np.gradient(positions, times_s, axis=0)
    late = np.stack([np.interp(times_s - 0.020, times_s, column) for column in slopes.T], axis=1)
    inside = slice(20, -20)
    off_now = np.abs(speeds - slopes)[inside].max()
    off_late = np.abs(speeds - late)[inside].max()
    assert off_late < 0.05
    assert off_late < 0.35 * off_now


@every_station
def test_frames_have_the_declared_size_and_fit_the_budget(station: str) -> None:
    frames = readings(recorded(station), "camera")
    assert pixels(frames[0]).shape[:2] == STATIONS[station].modalities["camera"].size_px
    assert np.mean([record.reading.size_bytes for record in frames]) < 9_000


def test_a_lag_answers_a_step_with_63_percent_after_its_time_constant() -> None:
    step = np.zeros((500, 1))
    step[100:] = 1.0
    answer = lagged(step, 1000.0, 0.020)
    assert answer[119, 0] == pytest.approx(1 - np.exp(-1), rel=1e-6)
    assert answer[99, 0] == 0.0


def test_the_spline_meets_its_knots_and_its_slopes_are_its_derivatives() -> None:
    knots_s = np.arange(0.0, 2.0, 0.02)
    knots = np.stack([np.sin(knots_s * 3), knots_s**2], axis=1)
    fine_s = np.arange(0.1, 1.8, 1e-4)
    values, slopes, bends = spline(knots_s, knots, fine_s)
    assert spline(knots_s, knots, knots_s[:-1])[0] == pytest.approx(knots[:-1])
    assert values[:, 0] == pytest.approx(np.sin(fine_s * 3), abs=1e-5)
    assert np.gradient(values, fine_s, axis=0)[1:-1] == pytest.approx(slopes[1:-1], abs=1e-4)
    assert np.gradient(slopes, fine_s, axis=0)[1:-1] == pytest.approx(bends[1:-1], abs=2e-2)


def test_surroundings_differ_between_trajectories_inside_their_ranges() -> None:
    drawn = [draw_surroundings(default_rng(seed)) for seed in range(50)]
    gains = [each.key_gain for each in drawn]
    assert 0.8 <= min(gains) < 0.85
    assert 1.15 < max(gains) <= 1.2
    for each in drawn:
        _, rotation = camera_pose(PLACE, each, np.zeros(2))
        assert rotation.T @ rotation == pytest.approx(np.eye(3), abs=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1.0)


def test_unfamiliar_surroundings_lie_beyond_every_usual_one() -> None:
    for seed in range(50):
        usual = draw_surroundings(default_rng(seed))
        strange = draw_surroundings(default_rng(seed), unfamiliar=True)
        assert abs(usual.key_gain - 1) <= 0.2 <= abs(strange.key_gain - 1) <= 0.3
        assert (np.abs(strange.mount_shift_m) >= 0.012).all()
        assert strange.noise_levels == usual.noise_levels
