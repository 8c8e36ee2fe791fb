"""The optional modality ``process`` of the welding cells."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import default_rng

from simulators.recordings.recording import Record
from simulators.stations.simulate import Request, plan_trajectories
from simulators.stations.station import STATIONS
from simulators.stations.welding.arc import ArcLight, draw_light
from simulators.stations.welding.cell import Cell
from simulators.stations.welding.dual import DUAL
from simulators.stations.welding.process import CURRENT_A, sense_process
from simulators.stations.welding.program import Cycle, draw_cycles
from simulators.stations.welding.single import SINGLE
from stream.messages import Floats, Frame
from tests.simulated import columns, programs_of, readings, recorded, seconds_of, trajectory

SECONDS = 60.0
FRAMES_S = np.arange(0.0, SECONDS, 1 / 15)
SAMPLES_S = np.arange(0.05, SECONDS - 0.5, 0.1)
every_cell = pytest.mark.parametrize("cell", [SINGLE, DUAL], ids=lambda cell: cell.name)


@pytest.fixture(scope="module")
def light() -> ArcLight:
    return draw_light(default_rng(1), draw_cycles(default_rng(0), SECONDS), FRAMES_S)


def sensed(light: ArcLight, seed: int = 0) -> Floats:
    return sense_process([light], SECONDS, default_rng(seed))(SAMPLES_S)


def during(cycles: list[Cycle], times_s: Floats, begin_s: float, end_s: float) -> Floats:
    """Which times lie in a cycle's arc, begun ``begin_s`` ago or more and ``end_s`` to go."""
    return np.any(
        [(times_s > c.arc_s[0] + begin_s) & (times_s < c.arc_s[1] - end_s) for c in cycles], axis=0
    )


@every_cell
def test_levels_are_those_of_a_weld_while_an_arc_burns_and_nothing_between_welds(
    cell: Cell,
) -> None:
    records = readings(recorded(cell.name), "process")
    measured, _ = columns(records)
    count = len(cell.arms)
    assert measured.shape[1] == 3 * count == len(cell.modalities["process"].names)
    for at, cycles in enumerate(programs_of(cell)):
        voltage, current, wire = (measured[:, at + count * what] for what in range(3))
        welding = during(cycles, seconds_of(records), 0.5, 0.4)
        off = ~during(cycles, seconds_of(records), -0.7, -0.4)
        assert min(welding.sum(), off.sum()) > 15
        assert 19 < voltage[welding].mean() < 22
        assert 100 < current[welding].mean() < 160
        assert 3.4 < wire[welding].mean() < 5.2
        assert np.abs(voltage[off]).max() < 0.3
        assert np.abs(current[off]).max() < 5
        assert np.abs(wire[off]).max() < 0.4


def test_a_weld_begins_with_the_open_circuit_and_ends_with_a_lower_current(light: ArcLight) -> None:
    fine_s = np.arange(0.0, SECONDS - 0.5, 0.01)
    values = sense_process([light], SECONDS, default_rng(0))(fine_s)
    craters = []
    for cycle in light.cycles:
        begin_s, end_s = cycle.arc_s
        if begin_s < 1 or end_s > SECONDS - 1:
            continue
        level = values[(fine_s > begin_s + 0.8) & (fine_s < end_s - 0.5)].mean(axis=0)
        before = values[(fine_s > begin_s - 0.1) & (fine_s < begin_s - 0.02)].mean(axis=0)
        struck = values[(fine_s > begin_s + 0.05) & (fine_s < begin_s + 0.15)].mean(axis=0)
        crater = values[(fine_s > end_s - 0.11) & (fine_s < end_s - 0.07)].mean(axis=0)
        craters.append(crater / level)
        assert before == pytest.approx([40.2, 2.5, 1.0], rel=0.1)
        assert struck[0] > level[0] + 3
        burning_s = fine_s[(np.abs(fine_s - (begin_s + end_s) / 2) < 3) & (values[:, 1] > 65)]
        assert burning_s[0] == pytest.approx(begin_s, abs=0.06)
        assert burning_s[-1] == pytest.approx(end_s, abs=0.12)
    assert len(craters) > 5
    assert np.mean(craters, axis=0)[1] < 0.93


def test_samples_scatter_like_those_of_a_real_weld(light: ArcLight) -> None:
    values = sensed(light)
    scatter = []
    for cycle in light.cycles:
        of_this = values[during([cycle], SAMPLES_S, 0.6, 0.3)]
        scatter.append(of_this - of_this.mean(axis=0))
    apart = np.vstack(scatter)
    assert 0.18 < apart[:, 0].std() < 0.4  # 0.18 to 0.40 V in eight of the nine real welds
    assert 3.1 < apart[:, 1].std() < 10.0
    assert -0.81 < np.corrcoef(apart[:, 0], apart[:, 1])[0, 1] < -0.1


def test_a_short_circuit_that_dims_the_picture_lowers_the_voltage(light: ArcLight) -> None:
    steady = replace(light, brightness=np.ones_like(light.brightness))
    apart = sensed(light) - sensed(steady)
    dimmed = np.interp(SAMPLES_S, FRAMES_S, light.brightness < 0.5) > 0.5
    welding = during(list(light.cycles), SAMPLES_S, 0.3, 0.4)
    assert apart[welding & dimmed, 0].mean() < -0.2
    assert apart[welding & dimmed, 1].mean() > 4
    assert np.abs(apart[~during(list(light.cycles), SAMPLES_S, 0.0, -0.3)]).max() < 1e-3


def test_current_and_wire_follow_the_welding_speed_from_cycle_to_cycle(light: ArcLight) -> None:
    values = sensed(light)
    welds = [
        (cycle.speed, *values[welding].mean(axis=0))
        for cycle in light.cycles
        if (welding := during([cycle], SAMPLES_S, 0.6, 0.3)).sum() > 15
    ]
    speeds, _, currents, wires = np.array(welds).T
    assert np.corrcoef(speeds, wires)[0, 1] > 0.95
    assert np.corrcoef(speeds, currents)[0, 1] > 0.5
    assert abs(currents.mean() / CURRENT_A - 1) < 0.1


def test_contact_tips_wear_differently_from_trajectory_to_trajectory(light: ArcLight) -> None:
    welding = during(list(light.cycles), SAMPLES_S, 0.6, 0.3)
    voltages = [sensed(light, seed)[welding, 0].mean() for seed in range(12)]
    assert 0.4 < max(voltages) - min(voltages) < 1.3


def test_process_is_recorded_when_asked_for_and_leaves_the_other_sensors_alone() -> None:
    def readings_of(modalities: tuple[str, ...]) -> dict[str, list[bytes]]:
        found: dict[str, list[bytes]] = {}
        for record in SINGLE.simulate_trajectory(trajectory(5, 0, 0.8, modalities)):
            found.setdefault(record.reading.modality, []).append(data_of(record))
        return found

    without = readings_of(("camera", "kinematics"))
    with_process = readings_of(("camera", "kinematics", "process"))
    assert len(with_process.pop("process")) in (7, 8)
    assert with_process == without


def data_of(record: Record) -> bytes:
    if isinstance(record.reading, Frame):
        return record.reading.data
    return record.reading.times_ns.tobytes() + record.reading.values.tobytes()


@pytest.mark.parametrize("name", ["welding-single", "welding-dual"])
def test_a_plan_holds_process_only_when_it_was_asked_for(name: str) -> None:
    def planned(extra: set[str]) -> tuple[str, ...]:
        request = Request(seconds=60.0, seed=0, extra=frozenset(extra))
        return plan_trajectories(STATIONS[name], request)[0].modalities

    assert planned(set()) == ("camera", "kinematics")
    assert planned({"process"}) == ("camera", "kinematics", "process")
