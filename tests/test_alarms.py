import json
from collections.abc import Iterable, Mapping
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.alarms import (
    UPDATE_INTERVAL_NS,
    AlarmRule,
    Alarms,
    Change,
    Condition,
    Observation,
    Transition,
)
from stream.config import AlarmSettings
from stream.events import event_id, occurrence_id
from stream.specs import alarm_rules

MS = 1_000_000
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
STATION = "acme/plant/hall/line/cell"
STEP_MS = 50


def alarms(**rule: object) -> Alarms:
    return Alarms({"default": AlarmRule(**rule)})  # type: ignore[arg-type]


def seen(score: float, at_ms: float, epoch: int = 0, modality: str = "camera") -> Observation:
    return Observation(
        modality=modality,
        condition=Condition.SIGNAL,
        score=score,
        time_ns=START + round(at_ms * MS),
        epoch=epoch,
    )


def changes(stage: Alarms, observations: Iterable[Observation]) -> list[Change]:
    return [change for one in observations for change in stage.add(one)]


def told(found: Iterable[Change]) -> list[tuple[str, float]]:
    return [(str(one.transition), (one.time_ns - START) / MS) for one in found]


def series(scores: Iterable[float], first_ms: float = 0, epoch: int = 0) -> list[Observation]:
    return [seen(score, first_ms + at * STEP_MS, epoch) for at, score in enumerate(scores)]


def test_an_alarm_is_raised_once_its_condition_has_held_for_the_on_delay() -> None:
    found = changes(alarms(), series([0, 2, 2, 2, 2, 2, 2]))
    assert told(found) == [("raised", 250)]
    assert found[0].onset_ns == START + 50 * MS
    assert found[0].raised_ns == found[0].time_ns


def test_an_alarm_without_on_delay_is_raised_at_once() -> None:
    assert told(changes(alarms(on_delay_ns=0), series([0, 1]))) == [("raised", 50)]


def test_a_condition_shorter_than_the_on_delay_raises_nothing() -> None:
    assert changes(alarms(), series([2, 2, 2, 2, 0, 2, 2, 2, 2, 0] * 20)) == []


def test_an_alarm_is_cleared_once_it_has_been_quiet_for_the_off_delay() -> None:
    found = changes(alarms(), series([2] * 5 + [0] * 30))
    assert told(found) == [("raised", 200), ("cleared", 1250)]
    assert found[1].onset_ns == found[0].onset_ns


def test_a_condition_that_comes_back_within_the_off_delay_goes_on_as_the_same_alarm() -> None:
    found = changes(alarms(), series([2] * 5 + [0] * 19 + [2] + [0] * 30))
    assert told(found) == [("raised", 200), ("cleared", 2250)]


def test_between_the_thresholds_an_alarm_neither_comes_nor_goes() -> None:
    stage = alarms(on_threshold=2.0, off_threshold=1.0)
    assert changes(stage, series([1.5] * 20)) == []
    assert told(changes(stage, series([2.5] * 5, 1000))) == [("raised", 1200)]
    assert changes(stage, series([1.5] * 40, 1250)) == []
    assert told(changes(stage, series([0.9] * 25, 3250))) == [("cleared", 4250)]


def test_a_latched_alarm_stays_until_it_is_reset() -> None:
    stage = alarms(latched=True)
    assert told(changes(stage, series([2] * 5 + [0] * 100))) == [("raised", 200)]
    assert stage.active == [("camera", "signal")]
    found = stage.reset("camera", Condition.SIGNAL, START + 9 * SECOND, 0)
    assert told(found) == [("cleared", 9000)]
    assert stage.active == []
    assert stage.reset("camera", Condition.SIGNAL, START + 10 * SECOND, 0) == []


def test_a_reset_alarm_whose_condition_holds_is_raised_anew_as_another_occurrence() -> None:
    stage = alarms(latched=True)
    (first,) = changes(stage, series([2] * 5))
    (cleared,) = stage.reset("camera", Condition.SIGNAL, START + 250 * MS, 0)
    (second,) = changes(stage, series([2] * 5, 300))
    assert told([second]) == [("raised", 500)]
    assert occurrence_id(STATION, first) == occurrence_id(STATION, cleared)
    assert occurrence_id(STATION, first) != occurrence_id(STATION, second)


def test_resetting_what_was_never_raised_tells_nothing() -> None:
    stage = alarms()
    assert changes(stage, series([2, 2])) == []
    assert stage.reset("camera", Condition.SIGNAL, START, 0) == []
    assert stage.reset("nowhere", Condition.FROZEN, START, 0) == []


def test_a_change_of_the_severity_band_is_told_at_most_once_in_ten_seconds() -> None:
    stage = alarms(on_delay_ns=0)
    scores = [1.2, 5.0] * 300  # medium and high in turn, for 30 s
    found = changes(stage, series(scores))
    assert [one.transition for one in found] == [Transition.RAISED] + [Transition.UPDATED] * (
        len(found) - 1
    )
    gaps = [b.time_ns - a.time_ns for a, b in pairwise(found)]
    assert len(gaps) == 2
    assert min(gaps) >= UPDATE_INTERVAL_NS


def test_a_severity_that_stays_in_its_band_is_not_told_again() -> None:
    found = changes(alarms(on_delay_ns=0), series([1.1, 1.9] * 300))
    assert told(found) == [("raised", 0)]


def test_an_update_tells_the_severity_that_it_is_about() -> None:
    stage = alarms(on_delay_ns=0)
    raised, updated = changes(stage, [seen(1, 0), seen(9, 100), seen(9, 10_000)])
    assert (raised.severity, updated.severity) == (500, 900)
    assert updated.transition is Transition.UPDATED


def test_events_of_one_occurrence_share_its_id_and_have_ids_of_their_own() -> None:
    found = changes(alarms(on_delay_ns=0), series([1.0] * 2 + [9.0] * 201 + [0.0] * 21))
    assert [str(one.transition) for one in found] == ["raised", "updated", "cleared"]
    assert len({occurrence_id(STATION, one) for one in found}) == 1
    assert len({event_id(STATION, one.epoch, one) for one in found}) == 3


def test_two_runs_give_the_same_ids_and_two_stations_do_not() -> None:
    once, again = (changes(alarms(), series([2] * 5 + [0] * 21)) for _ in range(2))
    ids = [event_id(STATION, one.epoch, one) for one in once]
    assert ids == [event_id(STATION, one.epoch, one) for one in again]
    assert not set(ids) & {event_id("other/a/b/c/d", one.epoch, one) for one in once}


def test_a_pending_alarm_begins_again_in_a_new_epoch() -> None:
    stage = alarms(on_threshold=2.0, off_threshold=1.0)
    assert changes(stage, series([2.5] * 4)) == []
    assert changes(stage, series([1.5] * 10, 5000, epoch=1)) == []
    found = changes(stage, series([2.5] * 5, 6000, epoch=2))
    assert told(found) == [("raised", 6200)]
    assert found[0].onset_ns == START + 6000 * MS


def test_an_alarm_raised_before_a_rewind_is_cleared_after_it() -> None:
    stage = alarms()
    (raised,) = changes(stage, series([2] * 5, first_ms=3_600_000))
    found = changes(stage, series([0] * 30, epoch=1))
    assert told(found) == [("cleared", 1000)]
    assert found[0].epoch == 1
    assert occurrence_id(STATION, found[0]) == occurrence_id(STATION, raised)


def test_an_alarm_that_outlives_a_rewind_is_still_updated() -> None:
    stage = alarms(on_delay_ns=0)
    changes(stage, [seen(1, 3_600_000)])
    found = changes(stage, series([9] * 300, epoch=1))
    assert told(found) == [("updated", 10_000)]


def test_a_condition_that_held_before_and_after_a_gap_held_during_it() -> None:
    found = changes(alarms(), [seen(2, 0), seen(2, 1500), seen(0, 1550), seen(0, 3000)])
    assert told(found) == [("raised", 1500), ("cleared", 3000)]


def test_observations_of_one_modality_do_not_touch_another() -> None:
    stage = alarms(on_delay_ns=0)
    found = changes(stage, [seen(2, 0), seen(0, 0, modality="arm"), seen(2, 50, modality="arm")])
    assert [(one.modality, str(one.transition)) for one in found] == [
        ("camera", "raised"),
        ("arm", "raised"),
    ]


@pytest.mark.parametrize(("score", "severity"), [(float("inf"), 1000), (1e-300, 1), (0.0, 1)])
def test_a_severity_lies_between_1_and_1000_whatever_the_score(score: float, severity: int) -> None:
    assert seen(score, 0).severity == severity


def test_an_infinite_score_raises_the_highest_severity() -> None:
    (raised,) = changes(alarms(on_delay_ns=0), [seen(float("inf"), 0)])
    assert raised.severity == 1000


def test_a_score_that_is_not_a_number_neither_raises_nor_holds() -> None:
    stage = alarms()
    assert changes(stage, series([float("nan")] * 20)) == []
    found = changes(stage, series([2] * 5 + [float("nan")] * 21, 1000))
    assert told(found) == [("raised", 1200), ("cleared", 2250)]


def test_the_most_specific_rule_counts() -> None:
    rules = {
        "default": AlarmRule(on_delay_ns=1),
        "frozen": AlarmRule(on_delay_ns=2),
        "camera/frozen": AlarmRule(on_delay_ns=3),
    }
    stage = Alarms(rules)
    assert stage.rule("camera", Condition.FROZEN).on_delay_ns == 3
    assert stage.rule("arm", Condition.FROZEN).on_delay_ns == 2
    assert stage.rule("arm", Condition.SIGNAL).on_delay_ns == 1
    assert Alarms({}).rule("arm", Condition.SIGNAL) == AlarmRule()


def test_a_configured_rule_keeps_the_on_delay_of_its_condition_unless_it_says_otherwise() -> None:
    rules = alarm_rules(
        {
            "skewed": AlarmSettings(latched=True),
            "camera/frozen": AlarmSettings(on_delay_ms=40),
            "camera/signal": AlarmSettings(off_delay_ms=5),
        }
    )
    assert rules["skewed"] == AlarmRule(on_delay_ns=5 * SECOND, latched=True)
    assert rules["camera/frozen"].on_delay_ns == 40 * MS
    assert rules["camera/signal"] == AlarmRule(off_delay_ns=5 * MS)


scores = st.lists(st.sampled_from([0.0, 0.4, 0.8, 1.0, 1.7, 3.0, 9.0]), max_size=60)


@st.composite
def observations(draw: st.DrawFn) -> list[Observation]:
    found, at_ms, epoch = [], 0, 0
    for score in draw(scores):
        if draw(st.integers(0, 19)) == 0:
            epoch, at_ms = epoch + 1, draw(st.integers(0, 10_000))
        at_ms += draw(st.sampled_from([67, 67, 67, 1900]))
        found.append(seen(score, at_ms, epoch, draw(st.sampled_from(["camera", "arm"]))))
    return found


RULES: Mapping[str, AlarmRule] = {
    "default": AlarmRule(on_threshold=1.0, off_threshold=0.8),
    "arm/signal": AlarmRule(latched=True, on_delay_ns=0),
}


@given(observations(), st.integers(0, 60))
def test_a_snapshot_restored_anywhere_changes_nothing(run: list[Observation], at: int) -> None:
    whole, first, second = Alarms(RULES), Alarms(RULES), Alarms(RULES)
    before = changes(first, run[:at])
    second.restore(json.loads(json.dumps(first.snapshot())))
    assert before + changes(second, run[at:]) == changes(whole, run)
    assert second.snapshot() == whole.snapshot()


@given(observations())
def test_every_alarm_is_raised_before_it_is_told_anything_else(run: list[Observation]) -> None:
    active: set[str] = set()
    for change in changes(Alarms(RULES), run):
        assert (change.modality in active) == (change.transition is not Transition.RAISED)
        if change.transition is Transition.CLEARED:
            active.discard(change.modality)
        else:
            active.add(change.modality)


@given(observations())
def test_no_two_events_of_a_run_share_an_id(run: list[Observation]) -> None:
    found = changes(Alarms(RULES), run)
    assert len({event_id(STATION, one.epoch, one) for one in found}) == len(found)


@given(observations())
def test_memory_is_kept_only_of_what_is_pending_or_active(run: list[Observation]) -> None:
    stage = Alarms(RULES)
    changes(stage, run)
    last_ms = 10_000_000
    rest = [
        one
        for modality in ("camera", "arm")
        for one in (seen(0, last_ms, 99, modality), seen(0, last_ms + 5000, 99, modality))
    ]
    changes(stage, rest)
    stage.reset("arm", Condition.SIGNAL, START, 99)
    assert stage.snapshot() == {}
