"""The fixture of `welding-dual`: a shuttle with two places, and a part with a seam on two sides.

While the part at one place is welded, the one at the other place is exchanged.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from simulators.stations.welding.arm import row
from simulators.stations.welding.coordination import FIXTURE_X_M, SEAM_OFFSET_M
from simulators.stations.welding.program import (
    TABLE_HEIGHT_M,
    Cycle,
    free_s,
    minimum_jerk,
    part_on,
)
from simulators.stations.welding.seam import clamps_xml, lay_bead, seam_xml
from stream.messages import Floats

PLACES = ("place_a", "place_b")
SIDES = ("left", "right")  # of the seams, one for each arm
PITCH_M = 0.62  # from place to place
_PLATES = ("lower", "upper")
_EMPTY_S = 1.2  # from the old part's leaving a place until the new one lies there

_PLACE = """
<body name="{name}" pos="0 {y} 0">
  <geom class="jig" type="box" size=".155 .150 .012" pos="0 0 .012"/>
  <geom name="{name}_lower" class="part" type="box" size=".135 .100 .006" pos="0 0 .030"/>
  <geom name="{name}_upper" class="part" type="box" size="{offset} .085 .004" pos="0 0 .040"/>
  <body name="{name}_left" pos="-{offset} 0 0">{left}</body>
  <body name="{name}_right" pos="{offset} 0 0" euler="0 0 180">{right}</body>
  <body euler="0 0 90">{clamps}</body>
</body>
"""

_SHUTTLE = """
<geom type="box" size=".20 .16 .34" pos="{x} 0 .34" material="dark"/>
<geom type="box" size=".025 .95 .03" pos="{left_x} 0 .71" material="dark"/>
<geom type="box" size=".025 .95 .03" pos="{right_x} 0 .71" material="dark"/>
<geom type="box" size=".18 .05 .34" pos="{x} .88 .34" material="dark"/>
<geom type="box" size=".18 .05 .34" pos="{x} -.88 .34" material="dark"/>
<body name="carriage" pos="{x} 0 {z}">
  <joint name="shuttle" type="slide" axis="0 1 0"/>
  <geom type="box" size=".22 .56 .02" pos="0 0 -.02" material="table" mass="90"/>
  <geom type="box" size=".20 .006 .06" pos="0 0 .06" material="screen" mass="4"/>
  {places}
</body>
"""

_CLAMPS = (
    (-0.112, -0.055, 0.028, 10),
    (-0.112, 0.055, 0.028, 10),
    (0.112, -0.055, -0.028, -10),
    (0.112, 0.055, -0.028, -10),
)


def shuttle_xml() -> str:
    """The shuttle with its rails and places, as MJCF."""
    places = "".join(
        _PLACE.format(
            name=name,
            y=y_m,
            offset=SEAM_OFFSET_M,
            left=seam_xml(f"{name}_left"),
            right=seam_xml(f"{name}_right"),
            clamps=clamps_xml(_CLAMPS),
        )
        for name, y_m in zip(PLACES, (-PITCH_M / 2, PITCH_M / 2), strict=True)
    )
    left_x_m, right_x_m = FIXTURE_X_M - 0.13, FIXTURE_X_M + 0.13
    return _SHUTTLE.format(
        x=row(FIXTURE_X_M),
        left_x=row(left_x_m),
        right_x=row(right_x_m),
        z=TABLE_HEIGHT_M,
        places=places,
    )


class Shuttle:
    """The shuttle during one trajectory: two arms' cycles move it and lay its beads."""

    part_geoms = tuple(f"{place}_{plate}" for place in PLACES for plate in _PLATES)

    def __init__(self, programs: Sequence[Sequence[Cycle]]) -> None:
        self._programs = programs

    def joint(self, times_s: Floats) -> Floats:
        """Shift of the carriage in m: the next place comes while both arms are near home."""
        shift_m = np.full_like(times_s, PITCH_M / 2)
        for cycles, following in pairwise(zip(*self._programs, strict=True)):
            begin_s, end_s = free_s(cycles, following)
            away = -1.0 if following[0].number % 2 else 1.0
            shift_m += away * PITCH_M * minimum_jerk((times_s - begin_s) / (end_s - begin_s))
        return shift_m

    def lay(self, model: Any, time_s: float) -> None:
        """Lay the parts on the places, with the beads that they have by now."""
        for place, name in enumerate(PLACES):
            lying = part_on(self._programs[0], place, time_s)
            if lying is None:
                continue
            _place(model, name, place, lying)
            _show(model, name, part_on(self._programs[0], place, time_s - _EMPTY_S) is lying)
            for side, cycles in zip(SIDES, self._programs, strict=True):
                lay_bead(model, f"{name}_{side}", cycles[lying.number], time_s)


def _place(model: Any, name: str, place: int, left: Cycle) -> None:
    """Lay a part so that its left seam is where its cycle has it."""
    body = model.body(name).id
    shift_x_m, shift_y_m = left.part.shift_m
    cos, sin = np.cos(left.part.turn_rad), np.sin(left.part.turn_rad)
    model.body_pos[body, 0] = shift_x_m + SEAM_OFFSET_M * (cos - 1)
    model.body_pos[body, 1] = (place - 0.5) * PITCH_M + shift_y_m + SEAM_OFFSET_M * sin
    model.body_quat[body] = (np.cos(left.part.turn_rad / 2), 0, 0, np.sin(left.part.turn_rad / 2))


def _show(model: Any, name: str, there: bool) -> None:
    for plate in _PLATES:
        model.geom_rgba[model.geom(f"{name}_{plate}").id, 3] = float(there)
