"""From the moves of the arm to the motion of its joints: angles, speeds, torques."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from simulators.stations.motion import MOTION_HZ, Motion, friction, inverse_dynamics
from simulators.stations.ur5.arm import JOINTS
from simulators.stations.ur5.program import Leg, follow

# Coulomb (N·m) and viscous (N·m·s/rad) friction of each joint: the model with which Kovincic et
# al. describe this arm in "Dynamic parameter identification of the Universal Robots UR5". The
# figures are our own estimates, each about a twentieth of the joint's peak torque.
COULOMB_NM = np.array([7.5, 8.5, 7.0, 1.6, 1.5, 1.3])
VISCOUS_NM_S = np.array([9.0, 9.5, 8.0, 1.5, 1.4, 1.2])
COULOMB_SPREAD = 0.10
# A UR5 that has run itself warm has about 17 % less viscous friction than a cold one: Raviola et
# al. 2021, doi 10.3390/robotics10030083.
WARM_SHARE = 0.83


def move(model: Any, legs: Sequence[Leg], seconds: float, random: Generator) -> Motion:
    """Give the joints' motion in a trajectory, from half a second before to half after.

    ``random`` draws how worn the joints are and how warm.
    """
    import mujoco

    # Every move was checked to touch nothing; looking for contacts again would cost half the time.
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONTACT
    times_s = np.arange(-0.5, seconds + 0.5, 1 / MOTION_HZ)
    positions, velocities, accelerations = follow(legs, times_s)
    torques = inverse_dynamics(model, positions, velocities, accelerations)
    wear = random.uniform(1 - COULOMB_SPREAD, 1 + COULOMB_SPREAD, JOINTS)
    warmth = random.uniform(WARM_SHARE, 1.0)
    return Motion(
        times_s=times_s,
        positions=positions,
        velocities=velocities,
        torques=torques + friction(velocities, wear * COULOMB_NM, warmth * VISCOUS_NM_S),
    )
