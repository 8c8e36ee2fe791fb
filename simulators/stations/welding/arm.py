"""The arm of the welding cells: an ABB IRB 2600-20/1.65 with a torch whose neck is bent.

The joint distances are those of its product specification, in mm: shoulder 150 out and 445 up,
upper arm 700, elbow offset 115, forearm 795, wrist to flange 85. Masses, rotor inertias and all
shapes are our own estimates; with the base the links come to about the 272 kg given there.
"""

from dataclasses import dataclass

import numpy as np

from stream.messages import Floats

JOINTS = 6

_ARM = """
<geom type="cylinder" size=".27 .10" pos="{x} {y} .10" material="dark"/>
<body name="{prefix}link_1" pos="{x} {y} .2" euler="0 0 {yaw}">
  <joint name="{prefix}joint_1" axis="0 0 1" armature="9"/>
  <geom class="paint" type="cylinder" size=".19 .11" pos="0 0 .21" mass="40"/>
  <geom class="paint" type="box" size=".15 .13 .12" pos=".05 0 .40" mass="34"/>
  <geom class="dark" type="cylinder" size=".085 .17" pos=".15 0 .445" euler="90 0 0" mass="12"/>
  <body name="{prefix}link_2" pos=".15 0 .445">
    <joint name="{prefix}joint_2" axis="0 1 0" armature="9"/>
    <geom class="paint" type="capsule" size=".085" fromto="0 -.10 0 0 -.10 .70" mass="34"/>
    <geom class="paint" type="box" size=".055 .03 .30" pos="0 -.17 .35" mass="6"/>
    <geom class="dark" type="cylinder" size=".09 .04" pos="0 -.2 .70" euler="90 0 0" mass="4"/>
    <body name="{prefix}link_3" pos="0 0 .70">
      <joint name="{prefix}joint_3" axis="0 1 0" armature="6"/>
      <geom class="paint" type="box" size=".13 .10 .11" pos="-.02 .02 .08" mass="30"/>
      <geom class="dark" type="cylinder" size=".07 .09" pos="-.2 .02 .115"
            euler="0 90 0" mass="9"/>
      <geom class="paint" type="cylinder" size=".085 .13" pos=".22 0 .115"
            euler="0 90 0" mass="11"/>
      <body name="{prefix}link_4" pos="0 0 .115">
        <joint name="{prefix}joint_4" axis="1 0 0" armature="1.2"/>
        <geom class="paint" type="capsule" size=".062" fromto=".36 0 0 .70 0 0" mass="15"/>
        <geom class="dark" type="box" size=".09 .025 .05" pos=".745 -.07 0" mass="2.5"/>
        <geom class="dark" type="box" size=".09 .025 .05" pos=".745 .07 0" mass="2.5"/>
        <geom class="feeder" type="box" size=".12 .075 .06" pos=".42 0 .15" mass="8"/>
        <body name="{prefix}link_5" pos=".795 0 0">
          <joint name="{prefix}joint_5" axis="0 1 0" armature="1.0"/>
          <geom class="paint" type="cylinder" size=".05 .05" euler="90 0 0" mass="4"/>
          <body name="{prefix}link_6">
            <joint name="{prefix}joint_6" axis="1 0 0" armature=".5"/>
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
            <site name="{prefix}tip" pos="{tip}" euler="0 125 0"/>
          </body>
        </body>
      </body>
    </body>
  </body>
</body>
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm of a cell: what its names in the model begin with, and where it stands."""

    prefix: str = ""
    at_m: tuple[float, float] = (0.0, 0.0)
    yaw_deg: float = 0.0

    @property
    def tip(self) -> str:
        """The site at the wire's tip."""
        return f"{self.prefix}tip"

    @property
    def arc(self) -> str:
        """The light of its arc."""
        return f"{self.prefix}arc"

    def xml(self) -> str:
        """The arm with its torch, bent by 35 degrees, as MJCF."""
        bend_x, bend_z = 0.8191520, -0.5735764

        def along_neck(length_m: float) -> str:
            return row(0.25 + length_m * bend_x, 0.0, length_m * bend_z)

        return _ARM.format(
            prefix=self.prefix,
            x=self.at_m[0],
            y=self.at_m[1],
            yaw=self.yaw_deg,
            neck_end=along_neck(0.10),
            nozzle=along_neck(0.125),
            contact_tip=along_neck(0.158),
            wire_end=along_neck(0.176),
            tip=along_neck(0.178),
        )

    def in_world(self, positions: Floats, rotations: Floats) -> tuple[Floats, Floats]:
        """Positions (n, 3) and rotations (n, 3, 3) of the arm's own frame, in the world's."""
        cos, sin = np.cos(np.deg2rad(self.yaw_deg)), np.sin(np.deg2rad(self.yaw_deg))
        turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
        return positions @ turn.T + (*self.at_m, 0.0), turn @ rotations


def row(*numbers: float) -> str:
    """Numbers as an attribute of MJCF."""
    return " ".join(f"{number:.5f}" for number in numbers)
