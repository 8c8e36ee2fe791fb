"""What leaves the worker, as messages: topic, key, headers and payload. Pure."""

import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from stream.alarms import Change
from stream.events import Surroundings, fault_event, to_json
from stream.gate import GatedLatent, LatentState, Verdict
from stream.inputs import MODALITY_HEADER
from stream.messages import Frame, Rejected, TimeSource
from stream.proto import weldfusion_pb2
from stream.topics import Address, KafkaTopics, Topics
from stream.transports.transport import Delivery, Message
from stream.wire import encode_frame, encode_samples, rfc3339

CLOUDEVENTS = "application/cloudevents+json; charset=utf-8"
PROTOBUF = "application/x-protobuf"
JSON = "application/json"
ENVELOPE_LIMIT_BYTES = 64 << 10  # beyond it a dead letter is told by hash and length
CONNECT = "__connect.errors."
STATES = {
    LatentState.BYPASSED: weldfusion_pb2.BYPASSED,
    LatentState.CORRECTED: weldfusion_pb2.CORRECTED,
    LatentState.IMPUTED: weldfusion_pb2.IMPUTED,
    LatentState.UNAVAILABLE: weldfusion_pb2.UNAVAILABLE,
}

TIME_SOURCES = {
    TimeSource.CAPTURE: weldfusion_pb2.CAPTURE,
    TimeSource.BROKER: weldfusion_pb2.BROKER,
    TimeSource.ARRIVAL: weldfusion_pb2.ARRIVAL,
}


class Outbox:
    """Builds every message that a worker publishes, in the names of its broker."""

    def __init__(self, topics: Topics, shadow: bool = False) -> None:
        self._topics = topics
        self._shadow = shadow
        self._kafka = isinstance(topics, KafkaTopics)

    def latent(self, verdict: Verdict, gated: Mapping[str, GatedLatent]) -> Message:
        """A window's fused latent (QoS 0: the next one comes soon)."""
        address = self._topics.latent(verdict.window.station)
        return _message(address, fused_latent(verdict, gated), PROTOBUF, qos=0)

    def fault(self, change: Change, around: Surroundings) -> list[Message]:
        """A fault event, and beside it the current state; a shadow worker keeps no state."""
        payload = to_json(fault_event(change, around))
        station, modality, condition = around.station, change.modality, str(change.condition)
        event = self._topics.fault(station, modality, condition, self._shadow)
        messages = [_message(event, payload, CLOUDEVENTS)]
        if not self._shadow:
            state = self._topics.fault_state(station, modality, condition)
            messages.append(_message(state, payload, CLOUDEVENTS, retain=True))
        return messages

    def forget_state(self, station: str, modality: str, condition: str) -> Message:
        """Remove the retained state of a condition that was cleared long ago."""
        address = self._topics.fault_state(station, modality, condition)
        return _message(address, b"", "", retain=True)

    def monitoring(self, station: str, status: Mapping[str, Any]) -> Message:
        """The worker's health, retained."""
        address = self._topics.monitoring(station)
        return _message(address, to_json(status), JSON, retain=True)

    def refused_reading(self, station: str, rejected: Rejected) -> Message:
        """A reading that no window will use, to the late topic or the dead letters."""
        reading = rejected.reading
        payload = encode_frame(reading) if isinstance(reading, Frame) else encode_samples(reading)
        late = rejected.reason == "late"
        address = self._topics.late(station) if late else self._topics.dead_letter(station)
        facts: dict[str, Any] = {
            "reason": rejected.reason,
            "detail": rejected.detail,
            "station": station,
            "modality": rejected.modality,
            "time": rfc3339(max(rejected.time_ns, 0)) if rejected.time_ns < 1 << 62 else None,
        }
        if late:
            facts["lateMs"] = rejected.late_by_ns / 1e6
        return self._refusal(address, payload, facts, rejected.modality)

    def dead_letter(
        self,
        delivery: Delivery,
        station: str,
        modality: str,
        reason: str,
        detail: str,
        *,
        site_of: str = "",
    ) -> Message:
        """A payload that never became a reading.

        ``station`` is empty where it belongs to none; then it goes to the site of ``site_of``.
        """
        facts = {
            "reason": reason,
            "detail": detail,
            "station": station,
            "modality": modality,
            "topic": delivery.topic,
            "received": rfc3339(delivery.received_ns),
        }
        address = self._topics.dead_letter(station or site_of)
        return self._refusal(address, delivery.payload, facts, modality)

    def _refusal(
        self, address: Address, payload: bytes, facts: dict[str, Any], modality: str
    ) -> Message:
        too_large = len(payload) > ENVELOPE_LIMIT_BYTES
        whole = {"size": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
        if self._kafka:
            headers = {
                CONNECT + "exception.class.name": str(facts["reason"]),
                CONNECT + "exception.message": str(facts["detail"]),
                CONNECT + "topic": str(facts.get("topic", "")),
                MODALITY_HEADER: modality,
            }
            body = to_json({**facts, **whole}) if too_large else payload
            return _message(address, body, "", headers=headers)
        original = None if too_large else base64.b64encode(payload).decode()
        return _message(address, to_json({**facts, **whole, "original": original}), JSON)


def fused_latent(verdict: Verdict, gated: Mapping[str, GatedLatent]) -> bytes:
    """weldfusion.v1.FusedLatent of one window."""
    window = verdict.window
    message = weldfusion_pb2.FusedLatent(
        station=window.station,
        epoch=window.epoch,
        anchor_time_ns=window.anchor_ns,
        closed_by=str(window.closed_by),
        model_hash=verdict.model_hash,
    )
    for name, one in gated.items():
        view = window.views[name]
        message.values.extend(one.values.tolist())
        message.modalities.add(
            modality=name,
            state=STATES[one.state],
            present=view.present,
            score=one.score,
            skew_ns=view.skew_ns,
            largest_gap_ns=view.largest_gap_ns,
            size=len(one.values),
            time_source=TIME_SOURCES[window.time_sources.get(name, TimeSource.CAPTURE)],
        )
    return message.SerializeToString()


def _message(
    address: Address,
    payload: bytes,
    content_type: str,
    qos: int = 1,
    retain: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Message:
    return Message(
        topic=address.topic,
        key=address.key,
        payload=payload,
        content_type=content_type,
        qos=qos,
        retain=retain,
        headers=headers or {},
    )
