"""The simulated station `ur5`: its kinematics, its program, its torques, its table, its records."""

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.random import SeedSequence, default_rng

from simulators.recordings.recording import Record
from simulators.stations.camera import SIZE_PX, View, camera_pose
from simulators.stations.motion import Motion
from simulators.stations.opengl import prepare_opengl
from simulators.stations.sensors import NS_PER_S
from simulators.stations.station import find_station
from simulators.stations.surroundings import draw_surroundings
from simulators.stations.trajectory import Trajectory
from simulators.stations.ur5.arm import (
    GRIPPER_CENTRE_M,
    GRIPPER_MASS_KG,
    JOINTS,
    PEAK_TORQUE_NM,
    SPEED_LIMIT_RAD_PER_S,
)
from simulators.stations.ur5.cell import BASE_M, CLEAR_M, TABLE_TOP_M, load_cell
from simulators.stations.ur5.path import COULOMB_NM, VISCOUS_NM_S, move
from simulators.stations.ur5.program import (
    DIP_M,
    REGION_M,
    Leg,
    draw_legs,
    follow,
    is_free,
    move_seconds,
)
from simulators.stations.ur5.render import CAMERA
from simulators.stations.ur5.station import MODALITIES, simulate_trajectory
from simulators.stations.ur5.things import draw_things
from stream.messages import Floats, Frame, Pixels, Samples

START_NS = 1_700_000_000 * NS_PER_S
SECONDS = 3.0

# Universal Robots' tables for the UR5: a, d in metres, α in quarter turns; mass in kg, and its
# centre in metres in the frame of the same row.
PUBLISHED = (
    ((0.0, 0.089159, 1), 3.7, (0.0, -0.02561, 0.00193)),
    ((-0.425, 0.0, 0), 8.393, (0.2125, 0.0, 0.11336)),
    ((-0.39225, 0.0, 0), 2.275, (0.11993, 0.0, 0.0265)),
    ((0.0, 0.10915, 1), 1.219, (0.0, -0.0018, 0.01634)),
    ((0.0, 0.09465, -1), 1.219, (0.0, 0.0018, 0.01634)),
    ((0.0, 0.0823, 0), 0.1879, (0.0, 0.0, -0.001159)),
)
POSES_DEG = (
    (0, 0, 0, 0, 0, 0),
    (0, -90, 90, -90, -90, 0),
    (37, -70, 110, -120, -80, 25),
    (-150, -20, -60, 33, 140, -200),
)


def trajectory(number: int = 1, seconds: float = SECONDS) -> Trajectory:
    return Trajectory(
        seed=3, number=number, seconds=seconds, start_ns=START_NS, modalities=tuple(MODALITIES)
    )


@pytest.fixture(scope="module", autouse=True)
def _headless() -> None:
    """Choose how to render before any test imports mujoco."""
    prepare_opengl()


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return list(simulate_trajectory(trajectory()))


@pytest.fixture(scope="module")
def legs() -> list[Leg]:
    plan, *_ = SeedSequence((3, 1)).spawn(6)
    return draw_legs(load_cell(), default_rng(plan), 60.0)


@pytest.fixture(scope="module")
def motion(legs: list[Leg]) -> Motion:
    return move(load_cell(), legs, 60.0, default_rng(0))


def frames_of(angles_rad: Floats) -> list[Floats]:
    """The frames (4, 4) of the published table in the base's frame, the base's own first."""
    frames = [np.eye(4)]
    for angle, ((a, d, quarters), _, _) in zip(angles_rad, PUBLISHED, strict=True):
        c, s = np.cos(angle), np.sin(angle)
        ca, sa = (1, 0) if quarters == 0 else (0, quarters)
        step = [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0, sa, ca, d]]
        frames.append(frames[-1] @ np.array([*step, [0, 0, 0, 1]]))
    return frames


def potential_j(angles_rad: Floats) -> float:
    """Energy of the published masses and of the gripper in gravity."""
    frames = frames_of(angles_rad)
    heights = [
        mass * (frame @ (*centre, 1))[2]
        for frame, (_, mass, centre) in zip(frames[1:], PUBLISHED, strict=True)
    ]
    gripper = GRIPPER_MASS_KG * (frames[-1] @ (0, 0, GRIPPER_CENTRE_M, 1))[2]
    return float(9.81 * (sum(heights) + gripper))


def readings(records: list[Record], modality: str) -> list[Record]:
    return [record for record in records if record.reading.modality == modality]


def pixels(record: Record) -> Pixels:
    assert isinstance(record.reading, Frame)
    picture = cv2.imdecode(np.frombuffer(record.reading.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(picture, np.uint8)


def contents(records: list[Record], modality: str) -> list[bytes]:
    return [
        r.reading.data if isinstance(r.reading, Frame) else r.reading.values.tobytes()
        for r in readings(records, modality)
    ]


@pytest.mark.parametrize("pose_deg", POSES_DEG)
def test_the_flange_is_where_the_published_table_puts_it(pose_deg: tuple[float, ...]) -> None:
    import mujoco

    model = load_cell()
    data = mujoco.MjData(model)
    data.qpos[:JOINTS] = np.deg2rad(pose_deg)
    mujoco.mj_kinematics(model, data)
    flange = frames_of(np.deg2rad(pose_deg))[-1]
    half_turn = np.diag([-1.0, -1.0, 1.0])  # the base stands turned, so that the arm faces +x
    assert data.body("gripper").xpos == pytest.approx(half_turn @ flange[:3, 3] + BASE_M, abs=1e-6)
    turned = data.body("gripper").xmat.reshape(3, 3)
    assert turned == pytest.approx(half_turn @ flange[:3, :3], abs=1e-6)


def test_stretched_out_the_flange_lies_where_the_manual_draws_it() -> None:
    flange = frames_of(np.zeros(JOINTS))[-1]
    assert flange[:3, 3] == pytest.approx([-0.81725, -0.19145, -0.005491], abs=1e-9)


@pytest.mark.parametrize("pose_deg", POSES_DEG[1:])
def test_at_rest_the_torques_hold_the_published_masses(pose_deg: tuple[float, ...]) -> None:
    stop = np.deg2rad(pose_deg)
    leg = Leg(begin_s=-1.0, end_s=0.0, start_rad=stop - 0.3, stop_rad=stop)
    torques = move(load_cell(), [leg], 1.0, default_rng(0)).torques[-1]
    steps = 1e-5 * np.eye(JOINTS)
    gradient = [(potential_j(stop + s) - potential_j(stop - s)) / 2e-5 for s in steps]
    assert torques == pytest.approx(gradient, abs=1e-3)
    assert np.abs(torques[1]) > 5.0


def test_speeds_and_accelerations_are_the_slopes_of_the_angles(legs: list[Leg]) -> None:
    times_s = np.arange(0.0, 20.0, 1e-3)
    angles, speeds, accelerations = follow(legs, times_s)
    inside = slice(1, -1)  # numpy's slopes at the ends are one-sided
    slopes = np.gradient(angles, times_s, axis=0)[inside]
    bends = np.gradient(speeds, times_s, axis=0)[inside]
    assert np.abs(slopes - speeds[inside]).max() < 1e-4
    assert np.abs(bends - accelerations[inside]).max() < 0.06


def test_the_motion_passes_every_waypoint_and_rests_there(legs: list[Leg]) -> None:
    for leg, following in pairwise(legs):
        assert leg.begin_s < leg.end_s < following.begin_s
        assert (leg.stop_rad == following.start_rad).all()
        angles, speeds, _ = follow(legs, np.array([leg.end_s, following.begin_s]))
        assert angles == pytest.approx(np.stack([leg.stop_rad] * 2), abs=1e-12)
        assert speeds == pytest.approx(np.zeros((2, JOINTS)), abs=1e-12)


def test_a_move_lasts_until_neither_speed_nor_acceleration_is_exceeded() -> None:
    step = np.array([0.2, -1.5, 0.0, 0.0, 1.0, 0.0])
    for speed, acceleration in ((0.5, 100.0), (100.0, 2.0)):
        seconds = move_seconds(step, speed, acceleration)
        leg = Leg(begin_s=0.0, end_s=seconds, start_rad=np.zeros(JOINTS), stop_rad=step)
        _, speeds, accelerations = follow([leg], np.linspace(0, seconds, 2001))
        reached = (np.abs(speeds).max() / speed, np.abs(accelerations).max() / acceleration)
        assert max(reached) == pytest.approx(1.0, rel=1e-5)


def test_moves_stay_below_the_robots_limits_and_mostly_keep_to_usual_speeds() -> None:
    leading = []
    for seed in range(3):
        model = load_cell()
        legs = draw_legs(model, default_rng(seed), 60.0)
        motion = move(model, legs, 60.0, default_rng(seed))
        assert np.abs(motion.velocities).max() < SPEED_LIMIT_RAD_PER_S
        assert (np.abs(motion.torques).max(axis=0) < np.array(PEAK_TORQUE_NM)).all()
        leading += [
            15 / 8 * np.abs(leg.stop_rad - leg.start_rad).max() / (leg.end_s - leg.begin_s)
            for leg in legs
        ]
    usual = np.deg2rad(20) <= np.array(leading)
    usual &= np.array(leading) <= np.deg2rad(90)
    assert 0.75 < usual.mean() < 1.0


def test_waypoints_lie_in_their_region_or_at_the_bottom_of_a_dip_with_the_elbow_up(
    legs: list[Leg],
) -> None:
    import mujoco

    model = load_cell()
    data = mujoco.MjData(model)
    dips = 0
    for leg in legs:
        data.qpos[:JOINTS] = leg.stop_rad
        mujoco.mj_kinematics(model, data)
        tip = data.site("tip").xpos
        (x_least, x_most), (y_least, y_most), (z_least, z_most) = REGION_M
        dipped = bool(DIP_M[0] - 1e-5 <= tip[2] <= DIP_M[1] + 1e-5)
        dips += dipped
        assert x_least - 1e-5 <= tip[0] <= x_most + 1e-5
        assert y_least - 1e-5 <= tip[1] <= y_most + 1e-5
        assert dipped or z_least - 1e-5 <= tip[2] <= z_most + 1e-5
        shoulder, elbow, wrist = (data.body(f"link_{n}").xpos[2] for n in (2, 3, 4))
        assert elbow > (shoulder + wrist) / 2 + 0.05
    assert 0 < dips < len(legs) / 2


def test_the_arm_touches_neither_itself_nor_what_may_lie_on_the_table(motion: Motion) -> None:
    model = load_cell()
    model.geom_margin[:] = 0.0
    assert is_free(model, motion.positions[::10])


@pytest.mark.parametrize(
    "pose_deg", [(0, 0, 0, 0, 0, 0), (0, -90, 158, -90, -90, 0), (0, -40, 100, -90, -90, 0)]
)
def test_an_arm_on_the_table_or_folded_into_itself_is_not_free(
    pose_deg: tuple[float, ...],
) -> None:
    assert not is_free(load_cell(), np.deg2rad([pose_deg]))
    assert is_free(load_cell(), np.deg2rad([POSES_DEG[1]]))


def test_wear_and_warmth_change_the_torques_alone(legs: list[Leg], motion: Motion) -> None:
    other = move(load_cell(), legs, 60.0, default_rng(1))
    assert (other.positions == motion.positions).all()
    apart = np.abs(other.torques - motion.torques)
    most = 0.2 * COULOMB_NM + 0.17 * VISCOUS_NM_S * np.abs(motion.velocities)
    assert (apart <= most + 1e-9).all()
    assert (apart.max(axis=0) > 0.01 * COULOMB_NM).all()


def test_the_arm_stays_in_the_picture(motion: Motion) -> None:
    import mujoco

    model = load_cell()
    data = mujoco.MjData(model)
    steady = draw_surroundings(default_rng(0))
    view = View.of(*camera_pose(CAMERA, steady, np.zeros(2)), model)
    seen = []
    for angles in motion.positions[::100]:
        data.qpos[:JOINTS] = angles
        mujoco.mj_kinematics(model, data)
        points = [data.body(f"link_{n + 1}").xpos for n in range(JOINTS)]
        at_px = view.pixels(np.stack([*points, data.site("tip").xpos]))
        seen.append(((at_px > 0) & (at_px < SIZE_PX[0])).all())
    assert np.mean(seen) > 0.98


def test_usual_and_unfamiliar_things_share_neither_place_nor_colour() -> None:
    usual = [thing for seed in range(40) for thing in draw_things(default_rng(seed)).blocks]
    strange = [thing for seed in range(40) for thing in draw_things(default_rng(seed), True).blocks]
    x_most, y_most = np.max([thing.at_m for thing in usual], axis=0)
    for thing in strange:
        assert thing.at_m[0] > x_most or thing.at_m[1] > y_most
        assert min(np.abs(thing.colour - other.colour).max() for other in usual) > 0.08


@pytest.mark.parametrize("unfamiliar", [False, True])
def test_things_lie_apart_and_below_the_space_of_the_arm(unfamiliar: bool) -> None:
    for seed in range(40):
        things = draw_things(default_rng(seed), unfamiliar)
        assert len(things.blocks) >= 3
        everything = [*things.blocks, things.box]
        for number, thing in enumerate(everything):
            assert 2 * thing.half_m[2] < CLEAR_M
            assert np.hypot(*(thing.at_m - BASE_M[:2])) > 0.2
            for other in everything[number + 1 :]:
                radii_m = np.hypot(*thing.half_m[:2]) + np.hypot(*other.half_m[:2])
                assert np.hypot(*(thing.at_m - other.at_m)) > radii_m
    assert DIP_M[0] > TABLE_TOP_M + CLEAR_M


def test_sensors_record_what_the_station_declares(records: list[Record]) -> None:
    station = find_station("ur5")
    assert station.modalities == MODALITIES
    logged = [record.log_time_ns for record in records]
    assert logged == sorted(logged)
    assert len(readings(records, "camera")) == pytest.approx(15 * SECONDS, abs=1)
    assert len(readings(records, "kinematics")) == pytest.approx(125 * SECONDS, abs=1)
    assert len(MODALITIES["kinematics"].names) == 18


def test_measured_values_are_the_clean_ones_with_the_noise_and_the_steps_declared(
    records: list[Record],
) -> None:
    measured, clean = [], []
    for record in readings(records, "kinematics"):
        assert isinstance(record.reading, Samples)
        assert isinstance(record.clean, Samples)
        measured.append(record.reading.values)
        clean.append(record.clean.values)
    noise_sd = np.array(MODALITIES["kinematics"].noise_sd)
    quantum = np.array(MODALITIES["kinematics"].quantum)
    values = np.vstack(measured)
    spread = (values - np.vstack(clean)).std(axis=0)
    assert spread == pytest.approx(np.hypot(noise_sd, quantum / np.sqrt(12)), rel=0.15)
    steps = values / quantum
    assert np.abs(steps - np.round(steps)).max() < 1e-6


def test_frames_have_the_declared_size_differ_and_fit_the_budget(records: list[Record]) -> None:
    frames = readings(records, "camera")
    pictures = [pixels(frame).astype(int) for frame in frames[:: len(frames) // 4]]
    assert all(picture.shape[:2] == MODALITIES["camera"].size_px for picture in pictures)
    for before, after in pairwise(pictures):
        assert (np.abs(after - before).max(axis=2) > 40).mean() > 0.01
    assert 5_000 < np.mean([frame.reading.size_bytes for frame in frames]) < 10_000


def test_the_same_seed_gives_the_same_bytes_and_another_number_does_not() -> None:
    first, again, other = (
        list(simulate_trajectory(trajectory(number, 0.5))) for number in (0, 0, 1)
    )
    for modality in MODALITIES:
        assert contents(first, modality) == contents(again, modality)
        assert contents(first, modality) != contents(other, modality)


def test_unfamiliar_surroundings_change_the_picture_and_not_the_motion() -> None:
    usual = list(simulate_trajectory(trajectory(0, 0.5)))
    strange = list(simulate_trajectory(replace(trajectory(0, 0.5), unfamiliar=True)))
    assert contents(usual, "kinematics") == contents(strange, "kinematics")
    assert contents(usual, "camera") != contents(strange, "camera")
