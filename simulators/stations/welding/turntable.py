"""The fixture of `welding-single`: an indexing table with two jigs, half a turn for each part."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from simulators.stations.welding.program import (
    SEAM_CENTRE_M,
    TABLE_HEIGHT_M,
    Cycle,
    free_s,
    minimum_jerk,
    part_on,
)
from simulators.stations.welding.seam import clamps_xml, lay_bead, seam_xml
from stream.messages import Floats

JIGS = ("jig_a", "jig_b")
JIG_RADIUS_M = 0.26
_CENTRE_X_M = SEAM_CENTRE_M[0] + JIG_RADIUS_M

_JIG = """
<body name="{name}" pos="{x} 0 0" euler="0 0 {yaw}">
  <geom class="jig" type="box" size=".115 .125 .012" pos="-.005 0 .012"/>
  <geom name="{name}_lower" class="part" type="box" size=".085 .085 .006" pos="-.015 0 .030"/>
  <geom name="{name}_upper" class="part" type="box" size=".044 .080 .004" pos=".044 0 .040"/>
  {seam}{clamps}
</body>
"""

_TABLE = """
<geom type="cylinder" size=".24 .37" pos="{x} 0 .37" material="dark"/>
<body name="table" pos="{x} 0 {z}">
  <joint name="table" axis="0 0 1"/>
  <geom type="cylinder" size=".52 .02" pos="0 0 -.02" material="table" mass="80"/>
  <geom type="box" size=".008 .46 .20" pos="0 0 .20" material="screen" mass="8"/>
  <geom type="box" size=".014 .014 .21" pos="0 .46 .21" material="post" mass="1"/>
  <geom type="box" size=".014 .014 .21" pos="0 -.46 .21" material="post" mass="1"/>
  {jigs}
</body>
"""

_CLAMPS = (
    (-0.098, -0.062, 0.026, 14),
    (-0.098, 0.062, 0.026, 14),
    (0.098, -0.050, -0.026, -10),
    (0.098, 0.050, -0.026, -10),
)


def turntable_xml() -> str:
    """The table with its jigs, as MJCF."""
    jigs = "".join(
        _JIG.format(name=name, x=x_m, yaw=yaw_deg, seam=seam_xml(name), clamps=clamps_xml(_CLAMPS))
        for name, x_m, yaw_deg in zip(JIGS, (-JIG_RADIUS_M, JIG_RADIUS_M), (0, 180), strict=True)
    )
    return _TABLE.format(x=_CENTRE_X_M, z=TABLE_HEIGHT_M, jigs=jigs)


class Turntable:
    """The table during one trajectory: one arm's cycles turn it and lay its beads."""

    part_geoms = tuple(f"{jig}_{plate}" for jig in JIGS for plate in ("lower", "upper"))

    def __init__(self, programs: Sequence[Sequence[Cycle]]) -> None:
        (self._cycles,) = programs

    def joint(self, times_s: Floats) -> Floats:
        """Angle of the table in rad: half a turn for each new part, while the arm is at home."""
        angle = np.zeros_like(times_s)
        for cycle, following in pairwise(self._cycles):
            begin_s, end_s = free_s([cycle], [following])
            angle += np.pi * minimum_jerk((times_s - begin_s) / (end_s - begin_s))
        return angle

    def lay(self, model: Any, time_s: float) -> None:
        """Lay the parts on the jigs, with the beads that they have by now."""
        for jig, name in enumerate(JIGS):
            cycle = part_on(self._cycles, jig, time_s)
            if cycle is not None:
                _place(model, jig, cycle)
                lay_bead(model, name, cycle, time_s)


def _place(model: Any, jig: int, cycle: Cycle) -> None:
    side = 1.0 if jig else -1.0  # the second jig is turned by half a turn
    body = model.body(JIGS[jig]).id
    shift_x_m, shift_y_m = cycle.part.shift_m
    model.body_pos[body, :2] = (side * (JIG_RADIUS_M - shift_x_m), -side * shift_y_m)
    half_turn = (cycle.part.turn_rad + (np.pi if jig else 0.0)) / 2
    model.body_quat[body] = (np.cos(half_turn), 0.0, 0.0, np.sin(half_turn))
