"""The truth told about injections: when they began and ended, with what effect."""

import json
import uuid

import pytest

from simulators.faults.parts import Part
from simulators.faults.registry import Origin
from simulators.truth import Change, Injection, Transition, place, truth_event
from stream.messages import Kind
from tests.injections import NOISE_SD, NS, START_NS, arm, frame, injected, planned


def test_a_placed_fault_has_the_same_id_wherever_it_is_placed_at_the_same_time() -> None:
    one = place(planned("drift", at_s=2.0), START_NS, Kind.VECTOR)
    same = place(planned("drift", at_s=1.0), START_NS + NS, Kind.VECTOR)
    later = place(planned("drift", at_s=3.0), START_NS, Kind.VECTOR)
    assert one == same
    assert one.id != later.id
    assert (one.onset_ns, one.end_ns) == (START_NS + 2 * NS, START_NS + 2_200_000_000)
    assert one.origin is Origin.SENSOR


def test_beginnings_and_ends_are_told_once_in_the_order_of_time() -> None:
    injections = injected(planned("blur", "camera", at_s=0.25), planned("drift"))
    assert injections.due(START_NS) == []
    assert [one.fault for one in injections.active(START_NS + NS // 10)] == ["drift"]
    told = injections.due(START_NS + NS // 10)
    told += injections.due(START_NS + NS)
    told += injections.due(START_NS + 60 * NS)
    assert [(one.injection.fault, str(one.transition)) for one in told] == [
        ("drift", "started"),
        ("blur", "started"),
        ("drift", "ended"),
        ("blur", "ended"),
    ]
    assert injections.active(START_NS + NS // 5) == (), "what is long over is forgotten"


def test_the_effect_is_the_largest_change_in_sensor_noises_and_grows_with_severity() -> None:
    effects = []
    for severity in (0.2, 0.8):
        injections = injected(
            planned("offset", severity=severity), planned("black", "camera", severity=severity)
        )
        injections.apply(arm()[0])
        injections.apply(frame(0.2))
        ended = injections.due(START_NS + NS)[2:]
        effects.append({one.injection.fault: one.effect for one in ended})
    assert effects[0]["offset"] == pytest.approx(0.2 / NOISE_SD)
    assert effects[1]["offset"] == pytest.approx(0.8 / NOISE_SD)
    assert 0 < effects[0]["black"] * 3.5 < effects[1]["black"] < effects[0]["black"] * 4.5


def test_an_injection_that_no_reading_met_has_no_effect() -> None:
    assert [one.effect for one in injected(planned("drift")).due(START_NS + NS)] == [None, None]


def change(transition: Transition, effect: float | None = None) -> Change:
    injection: Injection = place(planned("drift", at_s=0.5), START_NS, Kind.VECTOR)
    return Change(injection=injection, transition=transition, effect=effect, part=Part.ENCODER)


def test_the_truth_is_a_cloud_event_with_the_time_of_the_change() -> None:
    event = truth_event(change(Transition.ENDED, 12.34567), "acme/north/body/line-1/cell-4")
    assert json.loads(json.dumps(event, allow_nan=False)) == {
        "specversion": "1.0",
        "id": event["id"],
        "source": "/acme/north/body/line-1/cell-4",
        "type": "weldfusion.truth.ended.v1",
        "subject": "arm/drift",
        "time": "2023-11-14T22:13:20.700000Z",
        "datacontenttype": "application/json",
        "data": {
            "modality": "arm",
            "fault": "drift",
            "severity": 0.5,
            "onsetTime": "2023-11-14T22:13:20.500000Z",
            "endTime": "2023-11-14T22:13:20.700000Z",
            "origin": "sensor",
            "part": "encoder",
            "effect": 12.346,
        },
    }
    assert uuid.UUID(event["id"]).version == 5


def test_the_id_of_a_truth_event_tells_changes_and_stations_apart_but_not_repetitions() -> None:
    station = "acme/north/body/line-1/cell-4"
    started = truth_event(change(Transition.STARTED), station)
    assert started["type"] == "weldfusion.truth.started.v1"
    assert started["time"] == started["data"]["onsetTime"]
    assert started["data"]["effect"] is None
    ids = {
        started["id"],
        truth_event(change(Transition.STARTED, 1.0), station)["id"],
        truth_event(change(Transition.ENDED), station)["id"],
        truth_event(change(Transition.STARTED), "acme/north/body/line-1/cell-5")["id"],
    }
    assert len(ids) == 3
