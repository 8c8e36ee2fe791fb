"""What a plant would have learnt of the faults that were injected: found, missed, false. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stream.proto.weldfusion_pb2 import FusedLatent
from stream.watch import Seen
from stream.wire import parse_rfc3339, rfc3339

GRACE_NS = 1_000_000_000  # an alarm this long after the end still belongs to its fault


@dataclass(slots=True)
class Entry:
    """One injected fault and what was heard of it; times are event times."""

    modality: str
    fault: str
    severity: float
    onset_ns: int
    end_ns: int
    effect: float | None = None
    raised_ns: int | None = None
    occurrence: str = ""
    condition: str = ""
    cleared: bool = False

    def covers(self, seen: Seen, time_ns: int) -> bool:
        """Whether an alarm belongs to this fault."""
        right = seen.modality == self.modality
        return right and self.onset_ns <= time_ns <= self.end_ns + GRACE_NS


@dataclass(slots=True)
class Scoreboard:
    """Fed with what is public on the broker, and with the truth."""

    entries: dict[str, Entry] = field(default_factory=dict)
    raised: list[Seen] = field(default_factory=list)
    cleared: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    events: int = 0
    anchors: set[tuple[int, int]] = field(default_factory=set)
    latencies_ms: list[float] = field(default_factory=list)
    arrived_ns: list[int] = field(default_factory=list)  # each window's latent
    status: Mapping[str, Any] = field(default_factory=dict)

    def hear_truth(self, document: Mapping[str, Any]) -> None:
        """A truth event: a fault began or ended."""
        data = document["data"]
        key = f"{document['subject']}|{data['onsetTime']}"
        entry = self.entries.setdefault(
            key,
            Entry(
                modality=data["modality"],
                fault=data["fault"],
                severity=data["severity"],
                onset_ns=parse_rfc3339(data["onsetTime"]),
                end_ns=parse_rfc3339(data["endTime"]),
            ),
        )
        if data.get("effect") is not None:
            entry.effect = data["effect"]

    def hear_event(self, seen: Seen) -> None:
        """A fault event as the MES sees it; one that is delivered again counts once."""
        if seen.document["id"] in self.known:
            return
        self.known.add(seen.document["id"])
        self.events += 1
        if seen.transition == "raised":
            self.raised.append(seen)
        elif seen.transition == "cleared":
            self.cleared.add(seen.document["data"]["occurrenceId"])

    def hear_latent(self, payload: bytes, arrived_ns: int) -> None:
        """A fused latent: one window has come all the way."""
        latent = FusedLatent.FromString(payload)
        key = (latent.epoch, latent.anchor_time_ns)
        if key not in self.anchors:
            self.anchors.add(key)
            self.latencies_ms.append((arrived_ns - latent.anchor_time_ns) / 1e6)
            self.arrived_ns.append(arrived_ns)

    def result(self, seed: int, model: str) -> dict[str, Any]:
        """The run as one JSON object."""
        false_alarms = self._settle()
        latency = _percentiles(self.latencies_ms)
        entries = sorted(self.entries.values(), key=lambda entry: entry.onset_ns)
        return {
            "seed": seed,
            "windows": len(self.anchors),
            "windows_per_s": self._windows_per_s(),
            "latency_ms": latency,
            "injected": [_injected(entry) for entry in entries],
            "false_alarms": len(false_alarms),
            "false": [_false(seen) for seen in false_alarms],
            "dropped": dict(self.status.get("dropped", {})),
            "events": self.events,
            "model": model,
        }

    def _windows_per_s(self) -> float:
        """From the first window's arrival to the last one's; 0 for fewer than two."""
        if len(self.arrived_ns) < 2:
            return 0.0
        elapsed_s = (max(self.arrived_ns) - min(self.arrived_ns)) / 1e9
        return round((len(self.arrived_ns) - 1) / max(elapsed_s, 1e-9), 3)

    def _settle(self) -> list[Seen]:
        """Give each alarm to the fault that it belongs to; return those that belong to none."""
        false_alarms = []
        for seen in self.raised:
            time_ns = parse_rfc3339(seen.time)
            owners = [one for one in self.entries.values() if one.covers(seen, time_ns)]
            if not owners:
                false_alarms.append(seen)
            for entry in owners:
                if entry.raised_ns is None or time_ns < entry.raised_ns:
                    entry.raised_ns = time_ns
                    entry.condition = seen.condition
                    entry.occurrence = seen.document["data"]["occurrenceId"]
                    entry.cleared = entry.occurrence in self.cleared
        return false_alarms


def _injected(entry: Entry) -> dict[str, Any]:
    found = entry.raised_ns is not None
    return {
        "modality": entry.modality,
        "fault": entry.fault,
        "severity": round(entry.severity, 3),
        "onset": rfc3339(entry.onset_ns),
        "end": rfc3339(entry.end_ns),
        "effect": entry.effect,
        "detected": found,
        "condition": entry.condition or None,
        "delay_ms": round((entry.raised_ns - entry.onset_ns) / 1e6, 1)
        if entry.raised_ns is not None
        else None,
        "cleared": entry.cleared,
    }


def _false(seen: Seen) -> dict[str, Any]:
    return {"modality": seen.modality, "condition": seen.condition, "time": seen.time}


def _percentiles(values: list[float]) -> dict[str, float | None]:
    if not values:
        return {"p50": None, "p95": None, "p99": None}
    points = np.percentile(values, [50, 95, 99])
    return {
        name: round(float(one), 2) for name, one in zip(("p50", "p95", "p99"), points, strict=True)
    }
