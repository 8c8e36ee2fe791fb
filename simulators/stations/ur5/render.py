"""The camera of the cell: a rendered picture, then lens and chip."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

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
from simulators.stations.ur5.arm import JOINTS
from simulators.stations.ur5.cell import BLOCKS, TABLE_TOP_M
from simulators.stations.ur5.things import Thing, Things
from stream.messages import Floats

CAMERA = CameraPlace(at_m=(1.60, -1.10, 1.75), target_m=(0.29, 0.11, 0.99))
_KEY_COLOUR = np.array([0.78, 0.76, 0.73])
_KEY_DIRECTION = np.array([-0.22, 0.34, -1.0])
_PAINTED = ("shell", "tube", "cap")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that moves, lies or shines in one trajectory."""

    motion: Motion
    things: Things
    surroundings: Surroundings


def render_frames(model: Any, scene: Scene, times_s: Floats, random: Generator) -> Iterator[bytes]:
    """Yield one JPEG for each of ``times_s`` (n,), in seconds since the trajectory's begin."""
    import mujoco

    data = mujoco.MjData(model)
    turns = shakes(scene.surroundings, times_s, random)
    positions = scene.motion.at(times_s, scene.motion.positions)
    _paint(model, scene.surroundings)
    _lay_things(model, scene)
    key = model.light("key").id
    with mujoco.Renderer(model, *SIZE_PX) as renderer:
        for row, time_s in enumerate(times_s):
            data.qpos[:JOINTS] = positions[row]
            gain = scene.surroundings.light_gain(float(time_s))
            model.light_diffuse[key] = gain * scene.surroundings.tint * _KEY_COLOUR
            View.of(*camera_pose(CAMERA, scene.surroundings, turns[row]), model).apply(model)
            mujoco.mj_kinematics(model, data)
            mujoco.mj_camlight(model, data)
            renderer.update_scene(data, camera="camera")
            picture = through_lens(renderer.render())
            yield encode(on_chip(picture, scene.surroundings.noise_levels, random))


def _paint(model: Any, surroundings: Surroundings) -> None:
    """Give the arm the paint and the light the direction of this trajectory."""
    for name in _PAINTED:
        model.mat_rgba[model.material(name).id, :3] *= surroundings.paint_wear
    direction = _KEY_DIRECTION + surroundings.key_turn
    model.light_dir[model.light("key").id] = direction / np.linalg.norm(direction)


def _lay_things(model: Any, scene: Scene) -> None:
    tint = scene.surroundings.part_colour
    _lay(model, "box", scene.things.box, 0.0, tint)
    for number in range(BLOCKS):
        geom = model.geom(f"block_{number}").id
        if number < len(scene.things.blocks):
            block = scene.things.blocks[number]
            _lay(model, f"block_{number}", block, float(block.half_m[2]), tint)
            model.geom_size[geom] = block.half_m
        else:
            model.geom_rgba[geom, 3] = 0.0


def _lay(model: Any, name: str, thing: Thing, lift_m: float, tint: Floats) -> None:
    body = model.body(name).id
    model.body_pos[body] = (*thing.at_m, TABLE_TOP_M + lift_m)
    half_turn = thing.turn_rad / 2
    model.body_quat[body] = (np.cos(half_turn), 0.0, 0.0, np.sin(half_turn))
    geoms = model.geom_bodyid == body
    model.geom_rgba[geoms, :3] = np.clip(thing.colour * tint, 0.0, 1.0)
