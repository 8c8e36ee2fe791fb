"""What comes in and what goes out, with the guarantee that lies between.

A courier grants stations to the pipeline with what is remembered of them, hands over deliveries,
and settles parcels: what they say is published, what they let go of need not come again, and what
they remember is kept, all three as nearly at once as the broker can.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import structlog

from stream.transports.transport import Delivery, Message, Transport, TransportError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Granted:
    """These stations are ours from here on; ``memories`` of those of which something is kept."""

    stations: Sequence[str]
    memories: Mapping[str, Mapping[str, Any]]
    grant: object


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Withdrawn:
    """These stations are ours no longer; what is still under way of them is to be dropped."""

    stations: Sequence[str]


Incoming: TypeAlias = Delivery | Granted | Withdrawn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parcel:
    """Messages to publish together, and what to let go of once the broker has them.

    ``memory`` is what ``station`` is to be remembered by from then on. What is ``urgent`` waits
    for no others. A parcel of a grant that is over is dropped.
    """

    messages: Sequence[Message] = ()
    released: Sequence[Delivery] = ()
    station: str = ""
    grant: object = None
    memory: Mapping[str, Any] | None = None
    anchor_ns: int = 0
    urgent: bool = False


class Courier(Protocol):
    """The way between a broker and a pipeline. Use it as a context."""

    remembers: bool  # whether memories are kept at all
    interval_s: float  # between two settlements, unless something is urgent
    dropped: Counter[str]  # reason -> messages that the broker did not take

    def incoming(self) -> AsyncIterator[Incoming]:
        """Yield what arrives, grants before the deliveries of their stations, until closed."""
        ...

    def holds(self, topic: str) -> bool:
        """Whether anything of a topic has left the transport and was not handed over yet."""
        ...

    async def settle(self, parcels: Sequence[Parcel]) -> None:
        """Publish, let go and remember; parcels of one station keep their order."""
        ...


class PlainCourier:
    """At least once, without a memory: acknowledged is what was published."""

    remembers = False
    interval_s = 0.0

    def __init__(self, transport: Transport, stations: Iterable[str]) -> None:
        self.dropped: Counter[str] = Counter()
        self._transport, self._stations = transport, list(stations)

    async def incoming(self) -> AsyncIterator[Incoming]:
        """Grant every station, then yield the transport's deliveries."""
        yield Granted(stations=self._stations, memories={}, grant=None)
        async for delivery in self._transport.deliveries():
            yield delivery

    def holds(self, topic: str) -> bool:
        """Nothing: what arrives is handed on."""
        return False

    async def settle(self, parcels: Sequence[Parcel]) -> None:
        """Publish everything at once, then acknowledge."""
        await publish_all(self._transport, parcels, self.dropped)
        for parcel in parcels:
            for delivery in parcel.released:
                self._transport.acknowledge(delivery)


async def publish_all(
    transport: Transport, parcels: Iterable[Parcel], dropped: Counter[str]
) -> None:
    """Return once the broker has all messages but those that it refuses, which are counted."""
    messages = [message for parcel in parcels for message in parcel.messages]
    await asyncio.gather(*(publish(transport, message, dropped) for message in messages))


async def publish(transport: Transport, message: Message, dropped: Counter[str]) -> None:
    """Publish one message; what the broker cannot take is logged and counted."""
    try:
        await transport.publish(message)
    except TransportError as error:
        dropped["unpublished"] += 1
        log.error("not published", topic=message.topic, error=str(error))
