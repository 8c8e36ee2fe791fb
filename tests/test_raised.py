"""Alarms from scores, by the worker's own rules."""

import numpy as np

from model.alarm_figures import Injected, Observed, Raised, alarm_figures
from simulators.injected import FAULT_S, FIRST_S, GAP_S
from simulators.raised import raised_alarms
from stream.alarms import AlarmRule

RULES = {"default": AlarmRule(on_delay_ns=200_000_000, off_delay_ns=300_000_000)}
START_NS = 5_000_000_000
ANCHORS_NS = [START_NS + at * 100_000_000 for at in range(12)]


def scores(above: str) -> np.ndarray:
    return np.array([2.0 if one == "x" else 0.0 for one in above])


def test_an_alarm_is_raised_when_the_score_has_held_for_the_on_delay() -> None:
    held = {"camera": scores("..xxxx......"), "arm": scores("..x..x......")}
    found = raised_alarms(3, ANCHORS_NS, held, RULES)
    assert found == [Raised(episode=3, modality="camera", raised_s=5.4)]


def test_a_score_below_the_alarms_limit_raises_none() -> None:
    held = {"arm": scores("..xxxx......")}
    assert raised_alarms(0, ANCHORS_NS, held, RULES, limit=2.1) == []
    assert len(raised_alarms(0, ANCHORS_NS, held, RULES, limit=2.0)) == 1


def test_it_is_raised_again_only_after_it_was_cleared() -> None:
    found = raised_alarms(0, ANCHORS_NS, {"arm": scores("xxx.xxx....x")}, RULES)
    assert [one.raised_s for one in found] == [5.2]
    found = raised_alarms(0, ANCHORS_NS, {"arm": scores("xxx....xxx..")}, RULES)
    assert [one.raised_s for one in found] == [5.2, 5.9]


def test_faults_of_one_sensor_are_injected_far_enough_apart_to_be_found_each() -> None:
    onsets_s = [FIRST_S + at * (FAULT_S + GAP_S) for at in range(5)]
    faults = [
        Injected(
            episode=0,
            modality="arm",
            fault="arm.stuck",
            onset_s=onset_s,
            end_s=onset_s + FAULT_S,
            effect=20.0,
        )
        for onset_s in onsets_s
    ]
    anchors_ns = [round(at * 1e9 / 15) for at in range(15 * 18)]
    lasts_s = 0.25  # of the signal's memory: windows after the fault still see it
    hit = [
        any(0 <= anchor / 1e9 - onset_s < FAULT_S + lasts_s for onset_s in onsets_s)
        for anchor in anchors_ns
    ]
    rules = {"arm": AlarmRule()}
    found = alarm_figures(
        faults,
        raised_alarms(0, anchors_ns, {"arm": np.where(hit, 3.0, 0.0)}, rules),
        [Observed(episode=0, start_s=0.0, end_s=18.0)],
    )
    assert (found["found_strong"], found["of_strong"]) == (5, 5)
    assert found["false_alarms"] == 0
    assert found["delay_p95_s"] < 0.5
