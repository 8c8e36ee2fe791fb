"""The names of the wire, version 1: what goes where on MQTT and on Kafka."""

from dataclasses import dataclass
from typing import Protocol

VERSION = "v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A topic and, on Kafka, the record's key."""

    topic: str
    key: str = ""


def kafka_key(station: str) -> str:
    """The station path joined by dots."""
    return station.replace("/", ".")


class Topics(Protocol):
    """Where each kind of message of a station goes. ``station`` is its ISA-95 path."""

    def data(self, station: str, kind: str, modality: str) -> Address:
        """Readings of one modality; ``kind`` is image or vector."""
        ...

    def latent(self, station: str) -> Address:
        """Fused latents."""
        ...

    def fault(self, station: str, modality: str, condition: str, shadow: bool = False) -> Address:
        """Fault events."""
        ...

    def fault_state(self, station: str, modality: str, condition: str) -> Address:
        """The last event of each condition."""
        ...

    def monitoring(self, station: str) -> Address:
        """The worker's own health."""
        ...

    def simulation(self, station: str) -> Address:
        """A running replay."""
        ...

    def context(self, station: str) -> Address:
        """Production context from the plant."""
        ...

    def command(self, station: str, name: str) -> Address:
        """Commands: inject, reset."""
        ...

    def truth(self, station: str) -> Address:
        """Injected faults, from simulators only."""
        ...

    def late(self, station: str) -> Address:
        """Readings that came too late."""
        ...

    def dead_letter(self, station: str) -> Address:
        """What could not be used."""
        ...


class MqttTopics:
    """One topic tree for each station."""

    def data(self, station: str, kind: str, modality: str) -> Address:
        """``…/data/image/camera``."""
        return self._under(station, f"data/{kind}/{modality}")

    def latent(self, station: str) -> Address:
        """``…/data/latent``."""
        return self._under(station, "data/latent")

    def fault(self, station: str, modality: str, condition: str, shadow: bool = False) -> Address:
        """``…/event/fault/camera/signal``; below ``shadow/`` for a shadow worker."""
        prefix = "shadow/" if shadow else ""
        return self._under(station, f"{prefix}event/fault/{modality}/{condition}")

    def fault_state(self, station: str, modality: str, condition: str) -> Address:
        """``…/state/fault/camera/signal``, retained."""
        return self._under(station, f"state/fault/{modality}/{condition}")

    def monitoring(self, station: str) -> Address:
        """``…/state/monitoring``, retained, also the last will."""
        return self._under(station, "state/monitoring")

    def simulation(self, station: str) -> Address:
        """``…/state/simulation``, retained, also the last will."""
        return self._under(station, "state/simulation")

    def context(self, station: str) -> Address:
        """``…/context``, retained."""
        return self._under(station, "context")

    def command(self, station: str, name: str) -> Address:
        """``…/command/inject``."""
        return self._under(station, f"command/{name}")

    def truth(self, station: str) -> Address:
        """``…/truth/fault``."""
        return self._under(station, "truth/fault")

    def late(self, station: str) -> Address:
        """Shared by a site."""
        return self._of_site(station, "late")

    def dead_letter(self, station: str) -> Address:
        """Shared by a site."""
        return self._of_site(station, "dlq")

    def _under(self, station: str, rest: str) -> Address:
        return Address(topic=f"{station}/_weldfusion/{VERSION}/{rest}")

    def _of_site(self, station: str, rest: str) -> Address:
        site = "/".join(station.split("/")[:2])
        return Address(topic=f"{site}/_weldfusion/{VERSION}/{rest}")


class KafkaTopics:
    """One topic for each kind of message, keyed by station."""

    def data(self, station: str, kind: str, modality: str) -> Address:
        """``weldfusion.images.v1`` or ``weldfusion.vectors.v1``."""
        return self._keyed(f"{kind}s", station)

    def latent(self, station: str) -> Address:
        """``weldfusion.latents.v1``."""
        return self._keyed("latents", station)

    def fault(self, station: str, modality: str, condition: str, shadow: bool = False) -> Address:
        """``weldfusion.faults.v1`` or ``weldfusion.shadow-faults.v1``."""
        return self._keyed("shadow-faults" if shadow else "faults", station)

    def fault_state(self, station: str, modality: str, condition: str) -> Address:
        """``weldfusion.fault-state.v1``, compacted, one key a condition."""
        key = f"{kafka_key(station)}|{modality}|{condition}"
        return Address(topic=_kafka_topic("fault-state"), key=key)

    def monitoring(self, station: str) -> Address:
        """``weldfusion.status.v1``, compacted."""
        return self._keyed("status", station)

    def simulation(self, station: str) -> Address:
        """``weldfusion.simulation.v1``, compacted."""
        return self._keyed("simulation", station)

    def context(self, station: str) -> Address:
        """``weldfusion.context.v1``, compacted."""
        return self._keyed("context", station)

    def command(self, station: str, name: str) -> Address:
        """``weldfusion.commands.v1``; the name is a header."""
        return self._keyed("commands", station)

    def truth(self, station: str) -> Address:
        """``weldfusion.truth.v1``."""
        return self._keyed("truth", station)

    def late(self, station: str) -> Address:
        """``weldfusion.late.v1``."""
        return self._keyed("late", station)

    def dead_letter(self, station: str) -> Address:
        """``weldfusion.dlq.v1``."""
        return self._keyed("dlq", station)

    def _keyed(self, name: str, station: str) -> Address:
        return Address(topic=_kafka_topic(name), key=kafka_key(station))


def _kafka_topic(name: str) -> str:
    return f"weldfusion.{name}.{VERSION}"


def topics_for(url: str) -> Topics:
    """The naming that a broker's URL asks for; memory:// uses MQTT's."""
    return KafkaTopics() if url.startswith("kafka") else MqttTopics()


def carries_readings(topic: str) -> bool:
    """Whether readings may be put there: a plant's own topics and our data topics.

    Nothing else of ours, such as commands, and nothing of the broker's own.
    """
    tree = f"/_weldfusion/{VERSION}/"
    if "/_weldfusion/" in topic:
        return topic.partition(tree)[2].startswith(("data/image/", "data/vector/"))
    if topic.startswith("weldfusion."):
        return topic in (_kafka_topic("images"), _kafka_topic("vectors"))
    return bool(topic) and not topic.startswith(("$", "__"))


CHANGELOG_TOPIC = _kafka_topic("changelog")
KAFKA_COMPACTED = tuple(
    _kafka_topic(name) for name in ("fault-state", "status", "simulation", "context", "changelog")
)
KAFKA_LOGS = tuple(
    _kafka_topic(name)
    for name in (
        "images",
        "vectors",
        "latents",
        "faults",
        "shadow-faults",
        "commands",
        "truth",
        "late",
        "dlq",
    )
)
