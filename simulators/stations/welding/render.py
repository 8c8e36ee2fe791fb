"""The camera of a welding cell: a rendered picture, then lens, arcs and chip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from simulators.stations.camera import (
    SIZE_PX,
    CameraPlace,
    View,
    camera_pose,
    encode,
    on_chip,
    shakes,
    through_lens,
)
from simulators.stations.motion import Motion
from simulators.stations.surroundings import Surroundings
from simulators.stations.welding.arc import ArcLight, add_glow, add_sparks, spark_streaks
from simulators.stations.welding.arm import Arm
from stream.messages import Floats

_KEY_COLOUR = np.array([0.92, 0.90, 0.86])
_KEY_DIRECTION = np.array([0.30, 0.32, -1.0])
_ARC_COLOUR = np.array([0.75, 0.86, 1.0])
_ARC_ABOVE_TIP_M = np.array([0.0, 0.0, 0.006])


class Fixture(Protocol):
    """What holds the parts, moved by the one joint of the model that follows the arms'."""

    @property
    def part_geoms(self) -> Sequence[str]:
        """The geoms of the parts, which take the colour of a trajectory's parts."""

    def joint(self, times_s: Floats) -> Floats:
        """Positions (n,) of the joint, in rad or m."""

    def lay(self, model: Any, time_s: float) -> None:
        """Lay the parts and their beads as they are at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that moves or shines in one trajectory; one light for each arm."""

    arms: Sequence[Arm]
    camera: CameraPlace
    motion: Motion
    fixture: Fixture
    surroundings: Surroundings
    lights: Sequence[ArcLight]


def render_frames(model: Any, scene: Scene, times_s: Floats, random: Generator) -> Iterator[bytes]:
    """Yield one JPEG for each of ``times_s`` (n,), in seconds since the trajectory's begin."""
    import mujoco

    data = mujoco.MjData(model)
    turns = shakes(scene.surroundings, times_s, random)
    positions = scene.motion.at(times_s, scene.motion.positions)
    positions = np.column_stack([positions, scene.fixture.joint(times_s)])
    _paint(model, scene)
    with mujoco.Renderer(model, *SIZE_PX) as renderer:
        for row, time_s in enumerate(times_s):
            data.qpos[:] = positions[row]
            burning = [light.burning(row) for light in scene.lights]
            _set_scene(model, scene, float(time_s), burning)
            place = camera_pose(scene.camera, scene.surroundings, turns[row])
            view = View.of(*place, model)
            view.apply(model)
            mujoco.mj_kinematics(model, data)
            tips_m = [data.site(arm.tip).xpos.copy() for arm in scene.arms]
            for arm, tip_m in zip(scene.arms, tips_m, strict=True):
                model.light_pos[model.light(arm.arc).id] = tip_m + _ARC_ABOVE_TIP_M
            mujoco.mj_camlight(model, data)
            renderer.update_scene(data, camera="camera")
            picture = through_lens(renderer.render())
            for light, tip_m, bright in zip(scene.lights, tips_m, burning, strict=True):
                _add_arc(picture, view, light, float(time_s), tip_m, bright)
            yield encode(on_chip(picture, scene.surroundings.noise_levels, random))


def _paint(model: Any, scene: Scene) -> None:
    """Give the model the colours of this trajectory."""
    for name in scene.fixture.part_geoms:
        colour = np.array([0.52, 0.53, 0.54]) * scene.surroundings.part_colour
        model.geom_rgba[model.geom(name).id, :3] = colour
    model.mat_rgba[model.material("paint").id, :3] = np.array([0.86, 0.36, 0.07]) * (
        scene.surroundings.paint_wear
    )
    key = model.light("key").id
    direction = _KEY_DIRECTION + scene.surroundings.key_turn
    model.light_dir[key] = direction / np.linalg.norm(direction)


def _set_scene(model: Any, scene: Scene, time_s: float, burning: Sequence[float]) -> None:
    gain = scene.surroundings.light_gain(time_s)
    model.light_diffuse[model.light("key").id] = gain * scene.surroundings.tint * _KEY_COLOUR
    for arm, bright in zip(scene.arms, burning, strict=True):
        arc = model.light(arm.arc).id
        model.light_active[arc] = bright > 0
        model.light_diffuse[arc] = bright * _ARC_COLOUR
    scene.fixture.lay(model, time_s)


def _add_arc(
    picture: NDArray[np.float32],
    view: View,
    light: ArcLight,
    time_s: float,
    tip_m: Floats,
    burning: float,
) -> None:
    if burning > 0:
        x, y = view.pixels(tip_m[None])[0]
        add_glow(picture, (float(x), float(y)), burning)
    begins, ends, brightness = spark_streaks(light.sparks, time_s, tip_m)
    add_sparks(picture, view.pixels(begins), view.pixels(ends), brightness)
