"""The program of the arm: waypoints drawn over the table, and smooth moves between them.

A waypoint is a pose of the gripper in front of the robot, fingers down within a tilt, with the
elbow up; a move between two is a straight line in joint space, as the robot's own ``movej``. Now
and then the arm dips towards the table and comes back, as if it picked something.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from simulators.stations.reach import UnreachableError, solve_path
from simulators.stations.ur5.arm import JOINTS
from simulators.stations.ur5.cell import TABLE_TOP_M
from stream.messages import Floats

REGION_M = ((0.26, 0.62), (-0.40, 0.40), (TABLE_TOP_M + 0.17, TABLE_TOP_M + 0.48))
DIP_M = (TABLE_TOP_M + 0.100, TABLE_TOP_M + 0.125)  # heights of the fingers' tip at the bottom
TILT_RAD = np.deg2rad(18.0)
YAW_RAD = np.deg2rad(65.0)
USUAL_SPEED_RAD_PER_S = np.deg2rad((20.0, 90.0))
FAST_SPEED_RAD_PER_S = np.deg2rad((90.0, 150.0))

_FAST_SHARE = 0.12
_DIP_SHARE = 0.3
_DIP_SPEED_RAD_PER_S = np.deg2rad((15.0, 45.0))
_ACCELERATION_RAD_PER_S2 = np.deg2rad((120.0, 420.0))
_DWELL_S = (0.08, 0.45)
_LEAST_MOVE_RAD = np.deg2rad(12.0)
_CHECKED_EVERY_RAD = np.deg2rad(4.0)
_TRIES = 500

# Fingers down, elbow up, facing +x; and how far each joint may be from there.
_READY_RAD = np.deg2rad([-13.0, -90.0, 90.0, -90.0, -90.0, 0.0])
_READY_ROTATION = np.array([[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
_WITHIN_RAD = np.deg2rad([100.0, 65.0, 65.0, 70.0, 60.0, 120.0])

# Flash and Hogan's minimum jerk: the greatest slope and bend of 10x³ − 15x⁴ + 6x⁵.
_PEAK_SLOPE = 15 / 8
_PEAK_BEND = 10 / np.sqrt(3)


class NoWaypointError(Exception):
    """No waypoint could be drawn to which the arm can move freely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """A move from rest to rest between joint angles (6,) in rad; the arm then waits there."""

    begin_s: float
    end_s: float
    start_rad: Floats
    stop_rad: Floats


def draw_legs(model: Any, random: Generator, seconds: float) -> list[Leg]:
    """Draw the moves that cover half a second before 0 to half a second after ``seconds``.

    The first one is already under way, or over, at −0.5 s. Raises NoWaypointError.
    """
    at_s = -float(random.uniform(0.6, 3.0))
    angles = _draw_waypoint(model, random)
    legs: list[Leg] = []
    while at_s < seconds + 0.5:
        for stop_rad, speed in _draw_stops(model, random, angles):
            acceleration = float(random.uniform(*_ACCELERATION_RAD_PER_S2))
            end_s = at_s + move_seconds(stop_rad - angles, speed, acceleration)
            legs.append(Leg(begin_s=at_s, end_s=end_s, start_rad=angles, stop_rad=stop_rad))
            angles, at_s = stop_rad, end_s + float(random.uniform(*_DWELL_S))
    return legs


def move_seconds(step_rad: Floats, speed_rad_per_s: float, acceleration_rad_per_s2: float) -> float:
    """How long a move by ``step_rad`` (6,) takes when no joint exceeds speed and acceleration."""
    step = float(np.abs(step_rad).max())
    return max(
        _PEAK_SLOPE * step / speed_rad_per_s,
        float(np.sqrt(_PEAK_BEND * step / acceleration_rad_per_s2)),
    )


def follow(legs: Sequence[Leg], times_s: Floats) -> tuple[Floats, Floats, Floats]:
    """Joint angles, speeds and accelerations, each (n, 6), at ``times_s`` (n,)."""
    begins_s = np.array([leg.begin_s for leg in legs])
    lasting_s = np.array([leg.end_s - leg.begin_s for leg in legs])
    starts = np.stack([leg.start_rad for leg in legs])
    steps = np.stack([leg.stop_rad for leg in legs]) - starts
    at = np.clip(np.searchsorted(begins_s, times_s, side="right") - 1, 0, None)
    x = np.clip((times_s - begins_s[at]) / lasting_s[at], 0.0, 1.0)[:, None]
    rate = 1 / lasting_s[at][:, None]
    gone = x**3 * (10 - 15 * x + 6 * x**2)
    slope = 30 * x**2 * (1 - x) ** 2 * rate
    bend = 60 * x * (1 - x) * (1 - 2 * x) * rate**2
    return starts[at] + steps[at] * gone, steps[at] * slope, steps[at] * bend


def is_free(model: Any, angles_rad: Floats) -> bool:
    """Whether the arm touches neither itself nor the table at every row of (n, 6)."""
    import mujoco

    data = mujoco.MjData(model)
    for row in angles_rad:
        data.qpos[:JOINTS] = row
        mujoco.mj_kinematics(model, data)
        mujoco.mj_collision(model, data)
        if data.ncon:
            return False
    return True


def _draw_stops(model: Any, random: Generator, angles: Floats) -> list[tuple[Floats, float]]:
    """The next waypoint with the speed to it, and sometimes down from there and up again."""
    for _ in range(_TRIES):
        stop = _draw_waypoint(model, random)
        fast = random.random() < _FAST_SHARE
        speed = float(random.uniform(*(FAST_SPEED_RAD_PER_S if fast else USUAL_SPEED_RAD_PER_S)))
        if np.abs(stop - angles).max() > _LEAST_MOVE_RAD and is_free(model, _line(angles, stop)):
            break
    else:
        raise NoWaypointError(f"no free move from {np.rad2deg(angles).round(1)}° in {_TRIES} draws")
    if random.random() >= _DIP_SHARE:
        return [(stop, speed)]
    down_speed, up_speed = (float(random.uniform(*_DIP_SPEED_RAD_PER_S)) for _ in range(2))
    bottom = _lowered(model, stop, float(random.uniform(*DIP_M)))
    if bottom is None or not is_free(model, _line(stop, bottom)):
        return [(stop, speed)]
    return [(stop, speed), (bottom, down_speed), (stop, up_speed)]


def _draw_waypoint(model: Any, random: Generator) -> Floats:
    """Joint angles (6,) of a pose in REGION_M."""
    least, most = np.array(REGION_M).T
    for _ in range(_TRIES):
        position = random.uniform(least, most)
        tilt_x, tilt_y = random.uniform(-TILT_RAD, TILT_RAD, 2)
        yaw = float(random.uniform(-YAW_RAD, YAW_RAD))
        bearing = float(np.arctan2(position[1], position[0]))
        rotation = _turn(2, bearing + yaw) @ _turn(0, tilt_x) @ _turn(1, tilt_y) @ _READY_ROTATION
        start = _READY_RAD + np.array([bearing, 0.0, 0.0, 0.0, 0.0, -yaw])
        angles = _solve(model, start, position, rotation)
        if angles is not None and is_free(model, angles[None]):
            return angles
    raise NoWaypointError(f"no pose in {REGION_M} m that the arm can take in {_TRIES} draws")


def _lowered(model: Any, angles: Floats, height_m: float) -> Floats | None:
    """The same pose, straight below at ``height_m`` in the world's frame, where it is reachable."""
    import mujoco

    data = mujoco.MjData(model)
    data.qpos[:JOINTS] = angles
    mujoco.mj_kinematics(model, data)
    tip = data.site("tip")
    return _solve(model, angles, np.array([*tip.xpos[:2], height_m]), tip.xmat.reshape(3, 3))


def _solve(model: Any, start: Floats, position: Floats, rotation: Floats) -> Floats | None:
    try:
        (angles,) = solve_path(
            model, "tip", slice(JOINTS), start, position[None], rotation[None].copy()
        )
    except UnreachableError:
        return None
    away = np.abs(angles - _READY_RAD)
    return angles if (away < _WITHIN_RAD).all() else None


def _line(start: Floats, stop: Floats) -> Floats:
    """Angles (n, 6) along a move, no joint turning further than _CHECKED_EVERY_RAD between two."""
    count = int(np.ceil(np.abs(stop - start).max() / _CHECKED_EVERY_RAD)) + 1
    result: Floats = np.linspace(start, stop, max(count, 2))
    return result


def _turn(axis: int, angle_rad: float) -> Floats:
    """Rotation (3, 3) about one of the world's axes."""
    one, two = (axis + 1) % 3, (axis + 2) % 3
    turn = np.eye(3)
    turn[one, one] = turn[two, two] = np.cos(angle_rad)
    turn[two, one] = np.sin(angle_rad)
    turn[one, two] = -turn[two, one]
    return turn
