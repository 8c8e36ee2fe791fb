"""Alarms from scores, by the worker's own rules."""

import numpy as np

from model.alarm_figures import Raised
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


def test_it_is_raised_again_only_after_it_was_cleared() -> None:
    found = raised_alarms(0, ANCHORS_NS, {"arm": scores("xxx.xxx....x")}, RULES)
    assert [one.raised_s for one in found] == [5.2]
    found = raised_alarms(0, ANCHORS_NS, {"arm": scores("xxx....xxx..")}, RULES)
    assert [one.raised_s for one in found] == [5.2, 5.9]
