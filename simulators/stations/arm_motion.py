"""From the path of the torch to the motion of the joints: angles, speeds, torques."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from simulators.stations.cell import JOINTS
from simulators.stations.weld_program import Cycle, table_angle, tip_path
from stream.messages import Floats

MOTION_HZ = 500.0
_KNOTS_HZ = 100.0
_START_RAD = np.deg2rad([3.0, -15.0, 25.0, 0.0, 45.0, 0.0])

# Coulomb (N·m) and viscous (N·m·s/rad) friction of each joint, of the order that was identified
# on an ABB IRB 2400: doi 10.2478/ama-2025-0064, table "Friction model parameters".
COULOMB_NM = np.array([24.0, 31.0, 17.0, 7.9, 13.7, 8.8])
VISCOUS_NM_S = np.array([11.9, 8.3, 9.4, 7.1, 7.3, 2.3])
_STICK_RAD_PER_S = 0.01
FRICTION_SPREAD = 0.05


class UnreachableError(Exception):
    """A point of the path that the arm cannot reach: says which and by how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """The true motion at MOTION_HZ; each array (n, 6) in rad, rad/s, N·m; ``table_rad`` (n,)."""

    times_s: Floats
    positions: Floats
    velocities: Floats
    torques: Floats
    table_rad: Floats

    def at(self, times_s: Floats, values: Floats) -> Floats:
        """Interpolate one of the arrays of this motion at ``times_s`` (m,)."""
        if values.ndim == 1:
            return np.interp(times_s, self.times_s, values)
        return np.stack([np.interp(times_s, self.times_s, column) for column in values.T], axis=1)


def move(model: Any, cycles: list[Cycle], seconds: float, random: Generator) -> Motion:
    """Solve the joints' motion of a trajectory, from half a second before to half after.

    ``random`` draws the friction of this trajectory's joints. Raises UnreachableError.
    """
    knots_s = np.arange(-0.5, seconds + 0.5 + 1 / _KNOTS_HZ, 1 / _KNOTS_HZ)
    knots = _solve_path(model, *tip_path(cycles, knots_s))
    times_s = np.arange(-0.5, seconds + 0.5, 1 / MOTION_HZ)
    positions, velocities, accelerations = spline(knots_s, knots, times_s)
    torques = _inverse_dynamics(model, positions, velocities, accelerations)
    wear = random.uniform(1 - FRICTION_SPREAD, 1 + FRICTION_SPREAD, JOINTS)
    friction = COULOMB_NM * np.tanh(velocities / _STICK_RAD_PER_S) + VISCOUS_NM_S * velocities
    return Motion(
        times_s=times_s,
        positions=positions,
        velocities=velocities,
        torques=torques + wear * friction,
        table_rad=table_angle(cycles, times_s),
    )


def spline(knots_s: Floats, knots: Floats, times_s: Floats) -> tuple[Floats, Floats, Floats]:
    """Evaluate the natural cubic spline through evenly spaced ``knots`` (n, channels).

    Returns values, first and second derivatives at ``times_s``, each (m, channels).
    """
    step = knots_s[1] - knots_s[0]
    bends = _second_derivatives(knots, step)
    left = np.clip(((times_s - knots_s[0]) / step).astype(int), 0, len(knots) - 2)
    b = ((times_s - knots_s[left]) / step)[:, None]
    a = 1.0 - b
    y0, y1, m0, m1 = knots[left], knots[left + 1], bends[left], bends[left + 1]
    values = a * y0 + b * y1 + ((a**3 - a) * m0 + (b**3 - b) * m1) * step**2 / 6
    slopes = (y1 - y0) / step + ((3 * b**2 - 1) * m1 - (3 * a**2 - 1) * m0) * step / 6
    return values, slopes, a * m0 + b * m1


def _second_derivatives(knots: Floats, step: float) -> Floats:
    """Second derivatives at the knots: m[i-1] + 4 m[i] + m[i+1] = 6 Δ²y / step², ends zero."""
    right = 6.0 * (knots[2:] - 2 * knots[1:-1] + knots[:-2]) / step**2
    share = np.empty(len(right))
    solved = np.empty_like(right)
    share[0], solved[0] = 1 / 4, right[0] / 4
    for row in range(1, len(right)):
        share[row] = 1 / (4 - share[row - 1])
        solved[row] = (right[row] - solved[row - 1]) * share[row]
    for row in range(len(right) - 2, -1, -1):
        solved[row] -= share[row] * solved[row + 1]
    return np.vstack([np.zeros_like(knots[:1]), solved, np.zeros_like(knots[:1])])


def _solve_path(model: Any, positions: Floats, attitudes: Floats) -> Floats:
    """Joint angles (n, 6) that bring the tip to each pose, each solved from the one before."""
    import mujoco

    data = mujoco.MjData(model)
    site = model.site("tip").id
    angles = _START_RAD.copy()
    solved = np.empty((len(positions), JOINTS))
    for row, (position, attitude) in enumerate(zip(positions, attitudes, strict=True)):
        angles = _reach(model, data, site, angles, position, torch_rotation(*attitude))
        solved[row] = angles
    return solved


def _reach(
    model: Any, data: Any, site: int, angles: Floats, position: Floats, rotation: Floats
) -> Floats:
    """Damped least squares (Wampler 1986) from ``angles`` to a pose, exact to a micrometre."""
    import mujoco

    jacobian = np.zeros((6, model.nv))
    damping = 1e-6 * np.eye(6)
    for _ in range(200):
        data.qpos[:JOINTS] = angles
        mujoco.mj_kinematics(model, data)
        error = _pose_error(position, rotation, data.site_xpos[site], data.site_xmat[site])
        if np.abs(error).max() < 1e-6:
            return angles
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
        arm = jacobian[:, :JOINTS]
        step = arm.T @ np.linalg.solve(arm @ arm.T + damping, error)
        angles = angles + np.clip(step, -0.2, 0.2)
    raise UnreachableError(f"the arm cannot reach {position} m: off by {np.abs(error).max():.2g}")


def _pose_error(position: Floats, rotation: Floats, at: Floats, turned: Floats) -> Floats:
    # Half the sum of the cross products of the axes, which is the turn between near attitudes.
    skew = rotation @ turned.reshape(3, 3).T
    turn = 0.5 * np.array(
        [skew[2, 1] - skew[1, 2], skew[0, 2] - skew[2, 0], skew[1, 0] - skew[0, 1]]
    )
    return np.concatenate([position - at, turn])


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


def _inverse_dynamics(model: Any, q: Floats, dq: Floats, ddq: Floats) -> Floats:
    """Torques (n, 6) that this motion takes, without friction."""
    import mujoco

    data = mujoco.MjData(model)
    torques = np.empty_like(q)
    for row in range(len(q)):
        data.qpos[:JOINTS], data.qvel[:JOINTS], data.qacc[:JOINTS] = q[row], dq[row], ddq[row]
        mujoco.mj_inverse(model, data)
        torques[row] = data.qfrc_inverse[:JOINTS]
    return torques
