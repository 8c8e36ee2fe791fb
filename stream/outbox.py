"""What leaves the worker, as messages: topic, key, headers and payload. Pure."""

from collections.abc import Mapping
from typing import Any

from stream.alarms import Change
from stream.events import JSON, Surroundings, fault_event, to_json
from stream.gate import GatedLatent, LatentState, Verdict
from stream.letters import write_letter
from stream.messages import Rejected, TimeSource
from stream.proto import weldfusion_pb2
from stream.topics import Address, KafkaTopics, Topics
from stream.transports.transport import Delivery, Message
from stream.wire import encode_reading, rfc3339

CLOUDEVENTS = "application/cloudevents+json; charset=utf-8"
PROTOBUF = "application/x-protobuf"
STATES = {
    LatentState.BYPASSED: weldfusion_pb2.BYPASSED,
    LatentState.CORRECTED: weldfusion_pb2.CORRECTED,
    LatentState.IMPUTED: weldfusion_pb2.IMPUTED,
    LatentState.UNAVAILABLE: weldfusion_pb2.UNAVAILABLE,
    LatentState.UNCORRECTED: weldfusion_pb2.UNCORRECTED,
    LatentState.SKIPPED: weldfusion_pb2.SKIPPED,
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

    def refused_reading(
        self, station: str, rejected: Rejected, origin: Delivery | None = None
    ) -> Message:
        """A reading that no window will use, to the late topic or the dead letters.

        It is told as it came where the whole of ``origin`` was refused at once, else in our format.
        """
        reading, late = rejected.reading, rejected.reason == "late"
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
        if origin is None:
            return write_letter(address, encode_reading(reading), facts, None, kafka=self._kafka)
        facts |= _came_from(origin)
        return write_letter(address, origin.payload, facts, origin, kafka=self._kafka)

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
            **_came_from(delivery),
        }
        address = self._topics.dead_letter(station or site_of)
        return write_letter(address, delivery.payload, facts, delivery, kafka=self._kafka)


def _came_from(delivery: Delivery) -> dict[str, str]:
    return {"topic": delivery.topic, "received": rfc3339(delivery.received_ns)}


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
) -> Message:
    return Message(
        topic=address.topic,
        key=address.key,
        payload=payload,
        content_type=content_type,
        qos=qos,
        retain=retain,
    )
