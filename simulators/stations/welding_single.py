"""The station `welding-single`: what its camera and its robot controller would have recorded."""

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng

from simulators.recordings.recording import Modality, Record
from simulators.stations.arm_motion import MOTION_HZ, Motion, move
from simulators.stations.cell import JOINTS, load_cell
from simulators.stations.render import SIZE_PX, Scene, render_frames
from simulators.stations.sensors import NS_PER_S, Clock, lagged, measured
from simulators.stations.surroundings import draw_surroundings
from simulators.stations.weld_program import draw_cycles
from stream.messages import Floats, Frame, Kind, Samples, TimesNs

STATION = "welding-single"
TRAJECTORY_S = 60.0
EPISODE_GAP_NS = 3 * NS_PER_S
CAMERA_HZ = 15.0
KINEMATICS_HZ = 125.0

# Angles: a 17-bit encoder on the joint. Speeds: derived by the drive, with its filter of 20 ms.
# Torques: motor currents through a 12-bit converter over the joint's peak, filtered for 4 ms.
_VELOCITY_LAG_S = 0.020
_TORQUE_LAG_S = 0.004
_POSITION_QUANTUM = 2 * np.pi / 2**17
_TORQUE_QUANTA = tuple(2 * peak / 2**12 for peak in (1000.0, 1000.0, 1000.0, 120.0, 120.0, 80.0))

_NAMES = tuple(f"{what}_{n + 1}" for what in ("position", "velocity", "torque") for n in range(6))
_UNITS = ("rad",) * JOINTS + ("rad/s",) * JOINTS + ("N·m",) * JOINTS

MODALITIES: dict[str, Modality] = {
    "camera": Modality(name="camera", kind=Kind.IMAGE, rate_hz=CAMERA_HZ, size_px=SIZE_PX),
    "kinematics": Modality(
        name="kinematics",
        kind=Kind.VECTOR,
        rate_hz=KINEMATICS_HZ,
        names=_NAMES,
        units=_UNITS,
        noise_sd=(4e-5,) * JOINTS + (1.5e-3,) * JOINTS + (2.0, 2.5, 2.0, 0.25, 0.25, 0.15),
        quantum=(_POSITION_QUANTUM,) * JOINTS + (2e-4,) * JOINTS + _TORQUE_QUANTA,
    ),
}

_CLOCKS = {
    "camera": Clock(rate_hz=CAMERA_HZ, rate_error=4e-5, jitter_s=1e-3, delay_s=(0.010, 0.014)),
    "kinematics": Clock(
        rate_hz=KINEMATICS_HZ, rate_error=4e-5, jitter_s=3e-4, delay_s=(0.0015, 0.003)
    ),
}


def simulate_trajectory(seed: int, number: int, seconds: float, start_ns: int) -> Iterator[Record]:
    """Yield every record of trajectory ``number``, in the order of their log times.

    Capture times lie in [``start_ns``, ``start_ns`` + ``seconds``). The same arguments give the
    same bytes on the same machine, whatever was simulated before.
    """
    from simulators.stations.opengl import prepare_opengl

    prepare_opengl()
    plan, wear, looks, camera, kinematics = (
        default_rng(sequence) for sequence in SeedSequence((seed, number)).spawn(5)
    )
    model = load_cell()
    cycles = draw_cycles(plan, seconds)
    motion = move(model, cycles, seconds, wear)
    scene = Scene(motion=motion, cycles=cycles, surroundings=draw_surroundings(looks))
    frames = _frames(model, scene, seconds, camera, number, start_ns)
    samples = _samples(motion, seconds, kinematics, number, start_ns)
    yield from heapq.merge(frames, samples, key=lambda record: record.log_time_ns)


def _frames(
    model: object, scene: Scene, seconds: float, random: Generator, number: int, start_ns: int
) -> Iterator[Record]:
    times_ns, logged_ns = _CLOCKS["camera"].draw(random, seconds)
    pictures = render_frames(model, scene, times_ns / NS_PER_S, random)
    for time_ns, log_time_ns, jpeg in zip(times_ns, logged_ns, pictures, strict=True):
        yield Record(
            log_time_ns=start_ns + int(log_time_ns),
            episode=number,
            reading=Frame(
                modality="camera", time_ns=start_ns + int(time_ns), data=jpeg, format="jpeg"
            ),
        )


def _samples(
    motion: Motion, seconds: float, random: Generator, number: int, start_ns: int
) -> Iterator[Record]:
    modality = MODALITIES["kinematics"]
    times_ns, logged_ns = _CLOCKS["kinematics"].draw(random, seconds)
    clean = _sensed(motion, times_ns / NS_PER_S)
    values = measured(clean, np.array(modality.noise_sd), np.array(modality.quantum), random)
    at_ns = times_ns + start_ns
    for row in range(len(at_ns)):
        yield Record(
            log_time_ns=start_ns + int(logged_ns[row]),
            episode=number,
            reading=_sample(at_ns, values, row),
            clean=_sample(at_ns, clean, row),
        )


def _sample(times_ns: TimesNs, values: Floats, row: int) -> Samples:
    """One row as a micro-batch of its own."""
    modality = MODALITIES["kinematics"]
    return Samples(
        modality=modality.name,
        times_ns=times_ns[row : row + 1],
        values=values[row : row + 1],
        names=modality.names,
        units=modality.units,
    )


def _sensed(motion: Motion, times_s: Floats) -> Floats:
    """Angles, speeds and torques (n, 18) after the sensors' lags, before noise."""
    channels = (
        motion.positions,
        lagged(motion.velocities, MOTION_HZ, _VELOCITY_LAG_S),
        lagged(motion.torques, MOTION_HZ, _TORQUE_LAG_S),
    )
    return np.concatenate([motion.at(times_s, values) for values in channels], axis=1)
