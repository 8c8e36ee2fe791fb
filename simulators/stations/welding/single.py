"""The station `welding-single`: one arm before an indexing table."""

from simulators.stations.camera import CameraPlace
from simulators.stations.welding.arm import Arm
from simulators.stations.welding.cell import Cell
from simulators.stations.welding.program import draw_cycles
from simulators.stations.welding.turntable import Turntable, turntable_xml

SINGLE = Cell(
    name="welding-single",
    arms=(Arm(),),
    fixture_xml=turntable_xml,
    fixture=Turntable,
    draw_programs=lambda random, seconds, unfamiliar: [draw_cycles(random, seconds, unfamiliar)],
    camera=CameraPlace(at_m=(0.62, -0.98, 1.40), target_m=(1.035, 0.0, 0.935)),
    fovy_deg=33.0,
)
