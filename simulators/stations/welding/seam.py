"""The seams and clamps of a fixture: how they look, and how a bead grows along its seam."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from simulators.stations.welding.program import SEAM_LENGTH_M, Cycle, weld_progress

BEAD_RADIUS_M = 0.0045
_BEAD_HEIGHT_M = 0.0385
_HOT_LENGTH_M = 0.012

_SEAM = """
<geom class="seam" type="box" size=".0016 .080 .0012" pos="-.0010 0 .0362"/>
<geom name="{name}_bead" class="bead" type="capsule" size=".0036 .01" pos="0 0 .040"
      euler="90 0 0"/>
<geom name="{name}_hot" class="hot" type="capsule" size=".0042 .01" pos="0 0 .040"
      euler="90 0 0"/>
"""

_CLAMP = """
<geom class="clamp" type="box" size=".016 .014 .03" pos="{x} {y} .04"/>
<geom class="clamp" type="box" size=".030 .009 .006" pos="{arm_x} {y} .066" euler="0 {tilt} 0"/>
<geom class="knob" type="capsule" size=".009 .012" pos="{x} {y} .09"/>
"""


def seam_xml(name: str) -> str:
    """A seam along y through the origin of its body, with a bead and a hot end to be laid."""
    return _SEAM.format(name=name)


def clamps_xml(places: Iterable[tuple[float, float, float, float]]) -> str:
    """Clamps at (x, y) in metres, each with the reach (m) and tilt (degrees) of its arm."""
    return "".join(
        _CLAMP.format(x=x, y=y, arm_x=x + reach, tilt=tilt) for x, y, reach, tilt in places
    )


def lay_bead(model: Any, name: str, cycle: Cycle, time_s: float) -> None:
    """Show what of a cycle's weld is done; its end glows, and cools after the arc."""
    done_m = float(weld_progress(cycle, np.array([time_s]))[0]) * SEAM_LENGTH_M
    since_s = time_s - cycle.arc_s[1]
    _lay(model, f"{name}_bead", 0.0, done_m, 1.0)
    warmth = float(np.exp(-max(since_s, 0.0) / 0.5)) if time_s >= cycle.arc_s[0] else 0.0
    _lay(model, f"{name}_hot", max(done_m - _HOT_LENGTH_M, 0.0), done_m, warmth)


def _lay(model: Any, name: str, begin_m: float, end_m: float, opacity: float) -> None:
    geom = model.geom(name).id
    half_m = (end_m - begin_m) / 2
    model.geom_size[geom, :2] = (BEAD_RADIUS_M, max(half_m, 1e-4))
    model.geom_pos[geom] = (0.0, (begin_m + end_m - SEAM_LENGTH_M) / 2, _BEAD_HEIGHT_M)
    material = model.mat_rgba[model.geom_matid[geom]]
    model.geom_rgba[geom] = (*material[:3], opacity if half_m > 1e-4 and opacity > 0.02 else 0.0)
