"""The station `ur5`: what its camera and its robot controller would have recorded."""

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
from simulators.stations.ur5.arm import PEAK_TORQUE_NM
from simulators.stations.ur5.cell import load_cell
from simulators.stations.ur5.path import move
from simulators.stations.ur5.program import draw_legs
from simulators.stations.ur5.render import Scene, render_frames
from simulators.stations.ur5.things import draw_things
from stream.messages import Kind

MODALITIES: dict[str, Modality] = {
    "camera": Modality(
        name="camera", kind=Kind.IMAGE, rate_hz=CAMERA_CLOCK.rate_hz, size_px=SIZE_PX
    ),
    "kinematics": kinematics(
        torque_noise_nm=(0.7, 0.7, 0.7, 0.12, 0.12, 0.12), torque_peak_nm=PEAK_TORQUE_NM
    ),
}


def simulate_trajectory(trajectory: Trajectory) -> Iterator[Record]:
    """Yield every record of a trajectory, in the order of their log times.

    The same trajectory gives the same bytes on the same machine, whatever was simulated before.
    """
    from simulators.stations.opengl import prepare_opengl

    prepare_opengl()
    plan, wear, looks, table, camera, robot = (
        default_rng(sequence)
        for sequence in SeedSequence((trajectory.seed, trajectory.number)).spawn(6)
    )
    model = load_cell()
    legs = draw_legs(model, plan, trajectory.seconds)
    motion = move(model, legs, trajectory.seconds, wear)
    scene = Scene(
        motion=motion,
        things=draw_things(table, trajectory.unfamiliar),
        surroundings=draw_surroundings(looks, trajectory.unfamiliar),
    )
    times_ns, logged_ns = CAMERA_CLOCK.draw(camera, trajectory.seconds)
    pictures = render_frames(model, scene, times_ns / NS_PER_S, camera)
    yield from heapq.merge(
        image_records("camera", times_ns, logged_ns, pictures, trajectory),
        vector_records(
            MODALITIES["kinematics"], KINEMATICS_CLOCK, sensed(motion), trajectory, robot
        ),
        key=lambda record: record.log_time_ns,
    )
