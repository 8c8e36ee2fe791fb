"""The model of the cell `ur5`: arm, work table, room, and the things that lie on the table."""

from typing import Any

from simulators.stations.ur5.arm import arm_xml

TABLE_TOP_M = 0.76
BASE_M = (0.0, 0.0, TABLE_TOP_M + 0.012)  # on a plate, turned so that the arm faces +x
CLEAR_M = 0.065  # above the table: what lies there is lower, and the arm stays out of it
BLOCKS = 6

_DEFAULTS = """
<default>
  <geom contype="0" conaffinity="0"/>
  <default class="seen"/>
  <default class="cap"><geom type="cylinder" material="cap"/></default>
  <default class="band"><geom type="cylinder" material="band"/></default>
  <default class="solid">
    <geom contype="1" conaffinity="1" margin=".010"/>
    <default class="shell"><geom type="cylinder" material="shell"/></default>
    <default class="tube"><geom type="capsule" material="tube"/></default>
    <default class="flange"><geom type="cylinder" material="flange"/></default>
  </default>
</default>
"""

_ASSETS = """
<asset>
  <texture name="wood" type="2d" builtin="flat" rgb1=".62 .54 .43" mark="edge"
           markrgb=".50 .43 .34" width="64" height="128"/>
  <material name="floor" rgba=".40 .41 .42 1" specular=".1"/>
  <material name="top" texture="wood" texrepeat="1 5" specular=".2" shininess=".3"/>
  <material name="edge" rgba=".66 .67 .68 1" specular=".5"/>
  <material name="wall" rgba=".66 .68 .68 1" specular="0"/>
  <material name="skirting" rgba=".30 .32 .34 1" specular="0"/>
  <material name="cabinet" rgba=".50 .53 .56 1" specular=".3"/>
  <material name="vent" rgba=".16 .17 .18 1" specular=".2"/>
  <material name="screen" rgba=".09 .14 .20 1" specular=".6"/>
  <material name="lamp" rgba=".10 .62 .22 1" emission=".6"/>
  <material name="red" rgba=".70 .08 .06 1" specular=".4"/>
  <material name="post" rgba=".88 .70 .08 1" specular=".2"/>
  <material name="mesh" rgba=".20 .21 .22 1" specular=".1"/>
  <material name="board" rgba=".80 .81 .80 1" specular=".3"/>
  <material name="shell" rgba=".74 .76 .78 1" specular=".5" shininess=".5"/>
  <material name="tube" rgba=".70 .72 .74 1" specular=".6" shininess=".6"/>
  <material name="cap" rgba=".30 .55 .76 1" specular=".4" shininess=".4"/>
  <material name="band" rgba=".17 .18 .19 1" specular=".3"/>
  <material name="flange" rgba=".58 .59 .61 1" specular=".8" shininess=".7"/>
  <material name="gripper" rgba=".12 .12 .13 1" specular=".4"/>
  <material name="finger" rgba=".42 .43 .45 1" specular=".6"/>
  <material name="pad" rgba=".07 .07 .07 1" specular="0"/>
  <material name="thing" rgba="1 1 1 1" specular=".25" shininess=".3"/>
</asset>
"""

_ROOM = """
<light name="key" directional="true" castshadow="true" pos=".4 -.3 2.2" dir="-.2 .3 -1"
       diffuse=".6 .6 .6" specular=".3 .3 .3"/>
<light name="fill" directional="true" castshadow="false" pos="0 0 3" dir="-.6 .5 -.5"
       diffuse=".20 .21 .23" specular="0 0 0"/>
<geom type="plane" size="4 4 .1" material="floor"/>
<geom type="box" size=".05 3 1.5" pos="-1.35 0 1.5" material="wall"/>
<geom type="box" size="3 .05 1.5" pos="0 1.65 1.5" material="wall"/>
<geom type="box" size=".01 3 .06" pos="-1.29 0 .06" material="skirting"/>
<geom type="box" size="3 .01 .06" pos="0 1.59 .06" material="skirting"/>
<geom type="box" size=".20 .26 .55" pos="-1.08 .55 .55" material="cabinet"/>
<geom type="box" size=".005 .18 .05" pos="-.876 .55 .30" material="vent"/>
<geom type="box" size=".02 .14 .10" pos="-.90 .55 1.22" euler="0 -12 0" material="vent"/>
<geom type="box" size=".02 .11 .07" pos="-.895 .55 1.225" euler="0 -12 0" material="screen"/>
<geom type="cylinder" size=".018 .02" pos="-.90 .36 1.14" material="red"/>
<geom type="cylinder" size=".014 .02" pos="-.90 .72 1.12" material="lamp"/>
<geom type="box" size=".30 .01 .20" pos="-.55 1.59 1.62" material="board"/>
<geom type="box" size="1.0 .03 .03" pos=".45 1.57 1.40" material="edge"/>
<geom type="cylinder" size=".022 .85" pos="-.35 1.30 .85" material="post"/>
<geom type="cylinder" size=".022 .85" pos=".95 1.30 .85" material="post"/>
<geom type="cylinder" size=".014 .65" pos=".30 1.30 1.66" euler="0 90 0" material="post"/>
<geom type="cylinder" size=".010 .65" pos=".30 1.30 1.20" euler="0 90 0" material="mesh"/>
<geom type="cylinder" size=".010 .65" pos=".30 1.30 .75" euler="0 90 0" material="mesh"/>
<camera name="camera" pos="1.5 -1 1.7" fovy="36"/>
"""

_TABLE = f"""
<geom type="box" size=".55 .65 .015" pos=".27 0 {TABLE_TOP_M - 0.015}" material="top"/>
<geom type="box" size=".56 .66 .022" pos=".27 0 {TABLE_TOP_M - 0.048}" material="edge"/>
<geom type="box" size=".025 .025 .36" pos="-.24 -.60 .36" material="edge"/>
<geom type="box" size=".025 .025 .36" pos="-.24 .60 .36" material="edge"/>
<geom type="box" size=".025 .025 .36" pos=".78 -.60 .36" material="edge"/>
<geom type="box" size=".025 .025 .36" pos=".78 .60 .36" material="edge"/>
<geom type="box" size=".11 .11 .006" pos="0 0 {TABLE_TOP_M + 0.006}" material="band"/>
<geom name="kept_clear" class="solid" type="box" size="1 1 {CLEAR_M / 2}"
      pos="0 0 {TABLE_TOP_M + CLEAR_M / 2}" group="3"/>
"""

_BOX = """
<body name="box">
  <geom class="seen" type="box" material="thing" size=".105 .075 .003" pos="0 0 .003"/>
  <geom class="seen" type="box" material="thing" size=".105 .003 .030" pos="0 .075 .030"/>
  <geom class="seen" type="box" material="thing" size=".105 .003 .030" pos="0 -.075 .030"/>
  <geom class="seen" type="box" material="thing" size=".003 .075 .030" pos=".105 0 .030"/>
  <geom class="seen" type="box" material="thing" size=".003 .075 .030" pos="-.105 0 .030"/>
</body>
"""


def cell_xml() -> str:
    """Return the whole cell as MJCF. Lengths in metres, masses in kilograms."""
    blocks = "".join(
        f'<body name="block_{n}"><geom class="seen" name="block_{n}" type="box" material="thing" '
        f'size=".02 .02 .02"/></body>'
        for n in range(BLOCKS)
    )
    x, y, z = BASE_M
    return f"""<mujoco model="ur5">
    <compiler angle="degree"/>
    <option timestep="0.002"/>
    <statistic center=".25 0 1" extent="2.5"/>
    <visual>
      <global offwidth="256" offheight="256"/>
      <quality shadowsize="512" offsamples="0" numquads="2" numslices="16" numstacks="4"/>
      <headlight ambient=".26 .26 .27" diffuse=".12 .12 .12" specular="0 0 0"/>
      <map znear=".05" zfar="4" shadowclip=".9" shadowscale=".9"/>
    </visual>
    {_DEFAULTS}{_ASSETS}
    <worldbody>
      {_ROOM}{_TABLE}{blocks}{_BOX}
      <body name="base" pos="{x} {y} {z}" quat="0 0 0 1">
        <geom class="shell" size=".075" fromto="0 0 0 0 0 .018"/>
        {arm_xml()}
      </body>
    </worldbody>
    <contact>
      <exclude body1="world" body2="link_1"/>
      <exclude body1="world" body2="link_2"/>
      <exclude body1="base" body2="link_1"/>
      <exclude body1="base" body2="link_2"/>
      <exclude body1="link_3" body2="link_5"/>
      <exclude body1="link_4" body2="link_6"/>
    </contact>
    </mujoco>"""


def load_cell() -> Any:
    """Compile the cell into a ``mujoco.MjModel``."""
    import mujoco

    return mujoco.MjModel.from_xml_string(cell_xml())
