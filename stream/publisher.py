"""Messages to the broker, in order, and the acknowledgements that they allow."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from stream.metrics import Metrics
from stream.transports.transport import Delivery, Message, Transport, TransportError

log = structlog.get_logger(__name__)

WAITING = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Messages to publish together; what to acknowledge once the broker has them."""

    messages: Sequence[Message]
    released: Sequence[Delivery] = ()
    anchor_ns: int = 0
    station: str = ""


class Publisher:
    """Publishes parcels in the order they were put; several may be under way at once."""

    def __init__(
        self,
        transport: Transport,
        metrics: Metrics,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._transport, self._metrics, self._now_ns = transport, metrics, now_ns
        self._queue: asyncio.Queue[Parcel | None] = asyncio.Queue(WAITING)
        self.dropped: Counter[str] = Counter()

    async def put(self, parcel: Parcel) -> None:
        """Hand over a parcel; waits where the broker is far behind."""
        if parcel.messages or parcel.released:
            await self._queue.put(parcel)

    async def close(self) -> None:
        """Let ``run`` end once everything put so far is published."""
        await self._queue.put(None)

    async def run(self) -> None:
        """Publish until closed."""
        while (parcel := await self._queue.get()) is not None:
            parcels = [parcel, *self._waiting()]
            messages = [message for one in parcels for message in one.messages]
            await asyncio.gather(*(self.publish(message) for message in messages))
            for one in parcels:
                self._finish(one)

    def _waiting(self) -> list[Parcel]:
        """Everything that waits, up to the end of the stream."""
        found: list[Parcel] = []
        while not self._queue.empty():
            parcel = self._queue.get_nowait()
            if parcel is None:
                self._queue.put_nowait(None)
                break
            found.append(parcel)
        return found

    async def publish(self, message: Message) -> None:
        """Publish one message now; what the broker cannot take is logged and counted."""
        try:
            await self._transport.publish(message)
        except TransportError as error:
            self.dropped["unpublished"] += 1
            self._metrics.unpublished.inc()
            log.error("not published", topic=message.topic, error=str(error))

    def _finish(self, parcel: Parcel) -> None:
        for delivery in parcel.released:
            self._transport.acknowledge(delivery)
        if parcel.anchor_ns:
            latency_s = (self._now_ns() - parcel.anchor_ns) / 1e9
            self._metrics.latency_s.labels(parcel.station).observe(latency_s)
