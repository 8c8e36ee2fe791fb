"""Fault events as an MES reads them: CloudEvents 1.0 with OPC UA Part 9 and ISA-18.2 names."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from stream.alarms import Change, Condition, Transition, share
from stream.wire import rfc3339

JSON = "application/json"
# The namespace of every id below; a constant of the wire.
NAMESPACE = UUID("6b1f3f0e-5b58-5d0c-9a53-3f7a1f9d2c11")
FAILURE = frozenset({Condition.MISSING, Condition.OFFLINE, Condition.FROZEN, Condition.MALFORMED})
OUT_OF_SPECIFICATION = frozenset({Condition.STALLED, Condition.LATE, Condition.SKEWED})
HIGH_SEVERITY = 667


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What an event tells besides the change itself, as it stood at the event's time."""

    station: str
    producer: Mapping[str, str]
    equipment: Mapping[str, str] = field(default_factory=dict)
    correction: str = "unavailable"
    evidence: Mapping[str, Any] = field(default_factory=dict)
    simulated: Mapping[str, Any] | None = None
    context: Any = None


def event_id(station: str, epoch: int, change: Change) -> str:
    """The same after a replay or a retry, so that any consumer can drop the second one."""
    parts = (station, epoch, change.modality, change.condition, change.transition, change.time_ns)
    return str(uuid5(NAMESPACE, "|".join(str(part) for part in parts)))


def occurrence_id(station: str, change: Change) -> str:
    """Shared by raised, updated and cleared of one occurrence; its time is as it is told."""
    raised_us = change.raised_ns // 1000
    parts = (station, change.raised_epoch, change.modality, change.condition, raised_us)
    return str(uuid5(NAMESPACE, "|".join(str(part) for part in parts)))


def device_health(change: Change) -> str:
    """NE 107: what the state of this condition says about the device."""
    if change.transition is Transition.CLEARED:
        return "normal"
    if change.condition in FAILURE:
        return "failure"
    if change.condition in OUT_OF_SPECIFICATION:
        return "outOfSpecification"
    return "failure" if change.severity >= HIGH_SEVERITY else "outOfSpecification"


def fault_event(change: Change, around: Surroundings) -> dict[str, Any]:
    """One change as a CloudEvents 1.0 object in structured mode."""
    return {
        "specversion": "1.0",
        "id": event_id(around.station, change.epoch, change),
        "type": f"weldfusion.fault.{change.transition}.v1",
        "source": f"/{around.station}",
        "subject": f"{change.modality}/{change.condition}",
        "time": rfc3339(change.time_ns),
        "datacontenttype": "application/json",
        "data": _data(change, around),
    }


def _data(change: Change, around: Surroundings) -> dict[str, Any]:
    cleared = change.transition is Transition.CLEARED
    data: dict[str, Any] = {
        "conditionId": f"{around.station}/{change.modality}/{change.condition}",
        "occurrenceId": occurrence_id(around.station, change),
        "transition": str(change.transition),
        "activeState": not cleared,
        "retain": not cleared,
        "modality": change.modality,
        "condition": str(change.condition),
        "severity": change.severity,
        "deviceHealth": device_health(change),
        "onsetTime": rfc3339(change.onset_ns),
        "detectedTime": rfc3339(change.raised_ns),
        "clearTime": rfc3339(change.time_ns) if cleared else None,
        "durationMs": max(change.time_ns - change.onset_ns, 0) / 1e6,
        "onDelayMs": change.rule.on_delay_ns / 1e6,
        "offDelayMs": change.rule.off_delay_ns / 1e6,
        "confidence": round(share(change.score), 4),
        "equipment": dict(around.equipment),
        "correction": around.correction,
        "reportedValues": {"score": round(change.score, 6), **change.facts},
        "evidence": dict(around.evidence),
        "simulated": around.simulated is not None,
        "simulation": dict(around.simulated) if around.simulated else None,
        "context": around.context,
        "producer": dict(around.producer),
        "epoch": change.epoch,
    }
    return data


def to_json(document: Mapping[str, Any]) -> bytes:
    """One line of JSON; NaN and infinity, which JSON does not have, become null."""
    try:
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(document), separators=(",", ":"), allow_nan=False)
    return text.encode()


def _finite(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(value) for value in node]
    return None if isinstance(node, float) and not math.isfinite(node) else node
