"""A welding cell: what it is made of, and what its sensors would have recorded."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from numpy.random import Generator, SeedSequence, default_rng

from simulators.recordings.recording import Modality, Record
from simulators.stations.camera import CAMERA_CLOCK, SIZE_PX, CameraPlace
from simulators.stations.motion import Motion
from simulators.stations.sensors import NS_PER_S
from simulators.stations.streams import (
    KINEMATICS_CLOCK,
    image_records,
    kinematics,
    sensed,
    vector_records,
)
from simulators.stations.surroundings import Surroundings, draw_surroundings
from simulators.stations.trajectory import Trajectory
from simulators.stations.welding.arc import ArcLight, draw_light
from simulators.stations.welding.arm import Arm
from simulators.stations.welding.path import move
from simulators.stations.welding.process import PROCESS_CLOCK, process_modality, sense_process
from simulators.stations.welding.program import Cycle
from simulators.stations.welding.render import Fixture, Scene, render_frames
from simulators.stations.welding.room import cell_xml
from stream.messages import Kind

Programs: TypeAlias = Sequence[Sequence[Cycle]]
"""The cycles of each arm."""

_TORQUE_NOISE_NM = (2.0, 2.5, 2.0, 0.25, 0.25, 0.15)
_TORQUE_PEAK_NM = (1000.0, 1000.0, 1000.0, 120.0, 120.0, 80.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Arms around a fixture, before a camera.

    ``draw_programs`` draws what the arms do for so many seconds, with unfamiliar parts or not.
    """

    name: str
    arms: tuple[Arm, ...]
    fixture_xml: Callable[[], str]
    fixture: Callable[[Programs], Fixture]
    draw_programs: Callable[[Generator, float, bool], Programs]
    camera: CameraPlace
    fovy_deg: float

    @property
    def modalities(self) -> Mapping[str, Modality]:
        """What the sensors record."""
        camera = Modality(
            name="camera", kind=Kind.IMAGE, rate_hz=CAMERA_CLOCK.rate_hz, size_px=SIZE_PX
        )
        count = len(self.arms)
        arms = kinematics(_TORQUE_NOISE_NM * count, _TORQUE_PEAK_NM * count)
        return {each.name: each for each in (camera, arms, process_modality(count))}

    def load(self) -> Any:
        """Compile the cell into a ``mujoco.MjModel``."""
        import mujoco

        xml = cell_xml(self.name, self.arms, self.fixture_xml(), self.fovy_deg)
        return mujoco.MjModel.from_xml_string(xml)

    def simulate_trajectory(self, trajectory: Trajectory) -> Iterator[Record]:
        """Yield every record of a trajectory, in the order of their log times.

        The same trajectory gives the same bytes on the same machine, whatever was simulated
        before.
        """
        from simulators.stations.opengl import prepare_opengl

        prepare_opengl()
        plan, wear, looks, camera, robot, source = (
            default_rng(sequence)
            for sequence in SeedSequence((trajectory.seed, trajectory.number)).spawn(6)
        )
        model = self.load()
        programs = self.draw_programs(plan, trajectory.seconds, trajectory.unfamiliar)
        motion = move(model, self.arms, programs, trajectory.seconds, wear)
        times_ns, logged_ns = CAMERA_CLOCK.draw(camera, trajectory.seconds)
        frames_s = times_ns / NS_PER_S
        lights = [draw_light(camera, cycles, frames_s) for cycles in programs]
        surroundings = draw_surroundings(looks, trajectory.unfamiliar)
        scene = self._scene(programs, motion, lights, surroundings)
        pictures = render_frames(model, scene, frames_s, camera)
        arms, process = self.modalities["kinematics"], self.modalities["process"]
        streams = [
            image_records("camera", times_ns, logged_ns, pictures, trajectory),
            vector_records(arms, KINEMATICS_CLOCK, sensed(motion), trajectory, robot),
        ]
        if "process" in trajectory.modalities:
            sense = sense_process(lights, trajectory.seconds, source)
            streams.append(vector_records(process, PROCESS_CLOCK, sense, trajectory, source))
        yield from heapq.merge(*streams, key=lambda record: record.log_time_ns)

    def _scene(
        self,
        programs: Programs,
        motion: Motion,
        lights: Sequence[ArcLight],
        surroundings: Surroundings,
    ) -> Scene:
        return Scene(
            arms=self.arms,
            camera=self.camera,
            motion=motion,
            fixture=self.fixture(programs),
            surroundings=surroundings,
            lights=lights,
        )
