"""What is published is what the shipped JSON Schemas promise."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, FormatChecker

from simulators.replay import read_command
from simulators.truth import Change as TruthChange
from simulators.truth import Transition as TruthTransition
from simulators.truth import place, truth_event
from stream.alarms import AlarmRule, Change, Condition, Transition
from stream.events import Surroundings, fault_event, to_json
from stream.messages import Kind
from stream.outbox import Outbox
from stream.topics import (
    KafkaTopics,
    MqttTopics,
    Topics,
)
from stream.transports.transport import Delivery

SCHEMAS = Path(__file__).parents[1] / "stream" / "schemas"
FILES = sorted(SCHEMAS.glob("*.schema.json"))
STATION = "acme/plant1/hall2/line3/cell4"
S = 1_000_000_000
T0 = 1_760_000_000 * S
PLACEHOLDERS = "{enterprise}/{site}/{area}/{line}/{cell}"


def validator(name: str) -> Draft7Validator:
    return Draft7Validator(
        json.loads((SCHEMAS / f"{name}.schema.json").read_text()), format_checker=FormatChecker()
    )


def wrong(name: str, document: Any) -> list[str]:
    return [error.message for error in validator(name).iter_errors(document)]


def changed(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with one value changed, or taken away where it is ``...``."""
    changing = copy.deepcopy(document)
    *parents, last = path.split(".")
    node = changing
    for parent in parents:
        node = node[parent]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return changing


def change(transition: Transition = Transition.RAISED, score: float = 2.5) -> Change:
    return Change(
        transition=transition,
        modality="camera",
        condition=Condition.SIGNAL,
        time_ns=T0 + 2 * S,
        epoch=0,
        raised_epoch=0,
        onset_ns=T0,
        raised_ns=T0 + S // 5,
        severity=714,
        score=score,
        rule=AlarmRule(),
        facts={"residual": 3.25},
    )


def surroundings(**more: Any) -> Surroundings:
    producer = {"instance": "w@host:1", "software": "0.1.0", "modelHash": ""}
    return Surroundings(station=STATION, producer=producer, **more)


def published(document: dict[str, Any]) -> dict[str, Any]:
    """The document after its way over the wire."""
    parsed: dict[str, Any] = json.loads(to_json(document))
    return parsed


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_schema_is_valid_draft_07_and_open_for_additions(file: Path) -> None:
    schema = json.loads(file.read_text())
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(schema)
    assert 'additionalProperties": false' not in json.dumps(schema)


@pytest.mark.parametrize("transition", list(Transition))
@pytest.mark.parametrize("score", [2.5, float("inf")])
def test_every_transition_makes_a_valid_fault_event(transition: Transition, score: float) -> None:
    simulation = {"source": "weld.mcap", "since": "2025-10-09T08:53:20Z", "validUntil": "…"}
    plain = fault_event(change(transition, score), surroundings())
    full = fault_event(
        change(transition, score),
        surroundings(
            equipment={"vendor": "Basler"},
            correction="corrected",
            evidence={"topic": "weldfusion.images.v1", "partition": 0, "offset": 7},
            simulated=simulation,
            context={"part": 4711},
        ),
    )
    assert wrong("fault-event", published(plain)) == []
    assert wrong("fault-event", published(full)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source", STATION),
        ("subject", "camera/broken"),
        ("time", "yesterday"),
        ("time", 1760000000000000000),
        ("type", "weldfusion.fault.raised.v2"),
        ("type", "weldfusion.fault.cleared.v1"),
        ("id", "1"),
        ("data.severity", 0),
        ("data.severity", 500.5),
        ("data.deviceHealth", "bad"),
        ("data.activeState", False),
        ("data.clearTime", "2025-10-09T08:53:22.000000Z"),
        ("data.correction", "fixed"),
        ("data.confidence", 1.5),
        ("data.evidence.offset", -1),
        ("data.producer.modelHash", ...),
        ("data.simulated", ...),
        ("data.simulated", "no"),
        ("data", ...),
    ],
)
def test_a_fault_event_with_one_wrong_field_is_refused(path: str, value: Any) -> None:
    evidence = {"topic": "t", "partition": 0, "offset": 7}
    right = published(fault_event(change(), surroundings(evidence=evidence)))
    assert wrong("fault-event", right) == []
    assert wrong("fault-event", changed(right, path, value)) != []


def test_an_addition_to_a_fault_event_is_no_error() -> None:
    event = published(fault_event(change(), surroundings()))
    event["traceparent"] = "00-…"
    event["data"]["later"] = {"anything": True}
    assert wrong("fault-event", event) == []


def test_every_condition_of_the_code_is_in_the_schemas() -> None:
    conditions = {str(condition) for condition in Condition}
    event = validator("fault-event").schema["properties"]["data"]["properties"]
    assert set(event["condition"]["enum"]) == conditions
    reset = validator("reset-command").schema["properties"]
    assert set(reset["condition"]["enum"]) == conditions


@pytest.mark.parametrize("transition", list(TruthTransition))
@pytest.mark.parametrize("effect", [None, 12.3456])
def test_truth_is_valid_and_a_wrong_one_is_not(
    transition: TruthTransition, effect: float | None
) -> None:
    command = {"modality": "camera", "fault": "blur", "severity": 0.6, "seconds": 5, "seed": 3}
    injection = place(read_command(command), T0, Kind.IMAGE)
    event = published(
        truth_event(TruthChange(injection=injection, transition=transition, effect=effect), STATION)
    )
    assert wrong("truth-event", event) == []
    assert wrong("truth-event", changed(event, "data.origin", "software")) != []
    assert wrong("truth-event", changed(event, "type", "weldfusion.fault.raised.v1")) != []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("severity", 1.5),
        ("severity", "high"),
        ("seconds", 0),
        ("seconds", 86_400),
        ("fault", ...),
        ("modality", ...),
    ],
)
def test_schema_and_replay_refuse_the_same_inject_commands(path: str, value: Any) -> None:
    command = {"modality": "camera", "fault": "blur", "severity": 0.6, "seconds": 5, "seed": 3}
    assert wrong("inject-command", command) == []
    read_command(command)
    assert wrong("inject-command", changed(command, path, value)) != []
    with pytest.raises((KeyError, ValueError)):
        read_command(changed(command, path, value))


def test_a_reset_of_an_unknown_condition_is_refused() -> None:
    assert wrong("reset-command", {"modality": "camera", "condition": "signal"}) == []
    assert wrong("reset-command", {"modality": "camera", "condition": "all"}) != []
    assert wrong("reset-command", {"condition": "signal"}) != []


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize("topics", [MqttTopics(), KafkaTopics()], ids=["mqtt", "kafka"])
def test_a_dead_letter_says_why_on_both_brokers(topics: Topics, size: int) -> None:
    delivery = Delivery(topic="plant/cam", payload=b"x" * size, received_ns=T0)
    letter = Outbox(topics).dead_letter(delivery, STATION, "camera", "not_an_image", "b'xxxx'")
    enveloped = isinstance(topics, MqttTopics) or size > 64 << 10
    if enveloped:
        envelope = json.loads(letter.payload)
        assert wrong("refusal", envelope) == []
        assert wrong("refusal", changed(envelope, "sha256", "0")) != []
        assert wrong("refusal", changed(envelope, "received", ...)) != []
    else:
        assert letter.payload == delivery.payload
    if isinstance(topics, KafkaTopics):
        reason = letter.headers["__connect.errors.exception.class.name"]
        assert reason == "not_an_image"
