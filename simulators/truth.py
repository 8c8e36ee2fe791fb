"""What is known of the injected faults, and how it is told: never to a worker."""

import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from simulators.faults.parts import Part
from simulators.faults.registry import Origin, lookup
from simulators.scenario import Planned
from stream.messages import Kind
from stream.wire import rfc3339

NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Injection:
    """The facts of one injected fault; it hits event times from ``onset_ns`` before ``end_ns``."""

    id: str
    modality: str
    fault: str
    severity: float
    onset_ns: int
    end_ns: int
    seed: int
    origin: Origin

    def hits(self, time_ns: int) -> bool:
        """Whether a reading of this event time is changed."""
        return self.onset_ns <= time_ns < self.end_ns


class Transition(StrEnum):
    """What happens to an injection."""

    STARTED = "started"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An injection that began or ended; ``effect`` is the largest so far, in sensor noises.

    For what happens to messages on their way it is in periods of the modality. ``part`` is what a
    vector fault strikes.
    """

    injection: Injection
    transition: Transition
    effect: float | None
    part: Part | None = None

    @property
    def time_ns(self) -> int:
        """Event time of the change."""
        started = self.transition is Transition.STARTED
        return self.injection.onset_ns if started else self.injection.end_ns


def place(planned: Planned, start_ns: int, kind: Kind) -> Injection:
    """Put a planned fault on the clock of readings that start at ``start_ns``.

    Raises UnknownFault. The id is the same wherever the same fault is placed at the same time.
    """
    onset_ns = start_ns + round(planned.at_s * NS)
    name = f"{planned.modality}|{planned.fault}|{planned.severity}|{onset_ns}|{planned.seed}"
    return Injection(
        id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"weldfusion:injection:{name}")),
        modality=planned.modality,
        fault=planned.fault,
        severity=planned.severity,
        onset_ns=onset_ns,
        end_ns=onset_ns + round(planned.seconds * NS),
        seed=planned.seed,
        origin=lookup(kind, planned.fault).origin,
    )


def truth_event(change: Change, station_path: str) -> dict[str, Any]:
    """Tell a beginning or an end as a CloudEvents 1.0 object.

    ``station_path`` is ``enterprise/site/area/line/cell``; the effect is null while nothing has
    been changed. The id depends on nothing but the fact, so that a repeated event can be told.
    """
    injection, transition, effect = change.injection, change.transition, change.effect
    name = f"weldfusion:truth:{station_path}|{injection.id}|{transition}|{change.time_ns}"
    return {
        "specversion": "1.0",
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        "source": f"/{station_path}",
        "type": f"weldfusion.truth.{transition}.v1",
        "subject": f"{injection.modality}/{injection.fault}",
        "time": rfc3339(change.time_ns),
        "datacontenttype": "application/json",
        "data": {
            "modality": injection.modality,
            "fault": injection.fault,
            "severity": injection.severity,
            "onsetTime": rfc3339(injection.onset_ns),
            "endTime": rfc3339(injection.end_ns),
            "origin": str(injection.origin),
            "part": None if change.part is None else str(change.part),
            "effect": None if effect is None else round(effect, 3),
        },
    }
