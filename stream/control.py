"""What a worker hears besides readings: simulation state, production context, reset.

On MQTT also the retained states of its own alarms, for a worker whose journal is gone.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from stream.alarms import Change, Condition
from stream.station import Station
from stream.topics import Address, KafkaTopics, Topics
from stream.transports.transport import Delivery

NAME_HEADER = "name"
MAX_DEPTH = 32  # of a production context
MAX_BYTES = 64 << 10  # every fault event holds a copy of it


@dataclass(frozen=True, slots=True, kw_only=True)
class _Channel:
    kind: str
    station: str


def channels(station: str, topics: Topics) -> dict[str, Address]:
    """Where each kind of control message of a station comes from."""
    return {
        "simulation": topics.simulation(station),
        "context": topics.context(station),
        "reset": topics.command(station, "reset"),
    }


class Control:
    """Applies control messages to the stations that they name."""

    def __init__(self, stations: Iterable[str], topics: Topics) -> None:
        self._kafka = isinstance(topics, KafkaTopics)
        self._channels: dict[tuple[str, str], _Channel] = {}
        for station in stations:
            for kind, address in channels(station, topics).items():
                channel = _Channel(kind=kind, station=station)
                self._channels[(address.topic, address.key)] = channel
            if not self._kafka:
                states = topics.fault_state(station, "+", "+").topic
                self._channels[(states, "")] = _Channel(kind="fault-state", station=station)

    def subscriptions(self) -> list[str]:
        """The topics to subscribe to beside the inputs."""
        return sorted({topic for topic, _ in self._channels})

    def concerns(self, delivery: Delivery) -> bool:
        """Whether a delivery is a control message, also for a station that is not ours."""
        named = any(topic == delivery.topic for topic, _ in self._channels)
        return named or self._channel(delivery) is not None

    def station_of(self, delivery: Delivery) -> str:
        """Which station a control message is for, empty for one that is not ours."""
        channel = self._channel(delivery)
        return channel.station if channel else ""

    def apply(self, delivery: Delivery, station: Station) -> list[Change]:
        """Take a control message for ``station``; return the changes that a reset caused."""
        channel, content = self._channel(delivery), _content(delivery.payload)
        if channel is None:
            return []
        if channel.kind == "simulation":
            station.simulate(content if isinstance(content, dict) else None)
        elif channel.kind == "context":
            station.know(delivery.broker_time_ns or delivery.received_ns, content)
        elif channel.kind == "fault-state":
            if delivery.retained and isinstance(content, dict):
                station.adopt(content.get("data"))
        elif self._is_reset(delivery):
            return _reset(station, content)
        return []

    def _channel(self, delivery: Delivery) -> _Channel | None:
        if self._kafka:
            return self._channels.get((delivery.topic, delivery.key))
        above = delivery.topic.rsplit("/", 2)[0]
        found = self._channels.get((delivery.topic, ""))
        return found or self._channels.get((f"{above}/+/+", ""))

    def _is_reset(self, delivery: Delivery) -> bool:
        """A command that the broker kept is not given anew by every start of a worker."""
        named = not self._kafka or delivery.headers.get(NAME_HEADER) == "reset"
        return named and not delivery.retained


def _content(payload: bytes) -> Any:
    """What a message says; None for nothing, no JSON, and what is too long or too deep."""
    try:
        content = json.loads(payload) if 0 < len(payload) <= MAX_BYTES else None
        return content if _depth(content) <= MAX_DEPTH else None
    except (ValueError, RecursionError):
        return None


def _depth(node: Any) -> int:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def _reset(station: Station, content: Any) -> list[Change]:
    """``{"modality": …, "condition": …}``; anything else resets nothing."""
    if not isinstance(content, dict) or content.get("condition") not in list(Condition):
        return []
    condition = Condition(content["condition"])
    return station.reset(str(content.get("modality")), condition)
