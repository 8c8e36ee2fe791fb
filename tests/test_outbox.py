import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

import jsonschema
import numpy as np
import pytest

from stream.alarms import AlarmRule, Change, Condition, Transition
from stream.events import Surroundings
from stream.gate import GatedLatent, LatentState, Verdict
from stream.letters import ENVELOPE_LIMIT_BYTES
from stream.messages import (
    ClosedBy,
    Frame,
    ImageView,
    Rejected,
    Samples,
    TimeSource,
    VectorView,
    Window,
)
from stream.outbox import Outbox
from stream.proto.weldfusion_pb2 import BROKER, BYPASSED, CAPTURE, UNAVAILABLE, FusedLatent
from stream.topics import KafkaTopics, MqttTopics
from stream.transports.transport import Delivery, Message
from stream.wire import decode_frame, decode_samples

SECOND = 1_000_000_000
TIME = 1_700_000_000 * SECOND
CELL = "acme/plant1/hall2/line3/cell4"
KEY = CELL.replace("/", ".")
BASE = f"{CELL}/_weldfusion/v1"
REFUSAL = json.loads(files("stream").joinpath("schemas/refusal.schema.json").read_text())
ON_MQTT, ON_KAFKA = Outbox(MqttTopics()), Outbox(KafkaTopics())
RAISED = Change(
    transition=Transition.RAISED,
    modality="camera",
    condition=Condition.FROZEN,
    time_ns=TIME,
    epoch=0,
    raised_epoch=0,
    onset_ns=TIME - SECOND,
    raised_ns=TIME,
    severity=500,
    score=1.0,
    rule=AlarmRule(),
    facts={},
)
AROUND = Surroundings(station=CELL, producer={"instance": "w", "software": "1", "modelHash": ""})
PICTURE = b"\xff\xd8\xff picture"
FRAME = Frame(modality="camera", time_ns=TIME, data=PICTURE, format="jpeg")
SAMPLES = Samples(
    modality="arm", times_ns=np.array([TIME], np.int64), values=np.array([[1.0, 2.0]])
)


def rejected(reading: Frame | Samples, reason: str, late_by_ns: int = 0) -> Rejected:
    return Rejected(
        modality=reading.modality,
        reason=reason,
        detail="facts",
        time_ns=reading.time_ns,
        reading=reading,
        late_by_ns=late_by_ns,
    )


def garbage(size: int = 20) -> Delivery:
    return Delivery(topic="robots/cell4", payload=b"\x00" * size, received_ns=TIME)


def envelope(message: Message) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(message.payload)
    jsonschema.validate(document, REFUSAL)
    return document


def test_an_event_and_its_state_are_the_same_bytes_and_only_the_state_is_retained() -> None:
    event, state = ON_MQTT.fault(RAISED, AROUND)
    assert event.topic == f"{BASE}/event/fault/camera/frozen"
    assert state.topic == f"{BASE}/state/fault/camera/frozen"
    assert event.payload == state.payload
    assert (event.retain, state.retain) == (False, True)
    assert (event.qos, state.qos) == (1, 1)
    assert event.content_type.startswith("application/cloudevents+json")


def test_on_kafka_the_same_bytes_go_out_keyed_by_station_and_by_condition() -> None:
    event, state = ON_KAFKA.fault(RAISED, AROUND)
    assert (event.topic, event.key) == ("weldfusion.faults.v1", KEY)
    assert (state.topic, state.key) == ("weldfusion.fault-state.v1", f"{KEY}|camera|frozen")
    assert event.payload == state.payload == ON_MQTT.fault(RAISED, AROUND)[0].payload


def test_a_shadow_worker_keeps_its_events_apart_and_no_state() -> None:
    (event,) = Outbox(MqttTopics(), shadow=True).fault(RAISED, AROUND)
    assert event.topic == f"{BASE}/shadow/event/fault/camera/frozen"
    (event,) = Outbox(KafkaTopics(), shadow=True).fault(RAISED, AROUND)
    assert event.topic == "weldfusion.shadow-faults.v1"


def test_a_state_that_is_forgotten_is_removed_from_the_broker() -> None:
    message = ON_MQTT.forget_state(CELL, "camera", "frozen")
    assert message.topic == ON_MQTT.fault(RAISED, AROUND)[1].topic
    assert (message.payload, message.retain) == (b"", True)
    assert ON_KAFKA.forget_state(CELL, "camera", "frozen").key == f"{KEY}|camera|frozen"


def test_monitoring_is_retained_on_a_topic_of_the_station() -> None:
    message = ON_MQTT.monitoring(CELL, {"state": "running", "lag": float("nan")})
    assert (message.topic, message.retain) == (f"{BASE}/state/monitoring", True)
    assert json.loads(message.payload) == {"state": "running", "lag": None}


def test_a_latent_tells_of_each_modality_what_it_is_and_where_it_lies() -> None:
    views = {
        "camera": ImageView(frame=FRAME, previous=None, skew_ns=0, largest_gap_ns=67),
        "arm": VectorView(
            values=np.zeros((4, 2)),
            supported=np.zeros(4, bool),
            skew_ns=-3,
            largest_gap_ns=8,
            readings=4,
        ),
    }
    window = Window(
        station=CELL,
        epoch=3,
        anchor_ns=TIME,
        closed_by=ClosedBy.IDLE,
        views=views,
        time_sources={"arm": TimeSource.BROKER},
    )
    gated = {
        "camera": GatedLatent(
            state=LatentState.BYPASSED, values=np.array([1, 2], np.float32), score=0.5
        ),
        "arm": GatedLatent(
            state=LatentState.UNAVAILABLE, values=np.zeros(0, np.float32), score=0.0
        ),
    }
    message = ON_MQTT.latent(Verdict(window=window, model_hash="abc"), gated)
    assert (message.topic, message.qos) == (f"{BASE}/data/latent", 0)
    latent = FusedLatent.FromString(message.payload)
    assert (latent.station, latent.epoch, latent.anchor_time_ns) == (CELL, 3, TIME)
    assert (latent.closed_by, latent.model_hash) == ("idle", "abc")
    assert list(latent.values) == [1, 2]
    camera, arm = latent.modalities
    assert (camera.modality, camera.state, camera.size, camera.present) == (
        "camera",
        BYPASSED,
        2,
        True,
    )
    assert (camera.score, camera.largest_gap_ns) == (0.5, 67)
    assert (arm.modality, arm.state, arm.size, arm.present) == ("arm", UNAVAILABLE, 0, False)
    assert arm.skew_ns == -3
    assert (camera.time_source, arm.time_source) == (CAPTURE, BROKER)


def test_a_late_reading_goes_to_the_late_topic_with_how_late_it_came() -> None:
    message = ON_MQTT.refused_reading(CELL, rejected(SAMPLES, "late", 12_500_000))
    assert message.topic == "acme/plant1/_weldfusion/v1/late"
    told = envelope(message)
    assert (told["reason"], told["lateMs"], told["modality"]) == ("late", 12.5, "arm")
    assert told["time"] == "2023-11-14T22:13:20.000000Z"
    original = decode_samples(base64.b64decode(told["original"]))
    np.testing.assert_array_equal(original.values, SAMPLES.values)


def test_any_other_refused_reading_is_a_dead_letter() -> None:
    message = ON_MQTT.refused_reading(CELL, rejected(FRAME, "jump"))
    assert message.topic == "acme/plant1/_weldfusion/v1/dlq"
    told = envelope(message)
    assert (told["reason"], told["detail"], told["modality"]) == ("jump", "facts", "camera")
    assert decode_frame(base64.b64decode(told["original"])).data == PICTURE


@pytest.mark.parametrize("time_ns", [-5, -(1 << 62), 1 << 62, 1 << 80])
def test_a_frame_with_an_impossible_time_can_still_be_told_about(time_ns: int) -> None:
    strange = Frame(modality="camera", time_ns=time_ns, data=PICTURE, format="jpeg")
    envelope(ON_MQTT.refused_reading(CELL, rejected(strange, "bad_time")))


def test_a_payload_that_never_became_a_reading_is_kept_whole() -> None:
    told = envelope(ON_MQTT.dead_letter(garbage(), CELL, "arm", "undecodable_json", "why"))
    assert base64.b64decode(told["original"]) == garbage().payload
    assert (told["topic"], told["reason"], told["detail"]) == (
        "robots/cell4",
        "undecodable_json",
        "why",
    )
    assert told["received"] == "2023-11-14T22:13:20.000000Z"


@pytest.mark.parametrize("excess", [0, 1])
def test_beyond_the_limit_a_dead_letter_is_told_by_hash_and_length(excess: int) -> None:
    delivery = garbage(ENVELOPE_LIMIT_BYTES + excess)
    told = envelope(ON_MQTT.dead_letter(delivery, CELL, "arm", "too_large", ""))
    assert told["size"] == len(delivery.payload)
    assert told["sha256"] == hashlib.sha256(delivery.payload).hexdigest()
    assert (told["original"] is None) == bool(excess)


def test_on_kafka_a_dead_letter_is_the_original_with_the_reason_in_its_headers() -> None:
    message = ON_KAFKA.dead_letter(garbage(), CELL, "arm", "undecodable_json", "why")
    assert (message.topic, message.key) == ("weldfusion.dlq.v1", KEY)
    assert message.payload == garbage().payload
    assert message.headers == {
        "__connect.errors.exception.class.name": "undecodable_json",
        "__connect.errors.exception.message": "why",
        "__connect.errors.topic": "robots/cell4",
        "weldfusion.letter.station": CELL,
        "modality": "arm",
    }
    large = garbage(ENVELOPE_LIMIT_BYTES + 1)
    message = ON_KAFKA.dead_letter(large, CELL, "arm", "too_large", "")
    assert json.loads(message.payload)["size"] == len(large.payload)
