"""The station `welding-dual`: two arms face each other across a shuttle and weld one part."""

from simulators.stations.camera import CameraPlace
from simulators.stations.welding.arm import Arm
from simulators.stations.welding.cell import Cell
from simulators.stations.welding.coordination import FIXTURE_X_M, draw_programs
from simulators.stations.welding.shuttle import Shuttle, shuttle_xml

DUAL = Cell(
    name="welding-dual",
    arms=(
        Arm(prefix="left_"),
        Arm(prefix="right_", at_m=(2 * FIXTURE_X_M, 0.0), yaw_deg=180.0),
    ),
    fixture_xml=shuttle_xml,
    fixture=Shuttle,
    draw_programs=draw_programs,
    camera=CameraPlace(at_m=(1.00, -1.12, 1.48), target_m=(1.195, 0.03, 0.925)),
    fovy_deg=40.0,
)
