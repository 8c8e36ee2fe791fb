"""The program of the arm: where the tip of the torch is, how it points, what is welded when.

One cycle: from home to above the seam, down, ignite, weld with a weave, fill the crater, retract,
go home while the table brings the next part. Positions in metres and times in seconds, both in
the world's frame and since the start of the trajectory.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.random import Generator

from simulators.stations.welding.cell import (
    JIG_RADIUS_M,
    SEAM_HEIGHT_M,
    SEAM_LENGTH_M,
    TABLE_CENTRE_M,
)
from stream.messages import Floats

HOME_TIP_M = (0.80, 0.02, 1.11)
PART_SHIFT_M = 0.025
PART_TURN_RAD = np.deg2rad(8.0)
SPEED_SPREAD = 0.15
WELD_SPEED_M_PER_S = 0.030  # 1.8 m/min, usual for thin sheet with metal active gas
WEAVE_AMPLITUDE_M = 0.0025
WEAVE_HZ = 2.2
ARC_LENGTH_M = 0.003
LIFT_M = 0.13

_WORK_ANGLE_RAD = np.deg2rad(-15.0)
_PUSH_ANGLE_RAD = np.deg2rad(-8.0)
_HOME_YAW_RAD = np.deg2rad(12.0)
_RAMP_S = 0.12


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """How one part lies in its jig: shift (m) and turn (rad) against the nominal place."""

    shift_m: tuple[float, float]
    turn_rad: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One part's cycle: what is drawn for it, and when its stages begin."""

    number: int
    part: Part
    weave_hz: float
    starts_s: tuple[float, ...]  # one for each stage of STAGES, and the end

    def stage_s(self, stage: str) -> tuple[float, float]:
        """Begin and end of a stage."""
        index = STAGES.index(stage)
        return self.starts_s[index], self.starts_s[index + 1]

    @property
    def arc_s(self) -> tuple[float, float]:
        """When the arc burns."""
        return self.stage_s("ignite")[0] + 0.06, self.stage_s("crater")[1] - 0.05


STAGES = ("approach", "descend", "ignite", "weld", "crater", "retract", "home", "rest")
_MOVE_S = {"approach": 1.1, "descend": 0.5, "retract": 0.5, "home": 1.1}
_DWELL_S = {"ignite": 0.2, "crater": 0.2, "rest": 0.25}


def draw_cycles(random: Generator, seconds: float) -> list[Cycle]:
    """Draw the cycles that cover 0 to ``seconds`` and a second on both sides.

    The first one is already under way at 0.
    """
    start_s = -random.uniform(1.0, 7.0)
    cycles: list[Cycle] = []
    while start_s < seconds + 1.0:
        cycle = _draw_cycle(random, len(cycles), start_s)
        cycles.append(cycle)
        start_s = cycle.starts_s[-1]
    return cycles


def _draw_cycle(random: Generator, number: int, start_s: float) -> Cycle:
    speed = random.uniform(1 - SPEED_SPREAD, 1 + SPEED_SPREAD)
    shift_x_m, shift_y_m = random.uniform(-PART_SHIFT_M, PART_SHIFT_M, 2)
    weld_s = SEAM_LENGTH_M / (WELD_SPEED_M_PER_S * speed) + _RAMP_S
    lasting_s = {name: value / speed for name, value in _MOVE_S.items()}
    lasting_s |= _DWELL_S | {"weld": weld_s}
    return Cycle(
        number=number,
        part=Part(
            shift_m=(float(shift_x_m), float(shift_y_m)),
            turn_rad=float(random.uniform(-PART_TURN_RAD, PART_TURN_RAD)),
        ),
        weave_hz=float(WEAVE_HZ * speed),
        starts_s=tuple(
            start_s + float(gone) for gone in np.cumsum([0.0] + [lasting_s[s] for s in STAGES])
        ),
    )


def minimum_jerk(x: Floats) -> Floats:
    """Flash and Hogan's profile 10x³ − 15x⁴ + 6x⁵, from 0 to 1 with rest at both ends."""
    x = np.clip(x, 0.0, 1.0)
    result: Floats = x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
    return result


def weld_progress(cycle: Cycle, times_s: Floats) -> Floats:
    """Share of the seam that is behind the arc, 0 to 1: even speed between two short ramps."""
    begin_s, end_s = cycle.stage_s("weld")
    gone_s = np.clip(times_s - begin_s, 0.0, end_s - begin_s)
    left_s = end_s - begin_s - gone_s
    even = gone_s - _RAMP_S / 2
    even = np.where(gone_s < _RAMP_S, gone_s**2 / (2 * _RAMP_S), even)
    full_s = end_s - begin_s - _RAMP_S
    result: Floats = np.where(left_s < _RAMP_S, full_s - left_s**2 / (2 * _RAMP_S), even) / full_s
    return result


def table_angle(cycles: list[Cycle], times_s: Floats) -> Floats:
    """Angle of the table in radians: half a turn for each new part, while the arm is at home."""
    angle = np.zeros_like(times_s)
    for cycle, following in pairwise(cycles):
        home_begin_s, home_end_s = cycle.stage_s("home")
        next_begin_s, next_end_s = following.stage_s("approach")
        begin_s = home_begin_s + 0.5 * (home_end_s - home_begin_s)
        end_s = next_begin_s + 0.5 * (next_end_s - next_begin_s)
        angle += np.pi * minimum_jerk((times_s - begin_s) / (end_s - begin_s))
    return angle


def seam_points(part: Part) -> tuple[Floats, Floats]:
    """World positions (3,) of the seam's begin and end, on the side that faces the robot."""
    cos, sin = np.cos(part.turn_rad), np.sin(part.turn_rad)
    table_x_m, table_y_m, table_z_m = TABLE_CENTRE_M
    centre = np.array(
        [
            table_x_m - JIG_RADIUS_M + part.shift_m[0],
            table_y_m + part.shift_m[1],
            table_z_m + SEAM_HEIGHT_M + ARC_LENGTH_M,
        ]
    )
    along = np.array([-sin, cos, 0.0]) * SEAM_LENGTH_M / 2
    return centre - along, centre + along


def tip_path(cycles: list[Cycle], times_s: Floats) -> tuple[Floats, Floats]:
    """Positions (n, 3) of the wire's tip and attitudes (n, 3): yaw, work and push angle in rad."""
    positions, attitudes = np.zeros((len(times_s), 3)), np.zeros((len(times_s), 3))
    for cycle in cycles:
        inside = (times_s >= cycle.starts_s[0]) & (times_s < cycle.starts_s[-1])
        if inside.any():
            positions[inside], attitudes[inside] = _cycle_path(cycle, times_s[inside])
    return positions, attitudes


def _cycle_path(cycle: Cycle, times_s: Floats) -> tuple[Floats, Floats]:
    begin, end = seam_points(cycle.part)
    home = np.array(HOME_TIP_M)
    lift = np.array([-0.02, 0.0, LIFT_M])

    def moved(stage: str) -> Floats:
        begin_s, end_s = cycle.stage_s(stage)
        result: Floats = minimum_jerk((times_s - begin_s) / (end_s - begin_s))[:, None]
        return result

    # Each leg adds its share once it begins, so the stages follow one another without a seam.
    positions = (
        home
        + (begin + lift - home) * moved("approach")
        - lift * moved("descend")
        + (end - begin) * weld_progress(cycle, times_s)[:, None]
        + lift * moved("retract")
        + (home - end - lift) * moved("home")
    )
    positions += _weave(cycle, times_s)
    at_work = moved("approach") - moved("home")
    at_home = np.array([_HOME_YAW_RAD, 0.0, 0.0])
    welding = np.array([cycle.part.turn_rad, _WORK_ANGLE_RAD, _PUSH_ANGLE_RAD])
    return positions, at_home + (welding - at_home) * at_work


def _weave(cycle: Cycle, times_s: Floats) -> Floats:
    begin_s, end_s = cycle.stage_s("weld")
    swell = minimum_jerk((times_s - begin_s) / 0.3) * minimum_jerk((end_s - times_s) / 0.3)
    swing = WEAVE_AMPLITUDE_M * swell * np.sin(2 * np.pi * cycle.weave_hz * (times_s - begin_s))
    cos, sin = np.cos(cycle.part.turn_rad), np.sin(cycle.part.turn_rad)
    result: Floats = swing[:, None] * np.array([cos, sin, 0.0])
    return result
