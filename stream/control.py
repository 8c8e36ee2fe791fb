"""What a worker hears besides readings: simulation state, production context, reset."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stream.alarms import Change, Condition
from stream.station import Station
from stream.topics import KafkaTopics, Topics
from stream.transports.transport import Delivery

NAME_HEADER = "name"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Channel:
    kind: str
    station: str


class Control:
    """Applies control messages to the stations that they name."""

    def __init__(self, stations: Mapping[str, Station], topics: Topics) -> None:
        self._stations = stations
        self._kafka = isinstance(topics, KafkaTopics)
        self._channels: dict[tuple[str, str], _Channel] = {}
        for station in stations:
            for kind, address in (
                ("simulation", topics.simulation(station)),
                ("context", topics.context(station)),
                ("reset", topics.command(station, "reset")),
            ):
                channel = _Channel(kind=kind, station=station)
                self._channels[(address.topic, address.key)] = channel

    def subscriptions(self) -> list[str]:
        """The topics to subscribe to beside the inputs."""
        return sorted({topic for topic, _ in self._channels})

    def concerns(self, delivery: Delivery) -> bool:
        """Whether a delivery is a control message, also for a station that is not ours."""
        return any(topic == delivery.topic for topic, _ in self._channels)

    def apply(self, delivery: Delivery) -> tuple[Station, list[Change]] | None:
        """Take a control message; return the station and the changes that a reset caused."""
        key = delivery.key if self._kafka else ""
        channel = self._channels.get((delivery.topic, key))
        if channel is None:
            return None
        station, content = self._stations[channel.station], _content(delivery.payload)
        if channel.kind == "simulation":
            station.simulation = content if isinstance(content, dict) and content else None
        elif channel.kind == "context":
            station.context = content
        elif not self._kafka or delivery.headers.get(NAME_HEADER) == "reset":
            return station, _reset(station, content)
        return station, []


def _content(payload: bytes) -> Any:
    try:
        return json.loads(payload) if payload else None
    except ValueError:
        return None


def _reset(station: Station, content: Any) -> list[Change]:
    """``{"modality": …, "condition": …}``; anything else resets nothing."""
    if not isinstance(content, dict) or content.get("condition") not in set(Condition):
        return []
    condition = Condition(content["condition"])
    return station.reset(str(content.get("modality")), condition)
