"""A few simulated seconds of every station, and looks into them."""

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.random import SeedSequence, default_rng

from simulators.recordings.recording import Record
from simulators.stations.motion import Motion
from simulators.stations.opengl import prepare_opengl
from simulators.stations.sensors import NS_PER_S
from simulators.stations.station import find_station
from simulators.stations.trajectory import Trajectory
from simulators.stations.welding.cell import Cell, Programs
from simulators.stations.welding.path import move
from stream.messages import Floats, Frame, Pixels, Samples

START_NS = 1_700_000_000 * NS_PER_S
SECONDS = 9.0  # longer than a cycle, so that every stage of it is seen
SEED, NUMBER = 4, 0  # with a whole weld of each arm in it, and each arc alone for a while


def trajectory(seed: int, number: int, seconds: float, modalities: tuple[str, ...]) -> Trajectory:
    return Trajectory(
        seed=seed, number=number, seconds=seconds, start_ns=START_NS, modalities=modalities
    )


@cache
def recorded(station: str) -> tuple[Record, ...]:
    """All that a station can record, for SECONDS."""
    found = find_station(station)
    whole = trajectory(SEED, NUMBER, SECONDS, tuple(found.modalities))
    return tuple(found.simulate_trajectory(whole))


def programs_of(cell: Cell) -> Programs:
    """What the arms do in the recorded seconds."""
    plan, *_ = SeedSequence((SEED, NUMBER)).spawn(6)
    return cell.draw_programs(default_rng(plan), SECONDS, False)


def loaded(cell: Cell) -> Any:
    """The cell's model; MuJoCo is told of the screenless OpenGL before it is imported."""
    prepare_opengl()
    return cell.load()


@cache
def motion_of(cell: Cell) -> Motion:
    return move(loaded(cell), cell.arms, programs_of(cell), SECONDS, default_rng(0))


def tips(cell: Cell, times_s: Floats) -> list[Floats]:
    """Where the wire's tip of each arm is (n, 3), in the arm's own frame."""
    model, motion = loaded(cell), motion_of(cell)

    import mujoco

    data = mujoco.MjData(model)
    joints = motion.positions.shape[1]
    seen = np.empty((len(cell.arms), len(times_s), 3))
    for row, angles in enumerate(motion.at(times_s, motion.positions)):
        data.qpos[:joints] = angles
        mujoco.mj_kinematics(model, data)
        for at, arm in enumerate(cell.arms):
            away = data.site(arm.tip).xpos - (*arm.at_m, 0.0)
            turn = np.deg2rad(arm.yaw_deg)
            x, y = np.cos(turn), np.sin(turn)
            seen[at, row] = (x * away[0] + y * away[1], x * away[1] - y * away[0], away[2])
    return list(seen)


def readings(records: tuple[Record, ...], modality: str) -> list[Record]:
    return [record for record in records if record.reading.modality == modality]


def seconds_of(records: list[Record]) -> Floats:
    """Capture times in seconds since the trajectory's begin."""
    return np.array([record.reading.time_ns - START_NS for record in records]) / NS_PER_S


def pixels(record: Record) -> Pixels:
    assert isinstance(record.reading, Frame)
    picture = cv2.imdecode(np.frombuffer(record.reading.data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return np.asarray(picture, np.uint8)


def columns(records: list[Record]) -> tuple[Floats, Floats]:
    """What was measured and what was true, each (n, channels)."""
    measured, clean = [], []
    for record in records:
        assert isinstance(record.reading, Samples)
        assert isinstance(record.clean, Samples)
        measured.append(record.reading.values)
        clean.append(record.clean.values)
    return np.vstack(measured), np.vstack(clean)
