"""What has arrived and was not yet handed to the reader."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable

from stream.transports.topics import matches
from stream.transports.transport import Delivery


class Inbox:
    """A queue for one reader, on one event loop, that can hold back single topics.

    ``size_bytes`` counts the payloads of everything inside, ``held_bytes`` those of held topics.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self.held_bytes = 0
        self._ready: deque[Delivery] = deque()
        self._held: dict[str, deque[Delivery]] = {}
        self._inside: Counter[str] = Counter()
        self._reader: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def ready(self) -> int:
        """How many deliveries the reader could take at once."""
        return len(self._ready)

    def put(self, delivery: Delivery) -> None:
        """Add what arrived, after everything of its topic."""
        self.size_bytes += len(delivery.payload)
        self._inside[delivery.topic] += 1
        held = self._held.get(delivery.topic) if self._held else None
        if held is not None:
            held.append(delivery)
            self.held_bytes += len(delivery.payload)
            return
        self._ready.append(delivery)
        self._wake()

    async def take(self) -> Delivery | None:
        """Give the oldest delivery that is not held back, waiting for one; None once closed."""
        while not self._ready:
            if self._closed:
                return None
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        delivery = self._ready.popleft()
        self._forget(delivery)
        return delivery

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        while (delivery := await self.take()) is not None:
            yield delivery

    def holds(self, topic_filter: str) -> bool:
        """Whether anything of these topics is inside, held back or not."""
        return any(matches(topic_filter, topic) for topic in self._inside)

    def hold(self, topic: str) -> None:
        """Keep a topic from the reader until it is released."""
        if topic not in self._held:
            self._held[topic] = deque(d for d in self._ready if d.topic == topic)
            self.held_bytes += _size(self._held[topic])
            self._ready = deque(d for d in self._ready if d.topic != topic)

    def release(self, topic: str) -> None:
        """Hand a topic to the reader again, what was held back first."""
        released = self._held.pop(topic, deque())
        self.held_bytes -= _size(released)
        self._ready.extend(released)
        if self._ready:
            self._wake()

    def drop(self, unwanted: Callable[[Delivery], bool]) -> int:
        """Remove every delivery that is unwanted; give their number."""
        dropped = 0
        for queue in (self._ready, *self._held.values()):
            kept = []
            for delivery in queue:
                if unwanted(delivery):
                    self._forget(delivery)
                    dropped += 1
                else:
                    kept.append(delivery)
            queue.clear()
            queue.extend(kept)
        self.held_bytes = sum(_size(queue) for queue in self._held.values())
        return dropped

    def drop_oldest(self, unwanted: Callable[[Delivery], bool]) -> bool:
        """Remove the oldest delivery that is unwanted; False where there is none."""
        for index, delivery in enumerate(self._ready):
            if unwanted(delivery):
                del self._ready[index]
                self._forget(delivery)
                return True
        return False

    def close(self) -> None:
        """End the reader's iteration once nothing is left that it could take."""
        self._closed = True
        self._wake()

    def _forget(self, delivery: Delivery) -> None:
        self.size_bytes -= len(delivery.payload)
        topic = delivery.topic
        if self._inside[topic] == 1:
            del self._inside[topic]
        else:
            self._inside[topic] -= 1

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)


def _size(deliveries: Iterable[Delivery]) -> int:
    return sum(len(delivery.payload) for delivery in deliveries)
