import json
from dataclasses import replace
from datetime import datetime
from importlib.resources import files
from typing import Any
from uuid import UUID

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.alarms import AlarmRule, Change, Condition, Transition
from stream.events import Surroundings, device_health, fault_event, to_json

MS = 1_000_000
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
STATION = "acme/plant-1/hall_2/line3/cell4"
SCHEMA = json.loads(files("stream").joinpath("schemas/fault-event.schema.json").read_text())
RULE = AlarmRule(on_delay_ns=200 * MS, off_delay_ns=1500 * MS)
AROUND = Surroundings(
    station=STATION,
    producer={"instance": "worker-1@host:7", "software": "0.1.0", "modelHash": "abc"},
    equipment={"vendor": "Acme", "serial": "17"},
    correction="corrected",
    evidence={"topic": "weldfusion.images.v1", "partition": 3, "offset": 912},
    context={"part": "A-17", "runState": "welding"},
)


def change(transition: Transition = Transition.RAISED, **changed: Any) -> Change:
    raised_ns = START + 200 * MS
    times = {Transition.RAISED: raised_ns, Transition.UPDATED: START + 12 * SECOND}
    plain = Change(
        transition=transition,
        modality="camera",
        condition=Condition.SIGNAL,
        time_ns=times.get(transition, START + 15 * SECOND),
        epoch=2,
        raised_epoch=2,
        onset_ns=START,
        raised_ns=raised_ns,
        severity=750,
        score=3.0,
        rule=RULE,
        facts={"residual": 4.5},
    )
    return replace(plain, **changed)


def published(one: Change, around: Surroundings = AROUND) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(to_json(fault_event(one, around)))
    jsonschema.validate(document, SCHEMA)
    return document


def test_an_event_is_a_cloudevent_of_the_station() -> None:
    event = published(change())
    data = event.pop("data")
    assert UUID(event.pop("id")).version == 5
    assert UUID(data["occurrenceId"]).version == 5
    assert event == {
        "specversion": "1.0",
        "type": "weldfusion.fault.raised.v1",
        "source": f"/{STATION}",
        "subject": "camera/signal",
        "time": "2023-11-14T22:13:20.200000Z",
        "datacontenttype": "application/json",
    }


def test_the_data_have_the_names_of_the_wire_and_nothing_else() -> None:
    data = published(change())["data"]
    del data["occurrenceId"]
    assert data == {
        "conditionId": f"{STATION}/camera/signal",
        "transition": "raised",
        "activeState": True,
        "retain": True,
        "modality": "camera",
        "condition": "signal",
        "severity": 750,
        "deviceHealth": "failure",
        "onsetTime": "2023-11-14T22:13:20.000000Z",
        "detectedTime": "2023-11-14T22:13:20.200000Z",
        "clearTime": None,
        "durationMs": 200.0,
        "onDelayMs": 200.0,
        "offDelayMs": 1500.0,
        "confidence": 0.75,
        "equipment": {"vendor": "Acme", "serial": "17"},
        "correction": "corrected",
        "reportedValues": {"score": 3.0, "residual": 4.5},
        "evidence": {"topic": "weldfusion.images.v1", "partition": 3, "offset": 912},
        "simulated": False,
        "simulation": None,
        "context": {"part": "A-17", "runState": "welding"},
        "producer": {"instance": "worker-1@host:7", "software": "0.1.0", "modelHash": "abc"},
        "epoch": 2,
    }


def test_a_cleared_event_tells_when_and_how_long_and_finds_its_raised() -> None:
    raised, cleared = published(change()), published(change(Transition.CLEARED, score=0.0))
    data = cleared["data"]
    assert cleared["type"] == "weldfusion.fault.cleared.v1"
    assert (data["activeState"], data["retain"]) == (False, False)
    assert data["clearTime"] == cleared["time"] == "2023-11-14T22:13:35.000000Z"
    assert data["durationMs"] == 15_000
    assert data["detectedTime"] == raised["data"]["detectedTime"]
    assert data["occurrenceId"] == raised["data"]["occurrenceId"]
    assert cleared["id"] != raised["id"]


def test_an_updated_event_belongs_to_its_occurrence_and_is_still_active() -> None:
    updated = published(change(Transition.UPDATED))
    assert updated["type"] == "weldfusion.fault.updated.v1"
    assert updated["data"]["activeState"] is True
    assert updated["data"]["occurrenceId"] == published(change())["data"]["occurrenceId"]


def test_an_occurrence_keeps_its_id_when_it_is_cleared_in_a_later_epoch() -> None:
    cleared = published(change(Transition.CLEARED, epoch=3, time_ns=START - 60 * SECOND))
    assert cleared["data"]["occurrenceId"] == published(change())["data"]["occurrenceId"]
    assert cleared["data"]["epoch"] == 3
    assert cleared["data"]["durationMs"] == 0


def test_the_worker_that_tells_an_event_does_not_change_its_id() -> None:
    elsewhere = replace(AROUND, producer={"instance": "b", "software": "9", "modelHash": "x"})
    assert published(change())["id"] == published(change(), elsewhere)["id"]


@pytest.mark.parametrize(
    "other",
    [
        {"modality": "arm"},
        {"condition": Condition.FROZEN},
        {"time_ns": START + 201 * MS},
        {"epoch": 3},
        {"transition": Transition.UPDATED},
    ],
)
def test_anything_that_tells_two_events_apart_gives_them_different_ids(
    other: dict[str, Any],
) -> None:
    assert published(change())["id"] != published(change(**other))["id"]


def test_anything_replayed_is_marked_as_simulated() -> None:
    state = {"source": "welding.mcap", "validUntil": "2026-01-01T00:00:00Z"}
    data = published(change(), replace(AROUND, simulated=state))["data"]
    assert data["simulated"] is True
    assert data["simulation"] == state


@pytest.mark.parametrize(
    ("condition", "severity", "health"),
    [
        (Condition.MISSING, 500, "failure"),
        (Condition.OFFLINE, 500, "failure"),
        (Condition.FROZEN, 500, "failure"),
        (Condition.MALFORMED, 500, "failure"),
        (Condition.STALLED, 900, "outOfSpecification"),
        (Condition.LATE, 900, "outOfSpecification"),
        (Condition.SKEWED, 900, "outOfSpecification"),
        (Condition.SIGNAL, 500, "outOfSpecification"),
        (Condition.SIGNAL, 700, "failure"),
    ],
)
def test_device_health_follows_ne_107(condition: Condition, severity: int, health: str) -> None:
    assert device_health(change(condition=condition, severity=severity)) == health
    cleared = change(Transition.CLEARED, condition=condition, severity=severity)
    assert device_health(cleared) == "normal"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_does_not_have_become_null(number: float) -> None:
    around = replace(AROUND, context={"deep": [{"number": number, "kept": 1.5}]})
    one = change(score=number, facts={"residual": number})
    data = published(one, around)["data"]
    assert data["reportedValues"] == {"score": None, "residual": None}
    assert data["context"] == {"deep": [{"number": None, "kept": 1.5}]}
    assert 0 <= data["confidence"] <= 1


times = st.integers(0, (1 << 62) - 1)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(times, times, st.floats(min_value=0), anything, st.sampled_from(Transition))
def test_every_event_is_one_line_of_valid_json_without_nanoseconds(
    onset_ns: int, time_ns: int, score: float, context: Any, transition: Transition
) -> None:
    one = change(transition, onset_ns=onset_ns, time_ns=time_ns, score=score)
    payload = to_json(fault_event(one, replace(AROUND, context=context)))
    assert b"\n" not in payload
    assert payload.isascii()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    event = json.loads(payload, parse_constant=refuse)
    jsonschema.validate(event, SCHEMA)
    for stamp in (event["time"], event["data"]["onsetTime"], event["data"]["detectedTime"]):
        assert datetime.fromisoformat(stamp).tzinfo is not None
