"""The camera of the cell: a rendered picture, then lens, arc and chip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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
from simulators.stations.welding.arc import (
    Sparks,
    add_glow,
    add_sparks,
    draw_sparks,
    flicker,
    spark_streaks,
)
from simulators.stations.welding.cell import (
    BEAD_RADIUS_M,
    JIG_RADIUS_M,
    JIGS,
    JOINTS,
    SEAM_LENGTH_M,
)
from simulators.stations.welding.program import Cycle, table_angle, weld_progress
from stream.messages import Floats

CAMERA = CameraPlace(at_m=(0.62, -0.98, 1.40), target_m=(1.035, 0.0, 0.935))
_KEY_COLOUR = np.array([0.92, 0.90, 0.86])
_KEY_DIRECTION = np.array([0.30, 0.32, -1.0])
_ARC_COLOUR = np.array([0.75, 0.86, 1.0])
_ARC_ABOVE_TIP_M = np.array([0.0, 0.0, 0.006])
_HOT_LENGTH_M = 0.012
_BEAD_HEIGHT_M = 0.0385


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that moves or shines in one trajectory."""

    motion: Motion
    cycles: list[Cycle]
    surroundings: Surroundings


def render_frames(model: Any, scene: Scene, times_s: Floats, random: Generator) -> Iterator[bytes]:
    """Yield one JPEG for each of ``times_s`` (n,), in seconds since the trajectory's begin."""
    import mujoco

    data = mujoco.MjData(model)
    sparks = draw_sparks(random, scene.cycles)
    flickers = flicker(random, len(times_s))
    turns = shakes(scene.surroundings, times_s, random)
    positions = scene.motion.at(times_s, scene.motion.positions)
    table_rad = table_angle(scene.cycles, times_s)
    _paint(model, scene.surroundings)
    with mujoco.Renderer(model, *SIZE_PX) as renderer:
        for row, time_s in enumerate(times_s):
            data.qpos[:JOINTS], data.qpos[JOINTS] = positions[row], table_rad[row]
            burning = _burning(scene.cycles, time_s) * flickers[row]
            _set_scene(model, scene, time_s, burning)
            view = View.of(*camera_pose(CAMERA, scene.surroundings, turns[row]), model)
            view.apply(model)
            mujoco.mj_kinematics(model, data)
            tip_m = data.site("tip").xpos.copy()
            model.light_pos[model.light("arc").id] = tip_m + _ARC_ABOVE_TIP_M
            mujoco.mj_camlight(model, data)
            renderer.update_scene(data, camera="camera")
            picture = through_lens(renderer.render())
            _add_arc(picture, view, sparks, float(time_s), tip_m, burning)
            yield encode(on_chip(picture, scene.surroundings.noise_levels, random))


def _paint(model: Any, surroundings: Surroundings) -> None:
    """Give the model the colours of this trajectory."""
    for jig in JIGS:
        for plate in ("lower", "upper"):
            geom = model.geom(f"{jig}_{plate}").id
            model.geom_rgba[geom, :3] = np.array([0.52, 0.53, 0.54]) * surroundings.part_colour
    model.mat_rgba[model.material("paint").id, :3] = np.array([0.86, 0.36, 0.07]) * (
        surroundings.paint_wear
    )
    key = model.light("key").id
    direction = _KEY_DIRECTION + surroundings.key_turn
    model.light_dir[key] = direction / np.linalg.norm(direction)


def _burning(cycles: Sequence[Cycle], time_s: float) -> float:
    return float(any(begin <= time_s < end for begin, end in (c.arc_s for c in cycles)))


def _set_scene(model: Any, scene: Scene, time_s: float, burning: float) -> None:
    gain = scene.surroundings.light_gain(time_s)
    model.light_diffuse[model.light("key").id] = gain * scene.surroundings.tint * _KEY_COLOUR
    arc = model.light("arc").id
    model.light_active[arc] = burning > 0
    model.light_diffuse[arc] = burning * _ARC_COLOUR
    for jig in range(len(JIGS)):
        cycle = _part_on(scene.cycles, jig, time_s)
        _lay_part(model, jig, cycle, time_s)


def _part_on(cycles: Sequence[Cycle], jig: int, time_s: float) -> Cycle | None:
    """The cycle whose part lies on a jig: exchanged behind the screen while the other is welded."""
    lying = None
    for cycle in cycles:
        if cycle.number % len(JIGS) == jig and cycle.number:
            exchanged_s = cycles[cycle.number - 1].stage_s("weld")[0]
            lying = cycle if exchanged_s <= time_s else lying
        elif cycle.number % len(JIGS) == jig:
            lying = cycle
    return lying


def _lay_part(model: Any, jig: int, cycle: Cycle | None, time_s: float) -> None:
    if cycle is None:
        return
    side = 1.0 if jig else -1.0  # the second jig is turned by half a turn
    body = model.body(JIGS[jig]).id
    shift_x_m, shift_y_m = cycle.part.shift_m
    model.body_pos[body, :2] = (side * (JIG_RADIUS_M - shift_x_m), -side * shift_y_m)
    half_turn = (cycle.part.turn_rad + (np.pi if jig else 0.0)) / 2
    model.body_quat[body] = (np.cos(half_turn), 0.0, 0.0, np.sin(half_turn))
    done_m = float(weld_progress(cycle, np.array([time_s]))[0]) * SEAM_LENGTH_M
    since_s = time_s - cycle.arc_s[1]
    _lay_bead(model, f"{JIGS[jig]}_bead", 0.0, done_m, 1.0)
    warmth = float(np.exp(-max(since_s, 0.0) / 0.5)) if time_s >= cycle.arc_s[0] else 0.0
    _lay_bead(model, f"{JIGS[jig]}_hot", max(done_m - _HOT_LENGTH_M, 0.0), done_m, warmth)


def _lay_bead(model: Any, name: str, begin_m: float, end_m: float, opacity: float) -> None:
    geom = model.geom(name).id
    half_m = (end_m - begin_m) / 2
    model.geom_size[geom, :2] = (BEAD_RADIUS_M, max(half_m, 1e-4))
    model.geom_pos[geom] = (0.0, (begin_m + end_m - SEAM_LENGTH_M) / 2, _BEAD_HEIGHT_M)
    material = model.mat_rgba[model.geom_matid[geom]]
    model.geom_rgba[geom] = (*material[:3], opacity if half_m > 1e-4 and opacity > 0.02 else 0.0)


def _add_arc(
    picture: NDArray[np.float32],
    view: View,
    sparks: Sparks,
    time_s: float,
    tip_m: Floats,
    burning: float,
) -> None:
    if burning > 0:
        x, y = view.pixels(tip_m[None])[0]
        add_glow(picture, (float(x), float(y)), burning)
    begins, ends, brightness = spark_streaks(sparks, time_s, tip_m)
    add_sparks(picture, view.pixels(begins), view.pixels(ends), brightness)
