"""From the path of the torch to the motion of the joints: angles, speeds, torques."""

from typing import Any

import numpy as np
from numpy.random import Generator

from simulators.stations.motion import MOTION_HZ, Motion, friction, inverse_dynamics, spline
from simulators.stations.reach import solve_path
from simulators.stations.welding.cell import JOINTS
from simulators.stations.welding.program import Cycle, tip_path
from stream.messages import Floats

_KNOTS_HZ = 100.0
_START_RAD = np.deg2rad([3.0, -15.0, 25.0, 0.0, 45.0, 0.0])

# Coulomb (N·m) and viscous (N·m·s/rad) friction of each joint, of the order that was identified
# on an ABB IRB 2400: doi 10.2478/ama-2025-0064, table "Friction model parameters".
COULOMB_NM = np.array([24.0, 31.0, 17.0, 7.9, 13.7, 8.8])
VISCOUS_NM_S = np.array([11.9, 8.3, 9.4, 7.1, 7.3, 2.3])
FRICTION_SPREAD = 0.05


def move(model: Any, cycles: list[Cycle], seconds: float, random: Generator) -> Motion:
    """Solve the joints' motion of a trajectory, from half a second before to half after.

    ``random`` draws the friction of this trajectory's joints. Raises UnreachableError.
    """
    knots_s = np.arange(-0.5, seconds + 0.5 + 1 / _KNOTS_HZ, 1 / _KNOTS_HZ)
    positions_m, attitudes = tip_path(cycles, knots_s)
    rotations = np.stack([torch_rotation(*attitude) for attitude in attitudes])
    knots = solve_path(model, "tip", slice(JOINTS), _START_RAD, positions_m, rotations)
    times_s = np.arange(-0.5, seconds + 0.5, 1 / MOTION_HZ)
    positions, velocities, accelerations = spline(knots_s, knots, times_s)
    torques = inverse_dynamics(model, positions, velocities, accelerations)
    wear = random.uniform(1 - FRICTION_SPREAD, 1 + FRICTION_SPREAD, JOINTS)
    return Motion(
        times_s=times_s,
        positions=positions,
        velocities=velocities,
        torques=torques + wear * friction(velocities, COULOMB_NM, VISCOUS_NM_S),
    )


def torch_rotation(yaw_rad: float, work_rad: float, push_rad: float) -> Floats:
    """Rotation (3, 3) of the torch: its z axis is the wire, straight down at zero angles."""
    cy, sy = np.cos(yaw_rad), np.sin(yaw_rad)
    cw, sw = np.cos(work_rad), np.sin(work_rad)
    cp, sp = np.cos(push_rad), np.sin(push_rad)
    yaw = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    work = np.array([[cw, 0.0, sw], [0.0, 1.0, 0.0], [-sw, 0.0, cw]])
    push = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    down = np.diag([-1.0, 1.0, -1.0])
    result: Floats = yaw @ work @ push @ down
    return result
