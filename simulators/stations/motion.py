"""The motion of an arm's joints: a smooth curve through solved poses, and the torques it takes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.messages import Floats

MOTION_HZ = 500.0
_STICK_RAD_PER_S = 0.01  # below this a joint is as good as at rest


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """The true motion at MOTION_HZ; each array (n, joints) in rad, rad/s, N·m."""

    times_s: Floats
    positions: Floats
    velocities: Floats
    torques: Floats

    def at(self, times_s: Floats, values: Floats) -> Floats:
        """Interpolate one of the arrays of this motion at ``times_s`` (m,)."""
        return np.stack([np.interp(times_s, self.times_s, column) for column in values.T], axis=1)


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


def inverse_dynamics(model: Any, q: Floats, dq: Floats, ddq: Floats) -> Floats:
    """Torques (n, joints) that this motion of the model's first joints takes, without friction."""
    import mujoco

    data = mujoco.MjData(model)
    joints = q.shape[1]
    torques = np.empty_like(q)
    for row in range(len(q)):
        data.qpos[:joints], data.qvel[:joints], data.qacc[:joints] = q[row], dq[row], ddq[row]
        mujoco.mj_inverse(model, data)
        torques[row] = data.qfrc_inverse[:joints]
    return torques


def friction(velocities: Floats, coulomb_nm: Floats, viscous_nm_s: Floats) -> Floats:
    """Torques (n, joints) that Coulomb and viscous friction of each joint add at ``velocities``."""
    return coulomb_nm * np.tanh(velocities / _STICK_RAD_PER_S) + viscous_nm_s * velocities
