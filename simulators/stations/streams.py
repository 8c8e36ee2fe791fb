"""From what a station did to the records of its sensors."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import numpy as np
from numpy.random import Generator

from simulators.recordings.recording import Modality, Record
from simulators.stations.motion import MOTION_HZ, Motion
from simulators.stations.sensors import NS_PER_S, Clock, lagged, measured
from simulators.stations.trajectory import Trajectory
from stream.messages import Floats, Frame, Kind, Samples, TimesNs

KINEMATICS_HZ = 125.0
QUANTITIES = ("position", "velocity", "torque")

# Angles: a 17-bit encoder on the joint. Speeds: derived by the drive, with its filter of 20 ms.
# Torques: motor currents through a 12-bit converter over the joint's peak, filtered for 4 ms.
_VELOCITY_LAG_S = 0.020
_TORQUE_LAG_S = 0.004
_POSITION_QUANTUM_RAD = 2 * np.pi / 2**17
_VELOCITY_QUANTUM_RAD_PER_S = 2e-4
_POSITION_NOISE_RAD = 4e-5
_VELOCITY_NOISE_RAD_PER_S = 1.5e-3
KINEMATICS_CLOCK = Clock(
    rate_hz=KINEMATICS_HZ, rate_error=4e-5, jitter_s=3e-4, delay_s=(0.0015, 0.003)
)

Sense: TypeAlias = Callable[[Floats], Floats]
"""Times (n,) in seconds since the trajectory's begin -> noise-free channels (n, channels)."""


def kinematics(torque_noise_nm: tuple[float, ...], torque_peak_nm: tuple[float, ...]) -> Modality:
    """The modality ``kinematics`` of an arm: angle, speed and torque of each joint, at 125 Hz."""
    joints = len(torque_noise_nm)
    return Modality(
        name="kinematics",
        kind=Kind.VECTOR,
        rate_hz=KINEMATICS_HZ,
        names=tuple(f"{what}_{n + 1}" for what in QUANTITIES for n in range(joints)),
        units=("rad",) * joints + ("rad/s",) * joints + ("N·m",) * joints,
        noise_sd=(_POSITION_NOISE_RAD,) * joints
        + (_VELOCITY_NOISE_RAD_PER_S,) * joints
        + torque_noise_nm,
        quantum=(_POSITION_QUANTUM_RAD,) * joints
        + (_VELOCITY_QUANTUM_RAD_PER_S,) * joints
        + tuple(2 * peak / 2**12 for peak in torque_peak_nm),
    )


def sensed(motion: Motion) -> Sense:
    """Angles, speeds and torques of a motion after the sensors' lags, before noise."""
    channels = (
        motion.positions,
        lagged(motion.velocities, MOTION_HZ, _VELOCITY_LAG_S),
        lagged(motion.torques, MOTION_HZ, _TORQUE_LAG_S),
    )
    return lambda times_s: np.concatenate(
        [motion.at(times_s, values) for values in channels], axis=1
    )


def vector_records(
    modality: Modality, clock: Clock, sense: Sense, trajectory: Trajectory, random: Generator
) -> Iterator[Record]:
    """Yield what a sensor reports, sample by sample, with the noise-free sample beside it."""
    times_ns, logged_ns = clock.draw(random, trajectory.seconds)
    clean = sense(times_ns / NS_PER_S)
    values = measured(clean, np.array(modality.noise_sd), np.array(modality.quantum), random)
    at_ns = times_ns + trajectory.start_ns
    for row in range(len(at_ns)):
        yield Record(
            log_time_ns=trajectory.start_ns + int(logged_ns[row]),
            episode=trajectory.number,
            reading=_sample(modality, at_ns, values, row),
            clean=_sample(modality, at_ns, clean, row),
        )


def image_records(
    modality: str,
    times_ns: TimesNs,
    logged_ns: TimesNs,
    jpegs: Iterable[bytes],
    trajectory: Trajectory,
) -> Iterator[Record]:
    """Yield frames with times (n,) in nanoseconds since the trajectory's begin."""
    for time_ns, log_time_ns, jpeg in zip(times_ns, logged_ns, jpegs, strict=True):
        yield Record(
            log_time_ns=trajectory.start_ns + int(log_time_ns),
            episode=trajectory.number,
            reading=Frame(
                modality=modality,
                time_ns=trajectory.start_ns + int(time_ns),
                data=jpeg,
                format="jpeg",
            ),
        )


def _sample(modality: Modality, times_ns: TimesNs, values: Floats, row: int) -> Samples:
    """One row as a micro-batch of its own."""
    return Samples(
        modality=modality.name,
        times_ns=times_ns[row : row + 1],
        values=values[row : row + 1],
        names=modality.names,
        units=modality.units,
    )
