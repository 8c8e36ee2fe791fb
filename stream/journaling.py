"""MQTT with a journal: no event is lost, and what is told twice has the same id.

A delivery is acknowledged once the journal holds it, so that the broker's inflight window never
waits for a window of ours. What the journal remembers of a station is as of what is published.
What the broker sends again although the journal has had it is told from news by its digest.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, Self

from stream.courier import Granted, Incoming, Parcel, publish_all
from stream.journal import MOST_KNOWN, Journal, digest
from stream.transports.transport import Delivery, Transport

WRITE_EVERY_S = 0.05


class JournalCourier:
    """At least once for a broker that keeps nothing it has had an acknowledgement for."""

    remembers = True
    interval_s = 0.0

    def __init__(self, transport: Transport, journal: Journal, stations: Iterable[str]) -> None:
        self.dropped: Counter[str] = Counter()
        self._transport, self._journal, self._stations = transport, journal, list(stations)
        self._numbers: dict[Delivery, int] = {}  # of everything that is still open
        self._known: dict[bytes, None] = {}  # digests of the newest deliveries, oldest first
        self._unwritten: dict[int, bytes] = {}  # those that the journal does not have yet
        self._next = count(1)
        self._new: list[Delivery] = []  # not yet acknowledged
        self._coming: Counter[str] = Counter()  # kept, and not handed over yet, by topic
        self._gone: set[int] = set()
        self._memories: dict[str, Mapping[str, Any]] = {}
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write_regularly())
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        await self._write()

    async def incoming(self) -> AsyncIterator[Incoming]:
        """Grant every station with its memory, then yield what is kept, then what arrives."""
        await asyncio.to_thread(self._journal.forget_others, self._stations)
        kept = await asyncio.to_thread(self._journal.read)
        self._known = dict.fromkeys(kept.known.values())
        self._next = count(max([*kept.deliveries, *kept.known], default=0) + 1)
        self._coming.update(one.topic for one in kept.deliveries.values())
        yield Granted(stations=self._stations, memories=kept.memories, grant=None)
        for number, delivery in kept.deliveries.items():
            self._numbers[delivery] = number
            self._coming[delivery.topic] -= 1
            yield delivery
        async for delivery in self._transport.deliveries():
            self._new.append(delivery)
            if self._is_news(delivery):
                yield delivery
            else:
                self.dropped["redelivered"] += 1

    def _is_news(self, delivery: Delivery) -> bool:
        """Whether a delivery has not been taken in before, and number it if so."""
        said = digest(delivery)
        if delivery.redelivered and said in self._known:
            return False
        number = next(self._next)
        self._numbers[delivery] = number
        self._unwritten[number] = said
        self._known.pop(said, None)
        self._known[said] = None
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        return True

    def holds(self, topic: str) -> bool:
        """Whether the journal has more of a topic to give."""
        return self._coming[topic] > 0

    async def settle(self, parcels: Sequence[Parcel]) -> None:
        """Publish; the next write lets go of the deliveries and remembers the stations."""
        await publish_all(self._transport, parcels, self.dropped)
        for parcel in parcels:
            for delivery in parcel.released:
                self._gone.add(self._numbers.pop(delivery))
            if parcel.memory is not None:
                self._memories[parcel.station] = parcel.memory

    async def _write_regularly(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self._write()

    async def _write(self) -> None:
        """Write what has changed, then acknowledge what arrived until then."""
        arrived, self._new = self._new, []
        gone, self._gone = self._gone, set()
        memories, self._memories = self._memories, {}
        known, self._unwritten = self._unwritten, {}
        if not (arrived or gone or memories):
            return
        new = {number: one for one in arrived if (number := self._numbers.get(one)) is not None}
        await asyncio.to_thread(self._journal.write, new, gone, memories, known)
        for delivery in arrived:
            self._transport.acknowledge(delivery)
