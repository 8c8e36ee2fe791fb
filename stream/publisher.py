"""Parcels to the courier, in order, and what they took."""

import asyncio
import time
from collections.abc import Callable

from stream.courier import Courier, Parcel, publish
from stream.metrics import Metrics
from stream.transports.transport import Message, Transport

WAITING = 512  # so that a commit of many partitions, a quarter of a second, holds nobody up


class Publisher:
    """Settles parcels in the order they were put, as many at once as wait."""

    def __init__(
        self,
        courier: Courier,
        transport: Transport,
        metrics: Metrics,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._courier, self._transport = courier, transport
        self._metrics, self._now_ns = metrics, now_ns
        self._queue: asyncio.Queue[Parcel | None] = asyncio.Queue(WAITING)
        self._counted = 0

    async def put(self, parcel: Parcel) -> None:
        """Hand over a parcel; waits where the broker is far behind."""
        await self._queue.put(parcel)

    async def close(self) -> None:
        """Let ``run`` end once everything put so far is settled."""
        await self._queue.put(None)

    async def run(self) -> None:
        """Settle until closed."""
        closed = False
        while not closed:
            parcels, closed = await self._gathered()
            if parcels:
                await self._courier.settle(parcels)
            self._count_dropped()
            for parcel in parcels:
                self._measure(parcel)

    async def _gathered(self) -> tuple[list[Parcel], bool]:
        """Everything that waits, or comes before the next settlement is due; and the end."""
        loop = asyncio.get_running_loop()
        parcel = await self._queue.get()
        due_s = loop.time() + self._courier.interval_s
        parcels: list[Parcel] = []
        while parcel is not None:
            parcels.append(parcel)
            try:
                if parcel.urgent or len(parcels) >= WAITING or loop.time() >= due_s:
                    parcel = self._queue.get_nowait()
                else:  # not wait_for, which in Python 3.11 forgets to be cancelled now and then
                    async with asyncio.timeout_at(due_s):
                        parcel = await self._queue.get()
            except (TimeoutError, asyncio.QueueEmpty):
                return parcels, False
        return parcels, True

    async def publish(self, message: Message) -> None:
        """Publish one message now that no parcel depends on."""
        await publish(self._transport, message, self._courier.dropped)
        self._count_dropped()

    def _count_dropped(self) -> None:
        dropped = self._courier.dropped["unpublished"]
        self._metrics.unpublished.inc(dropped - self._counted)
        self._counted = dropped

    def _measure(self, parcel: Parcel) -> None:
        if parcel.anchor_ns:
            latency_s = (self._now_ns() - parcel.anchor_ns) / 1e9
            self._metrics.latency_s.labels(parcel.station).observe(latency_s)
