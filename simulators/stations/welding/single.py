"""The station `welding-single`: what its camera and its robot controller would have recorded."""

import heapq
from collections.abc import Iterator

from numpy.random import SeedSequence, default_rng

from simulators.recordings.recording import Modality, Record
from simulators.stations.camera import CAMERA_CLOCK, SIZE_PX
from simulators.stations.sensors import NS_PER_S
from simulators.stations.streams import (
    KINEMATICS_CLOCK,
    image_records,
    kinematics,
    sensed,
    vector_records,
)
from simulators.stations.surroundings import draw_surroundings
from simulators.stations.trajectory import Trajectory
from simulators.stations.welding.cell import load_cell
from simulators.stations.welding.path import move
from simulators.stations.welding.program import draw_cycles
from simulators.stations.welding.render import Scene, render_frames
from stream.messages import Kind

MODALITIES: dict[str, Modality] = {
    "camera": Modality(
        name="camera", kind=Kind.IMAGE, rate_hz=CAMERA_CLOCK.rate_hz, size_px=SIZE_PX
    ),
    "kinematics": kinematics(
        torque_noise_nm=(2.0, 2.5, 2.0, 0.25, 0.25, 0.15),
        torque_peak_nm=(1000.0, 1000.0, 1000.0, 120.0, 120.0, 80.0),
    ),
}


def simulate_trajectory(trajectory: Trajectory) -> Iterator[Record]:
    """Yield every record of a trajectory, in the order of their log times.

    The same trajectory gives the same bytes on the same machine, whatever was simulated before.
    """
    from simulators.stations.opengl import prepare_opengl

    prepare_opengl()
    plan, wear, looks, camera, robot = (
        default_rng(sequence)
        for sequence in SeedSequence((trajectory.seed, trajectory.number)).spawn(5)
    )
    model = load_cell()
    cycles = draw_cycles(plan, trajectory.seconds)
    motion = move(model, cycles, trajectory.seconds, wear)
    surroundings = draw_surroundings(looks, trajectory.unfamiliar)
    scene = Scene(motion=motion, cycles=cycles, surroundings=surroundings)
    times_ns, logged_ns = CAMERA_CLOCK.draw(camera, trajectory.seconds)
    pictures = render_frames(model, scene, times_ns / NS_PER_S, camera)
    yield from heapq.merge(
        image_records("camera", times_ns, logged_ns, pictures, trajectory),
        vector_records(
            MODALITIES["kinematics"], KINEMATICS_CLOCK, sensed(motion), trajectory, robot
        ),
        key=lambda record: record.log_time_ns,
    )
