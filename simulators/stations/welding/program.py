"""The program of an arm: where the tip of the torch is, how it points, what is welded when.

One cycle: from home to above the seam, down, ignite, weld with a weave, fill the crater, retract,
go home while the fixture brings the next part. Positions in metres, in the frame of the arm that
stands at its origin and looks along x; times in seconds since the start of the trajectory.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from stream.messages import Floats

TABLE_HEIGHT_M = 0.78
SEAM_CENTRE_M = (1.10, 0.0, TABLE_HEIGHT_M + 0.044)
SEAM_LENGTH_M = 0.110
HOME_TIP_M = (0.80, 0.02, 1.11)
PART_SHIFT_M = 0.025
PART_TURN_RAD = np.deg2rad(8.0)
UNFAMILIAR_SHARE = 0.3
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
    """How one part lies: shift (m) of its seam's centre and turn (rad) from the nominal place."""

    shift_m: tuple[float, float]
    turn_rad: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """One part's cycle: what is drawn for it, and when its stages begin."""

    number: int
    part: Part
    speed: float  # as a share of the usual one
    starts_s: tuple[float, ...]  # one for each stage of STAGES, and the end

    def stage_s(self, stage: str) -> tuple[float, float]:
        """Begin and end of a stage."""
        index = STAGES.index(stage)
        return self.starts_s[index], self.starts_s[index + 1]

    @property
    def weave_hz(self) -> float:
        """How often the torch swings across the seam."""
        return WEAVE_HZ * self.speed

    @property
    def arc_s(self) -> tuple[float, float]:
        """When the arc burns."""
        return self.stage_s("ignite")[0] + 0.06, self.stage_s("crater")[1] - 0.05


STAGES = ("approach", "descend", "ignite", "weld", "crater", "retract", "home", "rest")
_MOVE_S = {"approach": 1.1, "descend": 0.5, "retract": 0.5, "home": 1.1}
_DWELL_S = {"ignite": 0.2, "crater": 0.2, "rest": 0.25}


def draw_cycles(random: Generator, seconds: float, unfamiliar: bool = False) -> list[Cycle]:
    """Draw the cycles that cover 0 to ``seconds`` and a second on both sides.

    The first one is already under way at 0. ``unfamiliar`` parts lie beyond the usual places.
    """
    start_s = -random.uniform(1.0, 7.0)
    cycles: list[Cycle] = []
    while start_s < seconds + 1.0:
        speed = draw_speed(random)
        part = draw_part(random, PART_SHIFT_M, PART_TURN_RAD, unfamiliar)
        cycles.append(plan_cycle(len(cycles), part, speed, start_s))
        start_s = cycles[-1].starts_s[-1]
    return cycles


def draw_speed(random: Generator) -> float:
    """Speed of one cycle as a share of the usual one."""
    return float(random.uniform(1 - SPEED_SPREAD, 1 + SPEED_SPREAD))


def draw_part(random: Generator, shift_m: float, turn_rad: float, unfamiliar: bool) -> Part:
    """Place a part: up to ``shift_m`` and ``turn_rad`` off, or, ``unfamiliar``, 1 to 1.3 times."""
    reach = np.array([shift_m, shift_m, turn_rad])
    off = np.array([*random.uniform(-shift_m, shift_m, 2), random.uniform(-turn_rad, turn_rad)])
    if unfamiliar:
        off = np.sign(off) * (reach + UNFAMILIAR_SHARE * np.abs(off))
    x_m, y_m, turned_rad = map(float, off)
    return Part(shift_m=(x_m, y_m), turn_rad=turned_rad)


def plan_cycle(number: int, part: Part, speed: float, start_s: float) -> Cycle:
    """Lay out the stages of one part's cycle from ``start_s``."""
    weld_s = SEAM_LENGTH_M / (WELD_SPEED_M_PER_S * speed) + _RAMP_S
    lasting_s = {name: value / speed for name, value in _MOVE_S.items()}
    lasting_s |= _DWELL_S | {"weld": weld_s}
    return Cycle(
        number=number,
        part=part,
        speed=speed,
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


def free_s(cycles: Iterable[Cycle], following: Iterable[Cycle]) -> tuple[float, float]:
    """Between two parts: from every arm's being half-way home until the first is half-way back."""
    begin_s = max(sum(cycle.stage_s("home")) / 2 for cycle in cycles)
    end_s = min(sum(cycle.stage_s("approach")) / 2 for cycle in following)
    return begin_s, end_s


def part_on(cycles: Sequence[Cycle], place: int, time_s: float) -> Cycle | None:
    """The cycle whose part lies at one of two places: exchanged while the other is welded."""
    lying = None
    for cycle in cycles:
        if cycle.number % 2 == place and cycle.number:
            exchanged_s = cycles[cycle.number - 1].stage_s("weld")[0]
            lying = cycle if exchanged_s <= time_s else lying
        elif cycle.number % 2 == place:
            lying = cycle
    return lying


def seam_points(part: Part) -> tuple[Floats, Floats]:
    """Positions (3,) of the seam's begin and end, on the side that faces the arm."""
    cos, sin = np.cos(part.turn_rad), np.sin(part.turn_rad)
    centre = np.add(SEAM_CENTRE_M, (*part.shift_m, ARC_LENGTH_M))
    along = np.array([-sin, cos, 0.0]) * SEAM_LENGTH_M / 2
    return centre - along, centre + along


def tip_path(cycles: Sequence[Cycle], times_s: Floats) -> tuple[Floats, Floats]:
    """Positions (n, 3) of the wire's tip and attitudes (n, 3): yaw, work and push angle in rad.

    Between cycles the arm waits at home.
    """
    positions = np.tile(np.array(HOME_TIP_M), (len(times_s), 1))
    attitudes = np.tile(np.array([_HOME_YAW_RAD, 0.0, 0.0]), (len(times_s), 1))
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


def weave_m(cycle: Cycle, times_s: Floats) -> Floats:
    """How far (n,) the torch swings across the seam, in metres; away from the arm is positive."""
    begin_s, end_s = cycle.stage_s("weld")
    swell = minimum_jerk((times_s - begin_s) / 0.3) * minimum_jerk((end_s - times_s) / 0.3)
    swing: Floats = np.sin(2 * np.pi * cycle.weave_hz * (times_s - begin_s))
    return WEAVE_AMPLITUDE_M * swell * swing


def _weave(cycle: Cycle, times_s: Floats) -> Floats:
    cos, sin = np.cos(cycle.part.turn_rad), np.sin(cycle.part.turn_rad)
    result: Floats = weave_m(cycle, times_s)[:, None] * np.array([cos, sin, 0.0])
    return result
