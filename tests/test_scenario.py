"""Scenarios: what a file may say, and the plan that a seed makes of it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from simulators.recordings.recording import Modality
from simulators.scenario import CLEAN_S, Planned, Scenario, ScenarioError, plan
from stream.messages import Kind

CONFIGS = Path(__file__).parents[1] / "configs"
MODALITIES = {
    "camera": Modality(name="camera", kind=Kind.IMAGE, rate_hz=15),
    "kinematics": Modality(name="kinematics", kind=Kind.VECTOR, rate_hz=125),
}
CAMERA = ["occlusion", "blur", "frozen", "black"]
KINEMATICS = ["drift", "stuck", "noise"]


def scenario(**settings: Any) -> Scenario:
    return Scenario.model_validate({"kind": "scenario", **settings})


def drawn(count: int = 6, **settings: Any) -> dict[str, Any]:
    faults = {"camera": CAMERA, "kinematics": KINEMATICS}
    return {"count": count, "faults": faults, **settings}


def fixed(at_s: float, seconds: float = 2, **settings: Any) -> dict[str, Any]:
    wanted = {"modality": "camera", "fault": "blur", "severity": 0.5}
    return {"at_s": at_s, "seconds": seconds, **wanted, **settings}


def demo() -> Scenario:
    return Scenario.model_validate(yaml.safe_load((CONFIGS / "scenario-demo.yaml").read_text()))


def complaints(settings: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Scenario.model_validate(settings)
    return {".".join(map(str, one["loc"])): one["msg"] for one in caught.value.errors()}


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("scenario-*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_scenario_can_be_played_in_a_minute(path: Path) -> None:
    settings = yaml.safe_load(path.read_text())
    assert plan(Scenario.model_validate(settings), 0, 60, MODALITIES)


@pytest.mark.parametrize("seed", range(20))
def test_the_demo_plays_six_different_faults_of_both_modalities_in_turn(seed: int) -> None:
    planned = plan(demo(), seed, 60, MODALITIES)
    assert len({(one.modality, one.fault) for one in planned}) == 6
    assert all(one.modality != other.modality for one, other in pairwise(planned))
    assert all(0.3 <= one.severity <= 0.8 for one in planned)
    assert planned[0].at_s >= 6
    assert planned[-1].end_s <= 57


def test_over_seeds_the_demo_plays_every_fault_it_lists() -> None:
    played = {one.fault for seed in range(20) for one in plan(demo(), seed, 60, MODALITIES)}
    assert played == {*CAMERA, *KINEMATICS}


def test_the_same_seed_gives_the_same_plan_and_another_one_another() -> None:
    assert plan(demo(), 5, 60, MODALITIES) == plan(demo(), 5, 60, MODALITIES)
    assert plan(demo(), 5, 60, MODALITIES) != plan(demo(), 6, 60, MODALITIES)


@given(
    seed=st.integers(0, 2**63),
    count=st.integers(1, 15),
    duration_s=st.floats(5, 200),
    gap_s=st.tuples(st.floats(3, 6), st.floats(0, 5)),
    seconds=st.tuples(st.floats(0.5, 5), st.floats(0, 5)),
    fixed_at_s=st.lists(st.floats(0, 100), max_size=4),
)
def test_random_faults_leave_clean_time_to_every_other_fault_and_to_the_end(
    seed: int,
    count: int,
    duration_s: float,
    gap_s: tuple[float, float],
    seconds: tuple[float, float],
    fixed_at_s: list[float],
) -> None:
    settings = scenario(
        injections=[fixed(at_s, seconds=4, seed=9) for at_s in fixed_at_s],
        random=drawn(
            count,
            first_s=2.0,
            gap_s=[gap_s[0], sum(gap_s)],
            seconds=[seconds[0], sum(seconds)],
        ),
    )
    try:
        planned = plan(settings, seed, duration_s, MODALITIES)
    except ScenarioError:
        assume(False)
    placed = [one for one in planned if one.seed == 9 and one.at_s in fixed_at_s]
    random = [one for one in planned if one not in placed]
    assert len(random) == count
    for one in random:
        assert one.at_s >= 2.0
        assert one.end_s + CLEAN_S <= duration_s + 1e-6
        assert all(_apart_s(one, other) >= CLEAN_S - 1e-6 for other in planned if other != one)


def _apart_s(one: Planned, other: Planned) -> float:
    return max(one.at_s - other.end_s, other.at_s - one.end_s)


@given(seed=st.integers(0, 2**32), count=st.integers(1, 30))
def test_every_fault_comes_once_before_one_comes_again(seed: int, count: int) -> None:
    planned = plan(scenario(random=drawn(count)), seed, 1000, MODALITIES)
    kinds = [(one.modality, one.fault) for one in planned]
    for at in range(0, count, 7):
        assert len(set(kinds[at : at + 7])) == len(kinds[at : at + 7])


def test_drawn_lengths_and_gaps_shrink_until_they_fit() -> None:
    loose = drawn(6, first_s=3.0, gap_s=[3, 20], seconds=[2, 10])
    planned = plan(scenario(random=loose), 1, 40, MODALITIES)
    assert planned[-1].end_s <= 37
    assert len(planned) == 6


def test_a_longer_list_of_random_faults_leaves_the_fixed_ones_as_they_were() -> None:
    placed = [fixed(70), fixed(80, modality="kinematics", fault="drift")]
    alone = plan(scenario(injections=placed), 3, 100, MODALITIES)
    together = plan(scenario(injections=placed, random=drawn(2)), 3, 100, MODALITIES)
    assert [one for one in together if one.at_s >= 70] == alone
    assert alone[0].seed != alone[1].seed


def test_a_seed_of_its_own_holds_whatever_the_run_draws() -> None:
    placed = scenario(injections=[fixed(1, seed=12)])
    assert {plan(placed, seed, 10, MODALITIES)[0].seed for seed in range(3)} == {12}


def test_every_wrong_key_of_a_file_is_told_with_its_path() -> None:
    mistakes = complaints(
        {
            "kind": "scenario",
            "injections": [fixed(-1), fixed(1, fault="smudge"), fixed(1, severity=1.2)],
            "random": drawn(0, gap_s=[1, 2], seconds=[4, 3], sevrity=[0.1, 0.2]),
        }
    )
    assert set(mistakes) == {
        "injections.0.at_s",
        "injections.1.fault",
        "injections.2.severity",
        "random.count",
        "random.gap_s.0",
        "random.gap_s.1",
        "random.seconds",
        "random.sevrity",
    }
    assert "occlusion" in mistakes["injections.1.fault"]
    assert "[4.0, 3.0] falls" in mistakes["random.seconds"]


def test_an_empty_scenario_is_refused() -> None:
    assert "no fault in it" in complaints({"kind": "scenario"})[""]


def test_every_mistake_of_a_plan_is_told_at_once() -> None:
    wrong = scenario(
        injections=[fixed(9), fixed(1, modality="lidar"), fixed(1, fault="drift")],
        random={
            "count": 4,
            "gap_s": [3, 4],
            "seconds": [2, 3],
            "first_s": 1,
            "faults": {"kinematics": ["drift", "blur"], "radar": ["noise"]},
        },
    )
    with pytest.raises(ScenarioError) as caught:
        plan(wrong, 0, 10, MODALITIES)
    told = caught.value.mistakes
    assert [line.split(":")[0] for line in told] == [
        "injections.1.modality",
        "injections.2.fault",
        "random.faults.kinematics.1",
        "random.faults.radar",
        "injections.0",
        "random.count",
    ]
    assert "the recording has camera, kinematics" in told[0]
    assert "ends at 11 s, the replay at 10 s" in told[4]


def test_a_recording_that_is_too_short_is_told_how_many_faults_would_fit() -> None:
    short = scenario(random=drawn(6, first_s=6.0, gap_s=[4, 5], seconds=[3, 4]))
    with pytest.raises(ScenarioError, match=r"6 faults need 47 s at least, .* 30 s; 3 would fit"):
        plan(short, 0, 30, MODALITIES)
