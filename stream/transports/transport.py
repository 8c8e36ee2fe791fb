"""What every transport offers, whatever broker stands behind it."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self


class TransportError(Exception):
    """A broker that cannot be used as asked: says which, and what to do."""


class TooLarge(TransportError):
    """A message over the broker's limit: it will never be taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Something to publish. An empty payload removes a retained or compacted value.

    ``time_ns`` is when it was received before; 0 where it is new. Only Kafka keeps it.
    """

    topic: str
    payload: bytes
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    retain: bool = False
    qos: int = 1
    expiry_s: int | None = None
    time_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """Something received. ``position`` belongs to the transport that delivered it.

    ``partition`` and ``offset`` are where a log keeps it, None where nothing is kept.
    """

    topic: str
    payload: bytes
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    broker_time_ns: int = 0
    received_ns: int = 0
    retained: bool = False
    redelivered: bool = False
    partition: int | None = None
    offset: int | None = None
    misrouted: bool = False  # in another partition than its key belongs to
    position: Any = None


class Transport(Protocol):
    """An open connection that reconnects by itself, with back-off.

    Topics are the broker's own: names and filters with ``+`` and ``#`` on MQTT and in memory,
    names and ``^`` regular expressions on Kafka.
    """

    refused: Counter[str]  # reason -> messages the transport itself had to drop
    failures: Counter[str]  # reason -> times the broker was lost, not reached, or refused us

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    @property
    def connected(self) -> bool:
        """Whether the broker answers at present."""
        ...

    async def publish(self, message: Message) -> None:
        """Return once the broker has acknowledged (QoS 0: once it was handed over).

        Messages keep the order of the calls. Raises TooLarge where one is over the broker's limit.
        """
        ...

    async def prepare(self, topics: Sequence[str]) -> None:
        """Learn what the first message to each topic would have to wait for."""
        ...

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Ask for these topics from now on; survives reconnects."""
        ...

    def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what arrives, in the broker's order for each topic and key, until closed."""
        ...

    def acknowledge(self, delivery: Delivery) -> None:
        """Say that this delivery need not come again. Kafka commits the oldest open offset."""
        ...

    def pause(self, topic: str) -> bool:
        """Stop fetching a topic for now; False where the broker knows no such thing."""
        ...

    def resume(self, topic: str) -> None:
        """Fetch a paused topic again."""
        ...

    def exhausted(self, topic: str) -> bool:
        """Whether the source has nothing more to give on this topic.

        Kafka: the position is the last stable offset; MQTT: connected and nothing queued here.
        """
        ...
