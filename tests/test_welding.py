"""The welding cells: what their arms do, where their parts lie, and where their arcs are."""

from itertools import pairwise, product
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from simulators.stations.welding.cell import Cell, Programs
from simulators.stations.welding.coordination import draw_programs, seams_of
from simulators.stations.welding.dual import DUAL
from simulators.stations.welding.path import move
from simulators.stations.welding.program import (
    PART_SHIFT_M,
    PART_TURN_RAD,
    SEAM_LENGTH_M,
    WEAVE_AMPLITUDE_M,
    Cycle,
    Part,
    draw_cycles,
    seam_points,
)
from simulators.stations.welding.single import SINGLE
from stream.messages import Floats
from tests.simulated import (
    SECONDS,
    columns,
    loaded,
    motion_of,
    pixels,
    programs_of,
    readings,
    recorded,
    seconds_of,
    tips,
)

every_cell = pytest.mark.parametrize("cell", [SINGLE, DUAL], ids=lambda cell: cell.name)


def burns(cycles: list[Cycle], time_s: float, margin_s: float = 0.0) -> bool:
    return any(c.arc_s[0] + margin_s <= time_s < c.arc_s[1] - margin_s for c in cycles)


def inside(cycles: list[Cycle]) -> Cycle:
    """A cycle whose weld lies in the recorded seconds."""
    return next(c for c in cycles if c.stage_s("weld")[0] > 0 and c.stage_s("weld")[1] < SECONDS)


@every_cell
def test_each_tip_follows_its_seam_with_its_weave_while_its_arc_burns(cell: Cell) -> None:
    for at, cycles in enumerate(programs_of(cell)):
        cycle = inside(cycles)
        begin, end = seam_points(cycle.part)
        along = (end - begin) / SEAM_LENGTH_M
        from_begin = tips(cell, np.arange(*cycle.stage_s("weld"), 0.02))[at] - begin
        places = from_begin @ along
        offsets = np.linalg.norm(from_begin - places[:, None] * along, axis=1)
        assert offsets.max() == pytest.approx(WEAVE_AMPLITUDE_M, rel=0.1)
        assert places[0] == pytest.approx(0.0, abs=1e-3)
        assert places[-1] == pytest.approx(SEAM_LENGTH_M, abs=1e-3)
        assert (np.diff(places) > -1e-5).all()


BEADS = {
    SINGLE.name: [("jig_a", "jig_b")],
    DUAL.name: [("place_a_left", "place_b_left"), ("place_a_right", "place_b_right")],
}


@every_cell
def test_the_bead_grows_under_the_wire_on_the_part_that_faces_the_arm(cell: Cell) -> None:
    programs, motion, model = programs_of(cell), motion_of(cell), loaded(cell)

    import mujoco

    fixture, data = cell.fixture(programs), mujoco.MjData(model)
    for arm, cycles, beads in zip(cell.arms, programs, BEADS[cell.name], strict=True):
        cycle = inside(cycles)
        for time_s in np.linspace(*cycle.stage_s("weld"), 12)[1:-1]:
            now_s = np.array([time_s])
            data.qpos[:] = [*motion.at(now_s, motion.positions)[0], *fixture.joint(now_s)]
            fixture.lay(model, time_s)
            mujoco.mj_kinematics(model, data)
            bead = beads[cycle.number % 2]
            apart_m = bead_end(model, data, bead) - data.site(arm.tip).xpos
            assert np.hypot(*apart_m[:2]) < 1.1 * WEAVE_AMPLITUDE_M
            assert -0.010 < apart_m[2] < -0.005


def bead_end(model: Any, data: Any, name: str) -> Floats:
    geom = model.geom(f"{name}_bead").id
    body = model.geom_bodyid[geom]
    end = model.geom_pos[geom] + (0.0, model.geom_size[geom, 1], 0.0)
    result: Floats = data.xpos[body] + data.xmat[body].reshape(3, 3) @ end
    return result


def test_part_poses_and_speeds_vary_as_promised() -> None:
    drawn = draw_cycles(default_rng(0), 1500.0)
    shifts = np.array([cycle.part.shift_m for cycle in drawn])
    turns = np.rad2deg([cycle.part.turn_rad for cycle in drawn])
    lasting = np.array([cycle.starts_s[-1] - cycle.starts_s[0] for cycle in drawn])
    assert 0.023 < np.abs(shifts).max() <= 0.025
    assert 7.5 < np.abs(turns).max() <= 8.0
    assert 7.0 < lasting.mean() < 8.0
    assert 1.2 < lasting.max() / lasting.min() < 1.36


def test_unfamiliar_parts_lie_beyond_every_usual_one() -> None:
    for cycle in draw_cycles(default_rng(0), 300.0, unfamiliar=True):
        shifts = np.abs(cycle.part.shift_m) / PART_SHIFT_M
        turn = np.abs(cycle.part.turn_rad) / PART_TURN_RAD
        assert min(*shifts, turn) >= 1.0
        assert max(*shifts, turn) <= 1.3


@every_cell
def test_arms_reach_unfamiliar_parts_as_well(cell: Cell) -> None:
    programs = cell.draw_programs(default_rng(2), 25.0, True)
    motion = move(loaded(cell), cell.arms, programs, 25.0, default_rng(0))
    assert np.isfinite(motion.torques).all()
    assert np.abs(motion.velocities).max() < np.deg2rad(175)  # the slowest joint of an IRB 2600


def test_the_table_stands_still_under_the_arc_and_faces_the_robot() -> None:
    programs = programs_of(SINGLE)
    for cycle in programs[0]:
        angles = SINGLE.fixture(programs).joint(np.linspace(*cycle.arc_s, 20))
        assert angles == pytest.approx(np.full(20, cycle.number * np.pi), abs=1e-9)


def test_the_shuttle_moves_only_while_both_arms_are_away() -> None:
    programs = draw_programs(default_rng(0), 60.0)
    times_s = np.arange(0.0, 60.0, 0.01)
    speeds = np.gradient(DUAL.fixture(programs).joint(times_s), times_s)
    busy = np.zeros(len(times_s), bool)
    for cycle in (*programs[0], *programs[1]):
        begin_s, end_s = cycle.stage_s("descend")[0], cycle.stage_s("retract")[1]
        busy |= (times_s > begin_s) & (times_s < end_s)
    assert np.abs(speeds[busy]).max() < 1e-9
    assert 0.3 < np.abs(speeds).max() < 1.5


def test_the_two_seams_of_a_part_are_parallel_and_meet_both_arms_alike() -> None:
    straight = seams_of(Part(shift_m=(0.01, -0.02), turn_rad=0.0))
    assert [seam.shift_m for seam in straight] == [(0.01, -0.02), (-0.01, 0.02)]
    left, right = (seam_points(seam) for seam in seams_of(Part(shift_m=(0, 0), turn_rad=0.1)))
    assert left == pytest.approx(np.array(right))
    turned = np.array([2.4, 0.0, 0.0]) + np.array([-1, -1, 1]) * right[0]
    width = np.linalg.norm(np.cross(turned - left[0], (left[1] - left[0]) / SEAM_LENGTH_M))
    assert width == pytest.approx(0.2)


def test_both_arcs_mostly_burn_together_but_not_always() -> None:
    left, right = draw_programs(default_rng(0), 1500.0)
    pairs = list(zip(left, right, strict=True))
    together = np.array(
        [min(a.arc_s[1], b.arc_s[1]) - max(a.arc_s[0], b.arc_s[0]) for a, b in pairs]
    )
    assert 0.06 < (together <= 0).mean() < 0.2
    assert np.median(together) > 2.5
    for a, b in pairwise(pairs):
        assert max(c.starts_s[-1] for c in a) <= min(c.starts_s[0] for c in b) + 1e-9


def test_the_two_arms_keep_more_than_a_hand_between_them() -> None:
    model, motion = loaded(DUAL), motion_of(DUAL)

    import mujoco

    data = mujoco.MjData(model)
    joints = motion.positions.shape[1]
    left, right = (outer_geoms(model, arm.prefix) for arm in DUAL.arms)
    nearest_m = 1.0
    for angles in motion.at(np.arange(0.0, SECONDS, 0.1), motion.positions):
        data.qpos[:joints] = angles
        mujoco.mj_kinematics(model, data)
        for a, b in product(left, right):
            nearest_m = min(nearest_m, mujoco.mj_geomDistance(model, data, a, b, 1.0, None))
    assert 0.12 < nearest_m < 0.5


def outer_geoms(model: Any, prefix: str) -> list[int]:
    bodies = {model.body(f"{prefix}link_{n}").id for n in (4, 5, 6)}
    return [geom for geom in range(model.ngeom) if model.geom_bodyid[geom] in bodies]


def test_two_arms_have_three_times_twelve_channels_the_left_ones_first() -> None:
    arms = DUAL.modalities["kinematics"]
    assert len(arms.names) == 36
    assert arms.names[:2] == ("position_1", "position_2")
    assert arms.names[12] == "velocity_1"
    measured, clean = columns(readings(recorded(DUAL.name), "kinematics"))
    assert np.isfinite(measured).all()
    assert np.isfinite(clean).all()
    assert np.abs(clean[:, :6] - clean[:, 6:12]).max() > 0.1  # no arm mirrors the other


@every_cell
def test_friction_draws_differ_by_five_percent_at_most_and_show_in_the_torques(cell: Cell) -> None:
    motion = motion_of(cell)
    other = move(loaded(cell), cell.arms, programs_of(cell), SECONDS, default_rng(1))
    apart = np.abs(other.torques - motion.torques).max(axis=0)
    assert (other.positions == motion.positions).all()
    assert (apart > 0.005).all()
    assert (apart < 0.1 * (31 + 12 * np.abs(motion.velocities).max(axis=0))).all()


@every_cell
def test_an_arc_is_the_brightest_place_while_it_burns_and_never_whites_out_the_picture(
    cell: Cell,
) -> None:
    programs = programs_of(cell)
    lit, dark = [], []
    frames = readings(recorded(cell.name), "camera")
    for frame, time_s in zip(frames, seconds_of(frames), strict=True):
        picture = pixels(frame)
        assert (picture.min(axis=2) > 250).mean() < 0.02
        brightest = cv2.blur(picture.min(axis=2), (5, 5)).max()
        if any(burns(cycles, time_s) for cycles in programs):
            lit.append(brightest)
        elif not any(burns(cycles, time_s, margin_s=-0.05) for cycles in programs):
            dark.append(brightest)
    assert np.quantile(lit, 0.1) > max(dark)
    assert min(len(lit), len(dark)) > 20


def test_an_arc_that_burns_alone_is_on_its_arms_side_of_the_picture() -> None:
    programs = programs_of(DUAL)
    frames = readings(recorded(DUAL.name), "camera")
    alone = list(lonely(programs, seconds_of(frames)))
    assert {at for _, at in alone} == {0, 1}
    for row, at in alone:
        bright = cv2.blur(pixels(frames[row]).min(axis=2), (5, 5))
        column = np.unravel_index(bright.argmax(), bright.shape)[1]
        assert column < 118 if at == 0 else column > 138


def lonely(programs: Programs, times_s: Floats) -> list[tuple[int, int]]:
    """Frames in which one arc burns, and which."""
    return [
        (row, at)
        for row, time_s in enumerate(times_s)
        for at in (0, 1)
        if burns(programs[at], time_s, 0.1) and not burns(programs[1 - at], time_s, -0.1)
    ]
