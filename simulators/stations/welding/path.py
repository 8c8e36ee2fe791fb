"""From the paths of the torches to the motion of the joints: angles, speeds, torques."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from simulators.stations.motion import MOTION_HZ, Motion, friction, inverse_dynamics, spline
from simulators.stations.reach import solve_path
from simulators.stations.welding.arm import JOINTS, Arm
from simulators.stations.welding.program import Cycle, tip_path
from stream.messages import Floats

_KNOTS_HZ = 100.0
_START_RAD = np.deg2rad([3.0, -15.0, 25.0, 0.0, 45.0, 0.0])

# Coulomb (N·m) and viscous (N·m·s/rad) friction of each joint, of the order that was identified
# on an ABB IRB 2400: doi 10.2478/ama-2025-0064, table "Friction model parameters".
COULOMB_NM = np.array([24.0, 31.0, 17.0, 7.9, 13.7, 8.8])
VISCOUS_NM_S = np.array([11.9, 8.3, 9.4, 7.1, 7.3, 2.3])
FRICTION_SPREAD = 0.05


def move(
    model: Any,
    arms: Sequence[Arm],
    programs: Sequence[Sequence[Cycle]],
    seconds: float,
    random: Generator,
) -> Motion:
    """Solve the joints' motion of a trajectory, from half a second before to half after.

    Each of ``arms`` follows the cycles of its own in ``programs``; the motion has the first one's
    joints first. ``random`` draws the friction of every joint. Raises UnreachableError.
    """
    knots_s = np.arange(-0.5, seconds + 0.5 + 1 / _KNOTS_HZ, 1 / _KNOTS_HZ)
    knots = np.concatenate(
        [
            _solve(model, slice(at * JOINTS, (at + 1) * JOINTS), arm, cycles, knots_s)
            for at, (arm, cycles) in enumerate(zip(arms, programs, strict=True))
        ],
        axis=1,
    )
    times_s = np.arange(-0.5, seconds + 0.5, 1 / MOTION_HZ)
    positions, velocities, accelerations = spline(knots_s, knots, times_s)
    torques = inverse_dynamics(model, positions, velocities, accelerations)
    wear = random.uniform(1 - FRICTION_SPREAD, 1 + FRICTION_SPREAD, JOINTS * len(arms))
    coulomb_nm, viscous_nm_s = (np.tile(x, len(arms)) for x in (COULOMB_NM, VISCOUS_NM_S))
    return Motion(
        times_s=times_s,
        positions=positions,
        velocities=velocities,
        torques=torques + wear * friction(velocities, coulomb_nm, viscous_nm_s),
    )


def _solve(model: Any, joints: slice, arm: Arm, cycles: Sequence[Cycle], times_s: Floats) -> Floats:
    """Angles (n, JOINTS) of one arm's joints, which are ``joints`` among the model's."""
    positions_m, attitudes = tip_path(cycles, times_s)
    rotations = np.stack([torch_rotation(*attitude) for attitude in attitudes])
    placed = arm.in_world(positions_m, rotations)
    return solve_path(model, arm.tip, joints, _START_RAD, *placed)


def torch_rotation(yaw_rad: float, work_rad: float, push_rad: float) -> Floats:
    """Rotation (3, 3) of the torch to its arm: z is the wire, straight down at zero angles."""
    cy, sy = np.cos(yaw_rad), np.sin(yaw_rad)
    cw, sw = np.cos(work_rad), np.sin(work_rad)
    cp, sp = np.cos(push_rad), np.sin(push_rad)
    yaw = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    work = np.array([[cw, 0.0, sw], [0.0, 1.0, 0.0], [-sw, 0.0, cw]])
    push = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    down = np.diag([-1.0, 1.0, -1.0])
    result: Floats = yaw @ work @ push @ down
    return result
