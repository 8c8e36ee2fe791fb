"""What subscribers have seen, and how one account of a story differs from another."""

import json
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from stream.proto.weldfusion_pb2 import FusedLatent
from stream.transports.transport import Message

LATENTS, FAULTS = "weldfusion.latents.v1", "weldfusion.faults.v1"
WRONG = ("lost", "duplicated", "reordered", "strange")
Identity: TypeAlias = tuple[str, int, int]  # station, epoch, anchor
Event: TypeAlias = tuple[str, str]  # source, and everything but its producer
T = TypeVar("T", bound=Hashable)


@dataclass(slots=True)
class Told:
    """What subscribers have seen that read committed messages only."""

    windows: list[Identity] = field(default_factory=list)
    bits: dict[Identity, bytes] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    crashes: int = 0
    zombies: int = 0


def told(outputs: Iterable[Message], found: Told) -> Told:
    """Sort what was published into ``found``."""
    for message in outputs:
        if message.topic == LATENTS:
            latent = FusedLatent.FromString(message.payload)
            identity = (latent.station, latent.epoch, latent.anchor_time_ns)
            found.windows.append(identity)
            if latent.closed_by != "idle":
                found.bits[identity] = message.payload
        elif message.topic == FAULTS:
            event = json.loads(message.payload)
            del event["data"]["producer"]
            found.events.append((event["source"], json.dumps(event, sort_keys=True)))
    return found


def compared(wanted: Told, found: Told) -> dict[str, int]:
    """Count what the workers that were killed lost, told twice or told in another order."""
    wrong = {kind: len(items) for kind, items in differences(wanted, found).items()}
    return {"windows": len(wanted.windows), "events": len(wanted.events), **wrong}


def differences(wanted: Told, found: Told) -> dict[str, list[Identity | Event]]:
    """Every window and event that is wrong, by what is wrong with it."""
    windows = _differences(wanted.windows, found.windows)
    events = _differences(wanted.events, found.events)
    wrong = {kind: [*windows[kind], *events[kind]] for kind in WRONG}
    wrong["strange"] += [
        key for key, bits in wanted.bits.items() if found.bits.get(key, bits) != bits
    ]
    return wrong


def _differences(wanted: Sequence[T], found: Sequence[T]) -> dict[str, list[T]]:
    """Of one kind, whose items begin with their station; each station has an order of its own."""
    times = Counter(found)
    return {
        "lost": [one for one in wanted if one not in times],
        "duplicated": [one for one, many in times.items() for _ in range(many - 1)],
        "reordered": _reordered(wanted, list(times)),
        "strange": list(times.keys() - set(wanted)),
    }


def _reordered(wanted: Sequence[T], found: Sequence[T]) -> list[T]:
    places = {one: place for place, one in enumerate(wanted)}
    last: dict[object, int] = {}
    reordered = []
    for one in found:
        station, place = one[0], places.get(one, -1)  # type: ignore[index]
        if -1 < place < last.get(station, -1):
            reordered.append(one)
        last[station] = max(place, last.get(station, -1))
    return reordered


def without_evidence(event: Event) -> Event:
    """An event but for where its frame lies, of which MQTT keeps nothing."""
    document = json.loads(event[1])
    document["data"].pop("evidence", None)
    return event[0], json.dumps(document, sort_keys=True)
