"""The room of a welding cell: materials, lights, floor, walls and a curtain, as MJCF."""

from collections.abc import Sequence

from simulators.stations.welding.arm import Arm, row

_DEFAULTS = """
<default>
  <geom contype="0" conaffinity="0"/>
  <default class="paint"><geom material="paint"/></default>
  <default class="dark"><geom material="dark"/></default>
  <default class="rubber"><geom material="rubber"/></default>
  <default class="feeder"><geom material="feeder"/></default>
  <default class="steel"><geom material="steel"/></default>
  <default class="copper"><geom material="copper"/></default>
  <default class="jig"><geom material="jig"/></default>
  <default class="part"><geom material="part"/></default>
  <default class="seam"><geom material="seam"/></default>
  <default class="bead"><geom material="bead"/></default>
  <default class="hot"><geom material="hot"/></default>
  <default class="clamp"><geom material="clamp"/></default>
  <default class="knob"><geom material="knob"/></default>
</default>
"""

_ASSETS = """
<asset>
  <texture name="floor" type="2d" builtin="checker" rgb1=".37 .38 .39" rgb2=".33 .34 .35"
           mark="edge" markrgb=".28 .29 .30" width="128" height="128"/>
  <texture name="table" type="2d" builtin="flat" rgb1=".36 .37 .38" mark="edge"
           markrgb=".20 .21 .22" width="64" height="64"/>
  <material name="floor" texture="floor" texrepeat="3 3" texuniform="true" specular=".1"/>
  <material name="table" texture="table" texrepeat="14 14" specular=".3" shininess=".3"/>
  <material name="wall" rgba=".47 .50 .52 1" specular="0"/>
  <material name="curtain" rgba=".42 .13 .08 1" specular=".3"/>
  <material name="screen" rgba=".26 .28 .30 1" specular=".2"/>
  <material name="post" rgba=".85 .66 .08 1" specular=".2"/>
  <material name="paint" rgba=".86 .36 .07 1" specular=".5" shininess=".5"/>
  <material name="dark" rgba=".16 .16 .17 1" specular=".4"/>
  <material name="rubber" rgba=".07 .07 .08 1" specular=".2"/>
  <material name="feeder" rgba=".20 .27 .36 1" specular=".3"/>
  <material name="steel" rgba=".62 .63 .65 1" specular=".8" shininess=".7"/>
  <material name="copper" rgba=".66 .40 .22 1" specular=".8" shininess=".7"/>
  <material name="jig" rgba=".17 .20 .24 1" specular=".3"/>
  <material name="part" rgba=".52 .53 .54 1" specular=".7" shininess=".6"/>
  <material name="seam" rgba=".10 .09 .09 1" specular="0"/>
  <material name="bead" rgba=".34 .22 .14 1" specular=".5" shininess=".5"/>
  <material name="hot" rgba="1 .34 .05 1" emission="1"/>
  <material name="clamp" rgba=".60 .12 .10 1" specular=".4"/>
  <material name="knob" rgba=".09 .09 .10 1" specular=".4"/>
</asset>
"""

_LIGHTS = """
<light name="key" directional="true" castshadow="true" pos="0 0 3" dir="-.2 .3 -1"
       diffuse=".6 .6 .6" specular=".3 .3 .3"/>
<light name="fill" directional="true" castshadow="false" pos="0 0 3" dir=".5 .6 -.6"
       diffuse=".22 .23 .26" specular="0 0 0"/>
"""

_ARC = """
<light name="{name}" castshadow="false" pos="1.1 0 .85" dir="0 0 -1" cutoff="180" exponent="0"
       diffuse="0 0 0" specular=".3 .3 .3" attenuation="1 0 9"/>
"""

_WALLS = """
<geom name="floor" type="plane" size="4 4 .1" material="floor"/>
<geom type="box" size="3 .05 1.6" pos="0 2.6 1.6" material="wall"/>
<geom type="box" size=".05 3 1.6" pos="3.0 0 1.6" material="wall"/>
{curtain}
<geom type="cylinder" size=".03 .9" pos="2.1 1.2 .9" material="post"/>
<geom type="cylinder" size=".03 .9" pos=".75 1.75 .9" material="post"/>
<geom type="cylinder" size=".02 .68" pos="1.43 1.48 1.7" euler="90 0 0" material="post"/>
"""


def _curtain() -> str:
    """Strips of a welding curtain behind the table, each turned a little."""
    return "".join(
        f"<geom type='box' size='.10 .006 .78' pos='{row(0.95 + 0.19 * k, 1.9, 0.95)}'"
        f" euler='0 0 {(-1) ** k * 14}' material='curtain'/>"
        for k in range(8)
    )


def cell_xml(name: str, arms: Sequence[Arm], fixture: str, fovy_deg: float) -> str:
    """Return a whole cell as MJCF, the arms' joints first. Lengths in metres, masses in kg."""
    # Rendering spends its time on vertices: two arms are drawn less round than one.
    slices, stacks = (22, 6) if len(arms) == 1 else (14, 4)
    return f"""<mujoco model="{name}">
    <compiler angle="degree"/>
    <option timestep="0.002"/>
    <visual>
      <global offwidth="256" offheight="256"/>
      <quality shadowsize="768" offsamples="0" numquads="2"
               numslices="{slices}" numstacks="{stacks}"/>
      <headlight ambient=".24 .24 .25" diffuse=".12 .12 .12" specular="0 0 0"/>
      <map znear=".05" zfar="12" shadowclip="1.4" shadowscale=".9"/>
    </visual>
    {_DEFAULTS}{_ASSETS}
    <worldbody>
      {_LIGHTS}{"".join(_ARC.format(name=arm.arc) for arm in arms)}
      {_WALLS.format(curtain=_curtain())}
      <camera name="camera" pos=".45 -1.2 1.5" fovy="{fovy_deg:g}"/>
      {"".join(arm.xml() for arm in arms)}
      {fixture}
    </worldbody>
    </mujoco>"""
