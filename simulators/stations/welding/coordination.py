"""The common program of `welding-dual`: two arms that weld a part from two sides."""

import numpy as np
from numpy.random import Generator

from simulators.stations.welding.program import (
    SEAM_CENTRE_M,
    Cycle,
    Part,
    draw_part,
    draw_speed,
    plan_cycle,
)

SEAM_OFFSET_M = 0.100  # of each seam from the middle of the part
FIXTURE_X_M = SEAM_CENTRE_M[0] + SEAM_OFFSET_M
PART_SHIFT_M = 0.020
PART_TURN_RAD = np.deg2rad(6.0)
OWN_SPEED_SPREAD = 0.04
LAG_S = 0.9
IN_TURN_SHARE = 0.12  # of the cycles, in which one arm waits for the other's arc to go out


def draw_programs(
    random: Generator, seconds: float, unfamiliar: bool = False
) -> tuple[list[Cycle], list[Cycle]]:
    """Draw the cycles of the left and of the right arm, as many of each.

    They cover 0 to ``seconds`` and a second on both sides. An arm that is done waits for the other.
    """
    start_s = -random.uniform(1.0, 7.0)
    left: list[Cycle] = []
    right: list[Cycle] = []
    while start_s < seconds + 1.0:
        for program, cycle in zip(
            (left, right), _draw_pair(random, len(left), start_s, unfamiliar), strict=True
        ):
            program.append(cycle)
        start_s = max(left[-1].starts_s[-1], right[-1].starts_s[-1])
    return left, right


def _draw_pair(
    random: Generator, number: int, start_s: float, unfamiliar: bool
) -> tuple[Cycle, Cycle]:
    """Draw one part's cycles: one arm leads, the other begins a little or a whole weld later."""
    speed = draw_speed(random)
    speeds = speed * random.uniform(1 - OWN_SPEED_SPREAD, 1 + OWN_SPEED_SPREAD, 2)
    seams = seams_of(draw_part(random, PART_SHIFT_M, PART_TURN_RAD, unfamiliar))
    lag_s = random.uniform(0, LAG_S)
    in_turn, leader = random.random() < IN_TURN_SHARE, int(random.integers(2))
    pair = [
        plan_cycle(number, seam, float(own), start_s)
        for seam, own in zip(seams, speeds, strict=True)
    ]
    if in_turn:
        lag_s += pair[leader].arc_s[1] - pair[1 - leader].arc_s[0]
    late = pair[1 - leader]
    pair[1 - leader] = plan_cycle(number, late.part, late.speed, start_s + lag_s)
    return pair[0], pair[1]


def seams_of(part: Part) -> tuple[Part, Part]:
    """How the two seams of a part lie, each in the frame of the arm that welds it."""
    x_m, y_m = part.shift_m
    away_m = SEAM_OFFSET_M * (1 - np.cos(part.turn_rad))
    aside_m = SEAM_OFFSET_M * np.sin(part.turn_rad)
    left = (float(x_m + away_m), float(y_m - aside_m))
    right = (float(away_m - x_m), float(-y_m - aside_m))
    return (
        Part(shift_m=left, turn_rad=part.turn_rad),
        Part(shift_m=right, turn_rad=part.turn_rad),
    )
