"""The simulated station: its clocks, its sensors, its weld, its pictures and its command."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from numpy.random import SeedSequence, default_rng
from typer.testing import CliRunner

from simulators.recordings.mcap import McapRecording
from simulators.recordings.recording import Record
from simulators.stations import opengl
from simulators.stations.camera import camera_pose
from simulators.stations.command import simulate
from simulators.stations.motion import Motion, spline
from simulators.stations.opengl import OpenGLError, prepare_opengl
from simulators.stations.sensors import NS_PER_S, Clock, lagged
from simulators.stations.simulate import (
    SPLITS,
    Request,
    plan_trajectories,
    simulate_recording,
    split_trajectories,
)
from simulators.stations.station import STATIONS
from simulators.stations.surroundings import draw_surroundings
from simulators.stations.trajectory import Trajectory
from simulators.stations.welding.cell import JOINTS, SEAM_LENGTH_M, load_cell
from simulators.stations.welding.path import move
from simulators.stations.welding.program import (
    WEAVE_AMPLITUDE_M,
    Cycle,
    draw_cycles,
    seam_points,
    table_angle,
)
from simulators.stations.welding.render import CAMERA
from simulators.stations.welding.single import MODALITIES, simulate_trajectory
from stream.messages import Floats, Frame, Pixels, Samples

START_NS = 1_700_000_000 * NS_PER_S
SECONDS = 9.0  # longer than a cycle, so that every stage of it is seen


def trajectory(seed: int, number: int, seconds: float) -> Trajectory:
    return Trajectory(
        seed=seed, number=number, seconds=seconds, start_ns=START_NS, modalities=tuple(MODALITIES)
    )


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(simulate_trajectory(trajectory(3, 1, SECONDS)))


@pytest.fixture(scope="module")
def cycles() -> list[Cycle]:
    plan, *_ = SeedSequence((3, 1)).spawn(5)
    return draw_cycles(default_rng(plan), SECONDS)


@pytest.fixture(scope="module")
def motion(cycles: list[Cycle]) -> Motion:
    return move(load_cell(), cycles, SECONDS, default_rng(0))


def readings(records: list[Record], modality: str) -> list[Record]:
    return [record for record in records if record.reading.modality == modality]


def pixels(record: Record) -> Pixels:
    assert isinstance(record.reading, Frame)
    picture = cv2.imdecode(np.frombuffer(record.reading.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(picture, np.uint8)


def columns(records: list[Record]) -> tuple[Floats, Floats]:
    measured, clean = [], []
    for record in readings(records, "kinematics"):
        assert isinstance(record.reading, Samples)
        assert isinstance(record.clean, Samples)
        measured.append(record.reading.values)
        clean.append(record.clean.values)
    return np.vstack(measured), np.vstack(clean)


def arc_burns(cycles: list[Cycle], time_s: float, margin_s: float = 0.0) -> bool:
    return any(c.arc_s[0] + margin_s <= time_s < c.arc_s[1] - margin_s for c in cycles)


def test_records_come_in_the_order_of_their_log_times_and_never_before_capture(
    records: list[Record],
) -> None:
    logged = [record.log_time_ns for record in records]
    assert logged == sorted(logged)
    assert all(record.log_time_ns > record.reading.time_ns for record in records)


@pytest.mark.parametrize("modality", ["camera", "kinematics"])
def test_a_sensor_keeps_its_rate_and_jitters_inside_the_trajectory(
    records: list[Record], modality: str
) -> None:
    times_ns = np.array([record.reading.time_ns for record in readings(records, modality)])
    period_ns = NS_PER_S / MODALITIES[modality].rate_hz
    gaps_ns = np.diff(times_ns)
    assert times_ns[0] >= START_NS
    assert times_ns[-1] < START_NS + SECONDS * NS_PER_S
    assert gaps_ns.min() > 0
    assert gaps_ns.mean() == pytest.approx(period_ns, rel=1e-3)
    assert 0.2e6 < gaps_ns.std() < 2e6


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


def test_the_same_seed_gives_the_same_bytes_and_another_number_does_not() -> None:
    def reals(number: int) -> list[bytes]:
        return [
            r.reading.data if isinstance(r.reading, Frame) else r.reading.values.tobytes()
            for r in simulate_trajectory(trajectory(5, number, 0.7))
        ]

    assert reals(0) == reals(0)
    assert reals(0) != reals(1)


def test_measured_values_are_the_clean_ones_with_the_noise_and_the_steps_declared(
    records: list[Record],
) -> None:
    measured, clean = columns(records)
    modality = MODALITIES["kinematics"]
    noise_sd, quantum = np.array(modality.noise_sd), np.array(modality.quantum)
    spread = (measured - clean).std(axis=0)
    assert spread == pytest.approx(np.hypot(noise_sd, quantum / np.sqrt(12)), rel=0.12)
    steps = measured / quantum
    assert np.abs(steps - np.round(steps)).max() < 1e-6
    assert len(modality.names) == len(modality.units) == 18 == measured.shape[1]


def test_clean_speeds_are_the_angles_slopes_twenty_milliseconds_late(
    records: list[Record],
) -> None:
    times_s = np.array([r.reading.time_ns - START_NS for r in readings(records, "kinematics")])
    times_s = times_s / NS_PER_S
    _, clean = columns(records)
    slopes = np.gradient(clean[:, :JOINTS], times_s, axis=0)
    late = np.stack([np.interp(times_s - 0.020, times_s, column) for column in slopes.T], axis=1)
    speeds = clean[:, JOINTS : 2 * JOINTS]
    inside = slice(20, -20)
    off_now = np.abs(speeds - slopes)[inside].max()
    off_late = np.abs(speeds - late)[inside].max()
    assert off_late < 0.05
    assert off_late < 0.35 * off_now


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


def test_the_tip_follows_the_seam_with_its_weave_while_the_arc_burns(
    cycles: list[Cycle], motion: Motion
) -> None:
    import mujoco

    model = load_cell()
    data = mujoco.MjData(model)
    cycle = next(c for c in cycles if c.stage_s("weld")[0] > 0)
    begin_s, end_s = cycle.stage_s("weld")
    times_s = np.arange(begin_s, min(end_s, SECONDS), 0.02)
    begin, end = seam_points(cycle.part)
    along = (end - begin) / SEAM_LENGTH_M
    offsets, places = [], []
    for angles in motion.at(times_s, motion.positions):
        data.qpos[:JOINTS] = angles
        mujoco.mj_kinematics(model, data)
        from_begin = data.site("tip").xpos - begin
        places.append(from_begin @ along)
        offsets.append(np.linalg.norm(from_begin - along * (from_begin @ along)))
    assert max(offsets) == pytest.approx(WEAVE_AMPLITUDE_M, rel=0.1)
    assert places[0] == pytest.approx(0.0, abs=1e-3)
    assert (np.diff(places) > -1e-5).all()


def test_part_poses_and_speeds_vary_as_promised() -> None:
    drawn = draw_cycles(default_rng(0), 1500.0)
    shifts = np.array([cycle.part.shift_m for cycle in drawn])
    turns = np.rad2deg([cycle.part.turn_rad for cycle in drawn])
    lasting = np.array([cycle.starts_s[-1] - cycle.starts_s[0] for cycle in drawn])
    assert 0.023 < np.abs(shifts).max() <= 0.025
    assert 7.5 < np.abs(turns).max() <= 8.0
    assert 7.0 < lasting.mean() < 8.0
    assert 1.2 < lasting.max() / lasting.min() < 1.36


def test_the_table_stands_still_under_the_arc_and_faces_the_robot(cycles: list[Cycle]) -> None:
    for cycle in cycles:
        angles = table_angle(cycles, np.linspace(*cycle.arc_s, 20))
        assert angles == pytest.approx(np.full(20, cycle.number * np.pi), abs=1e-9)


def test_friction_draws_differ_by_five_percent_at_most_and_show_in_the_torques(
    cycles: list[Cycle], motion: Motion
) -> None:
    other = move(load_cell(), cycles, SECONDS, default_rng(1))
    apart = np.abs(other.torques - motion.torques).max(axis=0)
    assert (other.positions == motion.positions).all()
    assert (apart > 0.1).all()
    assert (apart < 0.1 * (31 + 12 * np.abs(motion.velocities).max(axis=0))).all()


def test_the_arc_is_the_brightest_place_while_it_burns_and_never_whites_out_the_picture(
    records: list[Record], cycles: list[Cycle]
) -> None:
    lit, dark = [], []
    for record in readings(records, "camera"):
        time_s = (record.reading.time_ns - START_NS) / NS_PER_S
        picture = pixels(record)
        assert (picture.min(axis=2) > 250).mean() < 0.02
        brightest = cv2.blur(picture.min(axis=2), (5, 5)).max()
        if arc_burns(cycles, time_s):
            lit.append(brightest)
        elif not arc_burns(cycles, time_s, margin_s=-0.05):
            dark.append(brightest)
    assert np.quantile(lit, 0.1) > max(dark)
    assert len(lit) > 20
    assert len(dark) > 20


def test_frames_have_the_declared_size_and_fit_the_budget(records: list[Record]) -> None:
    frames = readings(records, "camera")
    assert pixels(frames[0]).shape[:2] == MODALITIES["camera"].size_px
    assert np.mean([record.reading.size_bytes for record in frames]) < 9_000


def test_surroundings_differ_between_trajectories_inside_their_ranges() -> None:
    drawn = [draw_surroundings(default_rng(seed)) for seed in range(50)]
    gains = [each.key_gain for each in drawn]
    assert 0.8 <= min(gains) < 0.85
    assert 1.15 < max(gains) <= 1.2
    for each in drawn:
        _, rotation = camera_pose(CAMERA, each, np.zeros(2))
        assert rotation.T @ rotation == pytest.approx(np.eye(3), abs=1e-9)
        assert np.linalg.det(rotation) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(30.0, [30.0]), (62.0, [62.0]), (120.0, [60.0, 60.0]), (150.0, [60.0, 60.0, 30.0])],
)
def test_minutes_are_cut_into_trajectories_three_seconds_apart(
    seconds: float, expected: list[float]
) -> None:
    planned = plan_trajectories(STATIONS["welding-single"], Request(seconds=seconds, seed=0))
    assert [trajectory.seconds for trajectory in planned] == pytest.approx(expected)
    for before, after in pairwise(planned):
        assert after.episode.start_ns - before.episode.end_ns == 3 * NS_PER_S


@pytest.mark.parametrize("minutes", [4, 5, 10, 80])
def test_splits_share_out_whole_trajectories_and_no_two_hold_the_same(minutes: int) -> None:
    request = Request(seconds=60.0 * minutes, seed=0)
    planned = plan_trajectories(STATIONS["welding-single"], request)
    splits = split_trajectories(planned)
    assert list(splits) == list(SPLITS)
    assert [one for split in splits.values() for one in split] == planned
    for name, split in splits.items():
        assert len(split) >= 1
        assert abs(len(split) - SPLITS[name] * minutes) < 1.5


def test_unfamiliar_surroundings_lie_beyond_every_usual_one() -> None:
    for seed in range(50):
        usual = draw_surroundings(default_rng(seed))
        strange = draw_surroundings(default_rng(seed), unfamiliar=True)
        assert abs(usual.key_gain - 1) <= 0.2 <= abs(strange.key_gain - 1) <= 0.3
        assert (np.abs(strange.mount_shift_m) >= 0.012).all()
        assert strange.noise_levels == usual.noise_levels


def test_one_job_and_two_write_the_same_file(tmp_path: Path) -> None:
    station = replace(STATIONS["welding-single"], trajectory_s=1.0)
    heard: list[float] = []
    files = [tmp_path / "one.mcap", tmp_path / "two.mcap"]
    for jobs, path in enumerate(files, start=1):
        planned = plan_trajectories(station, Request(seconds=2.0, seed=1))
        simulate_recording(station, planned, path=path, jobs=jobs, progress=heard.append)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert max(heard) <= 2.1
    recording = McapRecording(files[0])
    assert [episode.number for episode in recording.episodes] == [0, 1]
    assert recording.modalities["kinematics"] == MODALITIES["kinematics"]
    read = list(recording.records())
    assert all(r.clean is not None for r in readings(read, "kinematics"))
    assert recording.metadata["station"] == "welding-single"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["welding-double", "--out", "new.mcap"], "there is ur5, welding-single"),
        (["welding-single"], "--splits DIRECTORY"),
        (["welding-single", "--out", "new.mcap", "--splits", "new"], "either --out"),
        (["welding-single", "--splits", "new", "--minutes", "3"], "4 minutes"),
        (["welding-single", "--out", "new.mcap", "--with", "sound"], "optional modality 'sound'"),
        (["welding-single", "--out", "new.mcap", "--minutes", "0"], "--minutes 0"),
        (["welding-single", "--out", "new.mcap", "--minutes", "nan"], "--minutes nan"),
        (["welding-single", "--out", "old.mcap"], "--force"),
        (["welding-single", "--out", "nowhere/new.mcap"], "no directory nowhere"),
    ],
)
def test_the_command_refuses_bad_input_with_its_reason(
    arguments: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.mcap").write_bytes(b"kept")
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(simulate)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["old.mcap"]
    assert (tmp_path / "old.mcap").read_bytes() == b"kept"


def test_without_egl_and_without_apt_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opengl, "_is_there", lambda library: False)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(OpenGLError, match="apt-get install libegl1") as caught:
        prepare_opengl()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
