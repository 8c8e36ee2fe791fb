"""The model of the cell `welding-single`: arm, torch, indexing table, jigs and camera.

The arm has the joint distances of the ABB IRB 2600-20/1.65, from its product specification, in
mm: shoulder 150 out and 445 up, upper arm 700, elbow offset 115, forearm 795, wrist to flange 85.
Masses, rotor inertias and all shapes are our own estimates; with the base the links come to about
the 272 kg given there.
"""

from typing import Any

JOINTS = 6
ARM_JOINTS = tuple(f"joint_{n}" for n in range(1, JOINTS + 1))
JIGS = ("jig_a", "jig_b")
TABLE_CENTRE_M = (1.36, 0.0, 0.78)
JIG_RADIUS_M = 0.26
SEAM_LENGTH_M = 0.110
SEAM_HEIGHT_M = 0.044  # of the seam above the table
BEAD_RADIUS_M = 0.0045

_ARM = """
<body name="link_1" pos="0 0 0.2">
  <joint name="joint_1" axis="0 0 1" armature="9"/>
  <geom class="paint" type="cylinder" size=".19 .11" pos="0 0 .21" mass="40"/>
  <geom class="paint" type="box" size=".15 .13 .12" pos=".05 0 .40" mass="34"/>
  <geom class="dark" type="cylinder" size=".085 .17" pos=".15 0 .445" euler="90 0 0" mass="12"/>
  <body name="link_2" pos=".15 0 .445">
    <joint name="joint_2" axis="0 1 0" armature="9"/>
    <geom class="paint" type="capsule" size=".085" fromto="0 -.10 0 0 -.10 .70" mass="34"/>
    <geom class="paint" type="box" size=".055 .03 .30" pos="0 -.17 .35" mass="6"/>
    <geom class="dark" type="cylinder" size=".09 .04" pos="0 -.2 .70" euler="90 0 0" mass="4"/>
    <body name="link_3" pos="0 0 .70">
      <joint name="joint_3" axis="0 1 0" armature="6"/>
      <geom class="paint" type="box" size=".13 .10 .11" pos="-.02 .02 .08" mass="30"/>
      <geom class="dark" type="cylinder" size=".07 .09" pos="-.2 .02 .115"
            euler="0 90 0" mass="9"/>
      <geom class="paint" type="cylinder" size=".085 .13" pos=".22 0 .115"
            euler="0 90 0" mass="11"/>
      <body name="link_4" pos="0 0 .115">
        <joint name="joint_4" axis="1 0 0" armature="1.2"/>
        <geom class="paint" type="capsule" size=".062" fromto=".36 0 0 .70 0 0" mass="15"/>
        <geom class="dark" type="box" size=".09 .025 .05" pos=".745 -.07 0" mass="2.5"/>
        <geom class="dark" type="box" size=".09 .025 .05" pos=".745 .07 0" mass="2.5"/>
        <geom class="feeder" type="box" size=".12 .075 .06" pos=".42 0 .15" mass="8"/>
        <body name="link_5" pos=".795 0 0">
          <joint name="joint_5" axis="0 1 0" armature="1.0"/>
          <geom class="paint" type="cylinder" size=".05 .05" euler="90 0 0" mass="4"/>
          <body name="link_6">
            <joint name="joint_6" axis="1 0 0" armature=".5"/>
            <geom class="steel" type="cylinder" size=".045 .02" pos=".07 0 0"
                  euler="0 90 0" mass="1"/>
            <geom class="dark" type="cylinder" size=".05 .025" pos=".11 0 0"
                  euler="0 90 0" mass="1.4"/>
            <geom class="rubber" type="capsule" size=".024" fromto=".12 0 0 .24 0 0" mass=".9"/>
            <geom class="steel" type="capsule" size=".013"
                  fromto=".25 0 0 {neck_end}" mass=".5"/>
            <geom class="copper" type="cylinder" size=".0125 .032" pos="{nozzle}"
                  euler="0 125 0" mass=".2"/>
            <geom class="copper" type="cylinder" size=".0045 .012" pos="{contact_tip}"
                  euler="0 125 0" mass=".02"/>
            <geom class="steel" type="capsule" size=".0016" fromto="{contact_tip} {wire_end}"
                  mass=".01"/>
            <geom class="rubber" type="capsule" size=".017"
                  fromto=".11 0 .03 -.10 .02 .20" mass=".3"/>
            <site name="tip" pos="{tip}" euler="0 125 0"/>
          </body>
        </body>
      </body>
    </body>
  </body>
</body>
"""

_JIG = """
<body name="{name}" pos="{x} 0 0" euler="0 0 {yaw}">
  <geom class="jig" type="box" size=".115 .125 .012" pos="-.005 0 .012"/>
  <geom name="{name}_lower" class="part" type="box" size=".085 .085 .006" pos="-.015 0 .030"/>
  <geom name="{name}_upper" class="part" type="box" size=".044 .080 .004" pos=".044 0 .040"/>
  <geom class="seam" type="box" size=".0016 .080 .0012" pos="-.0010 0 .0362"/>
  <geom name="{name}_bead" class="bead" type="capsule" size=".0036 .01" pos="0 0 .040"
        euler="90 0 0"/>
  <geom name="{name}_hot" class="hot" type="capsule" size=".0042 .01" pos="0 0 .040"
        euler="90 0 0"/>
  {clamps}
</body>
"""

_CLAMP = """
<geom class="clamp" type="box" size=".016 .014 .03" pos="{x} {y} .04"/>
<geom class="clamp" type="box" size=".030 .009 .006" pos="{arm_x} {y} .066" euler="0 {tilt} 0"/>
<geom class="knob" type="capsule" size=".009 .012" pos="{x} {y} .09"/>
"""

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

_SURROUNDINGS = """
<light name="key" directional="true" castshadow="true" pos="0 0 3" dir="-.2 .3 -1"
       diffuse=".6 .6 .6" specular=".3 .3 .3"/>
<light name="fill" directional="true" castshadow="false" pos="0 0 3" dir=".5 .6 -.6"
       diffuse=".22 .23 .26" specular="0 0 0"/>
<light name="arc" castshadow="false" pos="1.1 0 .85" dir="0 0 -1" cutoff="180" exponent="0"
       diffuse="0 0 0" specular=".3 .3 .3" attenuation="1 0 9"/>
<geom name="floor" type="plane" size="4 4 .1" material="floor"/>
<geom type="box" size="3 .05 1.6" pos="0 2.6 1.6" material="wall"/>
<geom type="box" size=".05 3 1.6" pos="3.0 0 1.6" material="wall"/>
{curtain}
<geom type="cylinder" size=".03 .9" pos="2.1 1.2 .9" material="post"/>
<geom type="cylinder" size=".03 .9" pos=".75 1.75 .9" material="post"/>
<geom type="cylinder" size=".02 .68" pos="1.43 1.48 1.7" euler="90 0 0" material="post"/>
<geom type="cylinder" size=".27 .10" pos="0 0 .10" material="dark"/>
<camera name="camera" pos=".45 -1.2 1.5" fovy="33"/>
<geom type="cylinder" size=".24 .37" pos="{table_x} 0 .37" material="dark"/>
"""

_TABLE = """
<body name="table" pos="{table_x} 0 {table_z}">
  <joint name="table" axis="0 0 1"/>
  <geom type="cylinder" size=".52 .02" pos="0 0 -.02" material="table" mass="80"/>
  <geom type="box" size=".008 .46 .20" pos="0 0 .20" material="screen" mass="8"/>
  <geom type="box" size=".014 .014 .21" pos="0 .46 .21" material="post" mass="1"/>
  <geom type="box" size=".014 .014 .21" pos="0 -.46 .21" material="post" mass="1"/>
  {jigs}
</body>
"""


def _row(*numbers: float) -> str:
    return " ".join(f"{number:.5f}" for number in numbers)


def _arm() -> str:
    """The arm with a torch whose neck is bent by 35 degrees."""
    bend_x, bend_z = 0.8191520, -0.5735764

    def along_neck(length_m: float) -> str:
        return _row(0.25 + length_m * bend_x, 0.0, length_m * bend_z)

    return _ARM.format(
        neck_end=along_neck(0.10),
        nozzle=along_neck(0.125),
        contact_tip=along_neck(0.158),
        wire_end=along_neck(0.176),
        tip=along_neck(0.178),
    )


def _jig(name: str, x_m: float, yaw_deg: float) -> str:
    clamps = "".join(
        _CLAMP.format(x=x, y=y, arm_x=x + reach, tilt=tilt)
        for x, y, reach, tilt in (
            (-0.098, -0.062, 0.026, 14),
            (-0.098, 0.062, 0.026, 14),
            (0.098, -0.050, -0.026, -10),
            (0.098, 0.050, -0.026, -10),
        )
    )
    return _JIG.format(name=name, x=x_m, yaw=yaw_deg, clamps=clamps)


def _curtain() -> str:
    """Strips of a welding curtain behind the table, each turned a little."""
    return "".join(
        f"<geom type='box' size='.10 .006 .78' pos='{_row(0.95 + 0.19 * k, 1.9, 0.95)}'"
        f" euler='0 0 {(-1) ** k * 14}' material='curtain'/>"
        for k in range(8)
    )


def cell_xml() -> str:
    """Return the whole cell as MJCF. Lengths in metres, masses in kilograms."""
    jigs = _jig(JIGS[0], -JIG_RADIUS_M, 0) + _jig(JIGS[1], JIG_RADIUS_M, 180)
    table_x, _, table_z = TABLE_CENTRE_M
    return f"""<mujoco model="welding-single">
    <compiler angle="degree"/>
    <option timestep="0.002"/>
    <visual>
      <global offwidth="256" offheight="256"/>
      <quality shadowsize="768" offsamples="0" numquads="2" numslices="22" numstacks="6"/>
      <headlight ambient=".24 .24 .25" diffuse=".12 .12 .12" specular="0 0 0"/>
      <map znear=".05" zfar="12" shadowclip="1.4" shadowscale=".9"/>
    </visual>
    {_DEFAULTS}{_ASSETS}
    <worldbody>
      {_SURROUNDINGS.format(curtain=_curtain(), table_x=table_x)}
      {_arm()}
      {_TABLE.format(table_x=table_x, table_z=table_z, jigs=jigs)}
    </worldbody>
    </mujoco>"""


def load_cell() -> Any:
    """Compile the cell into a ``mujoco.MjModel``."""
    import mujoco

    return mujoco.MjModel.from_xml_string(cell_xml())
