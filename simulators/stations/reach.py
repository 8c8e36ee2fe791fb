"""Which joint angles bring the tip of an arm to a pose."""

from typing import Any

import numpy as np

from stream.messages import Floats


class UnreachableError(Exception):
    """A point of the path that the arm cannot reach: says which and by how much."""


def solve_path(
    model: Any, site: str, joints: slice, start_rad: Floats, positions: Floats, rotations: Floats
) -> Floats:
    """Joint angles (n, joints) that bring ``site`` to each pose, each solved from the one before.

    ``joints`` are those of the arm among the model's; positions (n, 3) in metres and rotations
    (n, 3, 3) are of the world's frame. Raises UnreachableError.
    """
    import mujoco

    data = mujoco.MjData(model)
    at = model.site(site).id
    angles = start_rad.copy()
    solved = np.empty((len(positions), len(start_rad)))
    for row, (position, rotation) in enumerate(zip(positions, rotations, strict=True)):
        angles = _reach(model, data, at, joints, angles, position, rotation)
        solved[row] = angles
    return solved


def _reach(
    model: Any,
    data: Any,
    site: int,
    joints: slice,
    angles: Floats,
    position: Floats,
    rotation: Floats,
) -> Floats:
    """Damped least squares (Wampler 1986) from ``angles`` to a pose, exact to a micrometre."""
    import mujoco

    jacobian = np.zeros((6, model.nv))
    damping = 1e-6 * np.eye(6)
    for _ in range(200):
        data.qpos[joints] = angles
        mujoco.mj_kinematics(model, data)
        error = _pose_error(position, rotation, data.site_xpos[site], data.site_xmat[site])
        if np.abs(error).max() < 1e-6:
            return angles
        mujoco.mj_comPos(model, data)
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
        arm = jacobian[:, joints]
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
