"""The model of the arm: the kinematics, masses and limits of a UR5, in shapes of our own.

Sources, all of Universal Robots: Denavit-Hartenberg parameters of the UR5 series 3 from the manual
for CB3, table B.4; masses and centres of mass from the article "DH parameters for calculations of
kinematics and dynamics"; peak torques from "Max. joint torques"; 180 deg/s for every joint from the
technical specification. The inertia tensors are those of solid cylinders of each link's size; rotor
inertias, the gripper and all shapes are our own estimates.

The body ``link_n`` is the frame n − 1 turned by the joint's angle, so that its joint turns about
z; the frame n lies (a, 0, d) from it and is turned by α about x.
"""

import math
from dataclasses import dataclass

JOINTS = 6
SPEED_LIMIT_RAD_PER_S = math.pi
PEAK_TORQUE_NM = (150.0, 150.0, 150.0, 28.0, 28.0, 28.0)
GRIPPER_MASS_KG = 0.85
GRIPPER_CENTRE_M = 0.055  # of its mass, beyond the flange
TIP_M = 0.150  # between the fingers, beyond the flange


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One row of the tables: frame n against n − 1, mass, its centre in the frame n.

    ``axis`` (0 to 2), ``radius_m`` and ``length_m`` are those of the cylinder for its inertia.
    """

    a_m: float
    d_m: float
    alpha_rad: float
    mass_kg: float
    centre_m: tuple[float, float, float]
    axis: int
    radius_m: float
    length_m: float
    rotor_kg_m2: float


LINKS = (
    Link(
        a_m=0.0,
        d_m=0.089159,
        alpha_rad=math.pi / 2,
        mass_kg=3.7,
        centre_m=(0.0, -0.02561, 0.00193),
        axis=1,
        radius_m=0.06,
        length_m=0.15,
        rotor_kg_m2=0.8,
    ),
    Link(
        a_m=-0.425,
        d_m=0.0,
        alpha_rad=0.0,
        mass_kg=8.393,
        centre_m=(0.2125, 0.0, 0.11336),
        axis=0,
        radius_m=0.06,
        length_m=0.53,
        rotor_kg_m2=0.8,
    ),
    Link(
        a_m=-0.39225,
        d_m=0.0,
        alpha_rad=0.0,
        mass_kg=2.275,
        centre_m=(0.11993, 0.0, 0.0265),
        axis=0,
        radius_m=0.045,
        length_m=0.46,
        rotor_kg_m2=0.8,
    ),
    Link(
        a_m=0.0,
        d_m=0.10915,
        alpha_rad=math.pi / 2,
        mass_kg=1.219,
        centre_m=(0.0, -0.0018, 0.01634),
        axis=1,
        radius_m=0.04,
        length_m=0.11,
        rotor_kg_m2=0.12,
    ),
    Link(
        a_m=0.0,
        d_m=0.09465,
        alpha_rad=-math.pi / 2,
        mass_kg=1.219,
        centre_m=(0.0, 0.0018, 0.01634),
        axis=1,
        radius_m=0.04,
        length_m=0.11,
        rotor_kg_m2=0.12,
    ),
    Link(
        a_m=0.0,
        d_m=0.0823,
        alpha_rad=0.0,
        mass_kg=0.1879,
        centre_m=(0.0, 0.0, -0.001159),
        axis=2,
        radius_m=0.035,
        length_m=0.04,
        rotor_kg_m2=0.12,
    ),
)

# Upper arm and forearm run beside the joints' plane, as far out as their centres of mass say.
_UPPER_Z_M, _FORE_Z_M = 0.136, 0.016

_SHAPES = (
    """
    <geom class="shell" size=".060" fromto="0 0 .022 0 0 .10"/>
    <geom class="shell" size=".058" fromto="0 .052 .089 0 -.074 .089"/>
    <geom class="cap" size=".056" fromto="0 .052 .089 0 .064 .089"/>
    <geom class="band" size=".0605" fromto="0 0 .018 0 0 .030"/>
    """,
    f"""
    <geom class="band" size=".0585" fromto="0 0 .074 0 0 .082"/>
    <geom class="shell" size=".060" fromto="0 0 .082 0 0 .188"/>
    <geom class="cap" size=".057" fromto="0 0 .188 0 0 .199"/>
    <geom class="tube" size=".045" fromto="-.05 0 {_UPPER_Z_M} -.375 0 {_UPPER_Z_M}"/>
    <geom class="shell" size=".054" fromto="-.425 0 .080 -.425 0 .182"/>
    <geom class="cap" size=".051" fromto="-.425 0 .182 -.425 0 .193"/>
    """,
    f"""
    <geom class="band" size=".0515" fromto="0 0 .068 0 0 .080"/>
    <geom class="shell" size=".050" fromto="0 0 -.032 0 0 .068"/>
    <geom class="cap" size=".047" fromto="0 0 -.042 0 0 -.032"/>
    <geom class="tube" size=".036" fromto="-.05 0 {_FORE_Z_M} -.345 0 {_FORE_Z_M}"/>
    <geom class="shell" size=".039" fromto="-.39225 0 -.030 -.39225 0 .058"/>
    <geom class="cap" size=".036" fromto="-.39225 0 -.040 -.39225 0 -.030"/>
    """,
    """
    <geom class="band" size=".0385" fromto="0 0 .058 0 0 .068"/>
    <geom class="shell" size=".038" fromto="0 0 .068 0 0 .118"/>
    <geom class="shell" size=".038" fromto="0 .046 .10915 0 -.046 .10915"/>
    <geom class="cap" size=".035" fromto="0 .046 .10915 0 .056 .10915"/>
    """,
    """
    <geom class="band" size=".0385" fromto="0 0 .046 0 0 .054"/>
    <geom class="shell" size=".038" fromto="0 0 .054 0 0 .104"/>
    <geom class="shell" size=".038" fromto="0 -.046 .09465 0 .044 .09465"/>
    <geom class="cap" size=".035" fromto="0 -.056 .09465 0 -.046 .09465"/>
    """,
    """
    <geom class="band" size=".0385" fromto="0 0 .044 0 0 .052"/>
    <geom class="flange" size=".033" fromto="0 0 .052 0 0 .0823"/>
    """,
)

_GRIPPER = f"""
<body name="gripper" pos="0 0 {LINKS[-1].d_m}">
  <inertial pos="0 0 {GRIPPER_CENTRE_M}" mass="{GRIPPER_MASS_KG}"
            diaginertia=".0016 .0016 .0006"/>
  <geom class="band" size=".036" fromto="0 0 0 0 0 .012"/>
  <geom class="solid" type="box" material="gripper" size=".040 .026 .033" pos="0 0 .045"/>
  <geom class="solid" type="box" material="gripper" size=".056 .016 .012" pos="0 0 .086"/>
  <geom class="solid" type="box" material="finger" size=".006 .011 .030" pos=".042 0 .124"/>
  <geom class="solid" type="box" material="finger" size=".006 .011 .030" pos="-.042 0 .124"/>
  <geom class="seen" type="box" material="pad" size=".003 .010 .012" pos=".034 0 .140"/>
  <geom class="seen" type="box" material="pad" size=".003 .010 .012" pos="-.034 0 .140"/>
  <site name="tip" pos="0 0 {TIP_M}"/>
</body>
"""


def arm_xml() -> str:
    """The arm as nested bodies of MJCF, to stand in a body that is its base frame."""
    inner = _GRIPPER
    for number in range(JOINTS, 0, -1):
        inner = _link_xml(number, inner)
    return inner


def _link_xml(number: int, inner: str) -> str:
    link = LINKS[number - 1]
    before = LINKS[number - 2] if number > 1 else None
    place = f'pos="{before.a_m} 0 {before.d_m}" {_turned(before.alpha_rad)}' if before else ""
    return f"""
    <body name="link_{number}" {place}>
      <joint name="joint_{number}" axis="0 0 1" armature="{link.rotor_kg_m2}"/>
      {_inertial_xml(link)}
      {_SHAPES[number - 1]}
      {inner}
    </body>"""


def _inertial_xml(link: Link) -> str:
    x, y, z = link.centre_m
    cos, sin = round(math.cos(link.alpha_rad)), round(math.sin(link.alpha_rad))
    centre = (link.a_m + x, cos * y - sin * z, link.d_m + sin * y + cos * z)
    across = link.mass_kg * (3 * link.radius_m**2 + link.length_m**2) / 12
    moments = [across] * 3
    moments[link.axis] = link.mass_kg * link.radius_m**2 / 2
    return (
        f'<inertial mass="{link.mass_kg}" pos="{_row(centre)}" {_turned(link.alpha_rad)} '
        f'diaginertia="{_row(moments)}"/>'
    )


def _turned(alpha_rad: float) -> str:
    """A turn about x as an attribute of MJCF."""
    return f'quat="{math.cos(alpha_rad / 2):.9f} {math.sin(alpha_rad / 2):.9f} 0 0"'


def _row(numbers: tuple[float, ...] | list[float]) -> str:
    return " ".join(f"{number:.8f}" for number in numbers)
