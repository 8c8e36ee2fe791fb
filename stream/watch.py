"""``weldfusion watch``: fault events as an MES sees them come."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from stream.topics import KafkaTopics, Topics
from stream.transports.transport import Transport

COLOURS = {"raised": "bold red", "updated": "yellow", "cleared": "green"}
ANY_STATION = "+/+/+/+/+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One fault event, taken apart for showing; ``document`` is the whole CloudEvent."""

    station: str
    modality: str
    condition: str
    transition: str
    time: str
    severity: int
    document: dict[str, Any]


def event_topics(topics: Topics, station: str | None) -> list[str]:
    """What to subscribe to for the fault events of one station, or of all."""
    if isinstance(topics, KafkaTopics):
        return [topics.fault("", "", "").topic]
    return [topics.fault(station or ANY_STATION, "+", "+").topic]


def read_event(payload: bytes) -> Seen | None:
    """A fault event; None for anything else."""
    try:
        document = json.loads(payload)
        data = document["data"]
        return Seen(
            station=document["source"].lstrip("/"),
            modality=data["modality"],
            condition=data["condition"],
            transition=data["transition"],
            time=document["time"],
            severity=data["severity"],
            document=document,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


async def events(
    transport: Transport, topics: Topics, station: str | None = None
) -> AsyncIterator[Seen]:
    """Yield fault events as they come, each id once."""
    known: set[str] = set()
    await transport.subscribe(event_topics(topics, station))
    async for delivery in transport.deliveries():
        transport.acknowledge(delivery)
        seen = read_event(delivery.payload)
        if seen is None or (station and seen.station != station):
            continue
        if seen.document["id"] not in known:
            known.add(seen.document["id"])
            yield seen


def line(seen: Seen) -> str:
    """One event as a line of rich markup."""
    data = seen.document["data"]
    colour = COLOURS.get(seen.transition, "white")
    tail = f"after {data['durationMs'] / 1000:.1f} s" if seen.transition == "cleared" else ""
    simulated = " [dim](simulated)[/]" if data.get("simulated") else ""
    return (
        f"[dim]{seen.time[11:23]}[/] [{colour}]{seen.transition:<8}[/] "
        f"{seen.modality}/{seen.condition:<9} severity {seen.severity:>4} "
        f"{data['deviceHealth']:<18} {tail}[dim] {seen.station}[/]{simulated}"
    )
