"""An MQTT broker with one lasting session, in memory; its link can be cut, and lose answers."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from stream.transports.transport import Delivery, Message

INFLIGHT = 20  # what Mosquitto sends unacknowledged unless it is told otherwise
TRAVELS_S = 0.002


@dataclass(slots=True)
class Post:
    """Everything that the broker keeps. ``trouble`` is the share of answers that are lost."""

    random: np.random.Generator
    trouble: float = 0.0
    waiting: deque[Message] = field(default_factory=deque)
    open: dict[int, Message] = field(default_factory=dict)  # sent, by number, not acknowledged
    outputs: list[Message] = field(default_factory=list)
    client: "Client | None" = None
    away: bool = False
    calm: bool = False  # the story is over: whoever is started now is left alone
    sent: int = 0

    def post(self, message: Message) -> None:
        """Keep what the plant sends for the session."""
        self.waiting.append(message)
        self.give()

    def give(self) -> None:
        """Send what the inflight window allows."""
        while self.client is not None and not self.away:
            if not self.waiting or len(self.open) >= INFLIGHT:
                return
            self.sent += 1
            self.open[self.sent] = self.waiting.popleft()
            self.client.arrive(self.sent, self.open[self.sent], redelivered=False)

    def cut(self, away: bool) -> None:
        """Cut the link, or mend it: then everything unacknowledged is sent again."""
        self.away = away
        if not away and self.client is not None:
            self.client.connect()

    def travels_s(self) -> float:
        """How long a packet takes."""
        return float(TRAVELS_S * (1 + self.random.random()))


class Client:
    """One worker's connection: a `stream.transports.transport.Transport`."""

    def __init__(self, post: Post) -> None:
        self.refused: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._post = post
        self._inbox: asyncio.Queue[Delivery] = asyncio.Queue()
        self._inside: Counter[str] = Counter()
        self._connection = 0
        self._outgoing: list[tuple[Message, asyncio.Future[None]]] = []
        self._work = asyncio.Event()

    def connect(self) -> None:
        """Take the session over: what was not acknowledged comes again, and goes out again."""
        self._connection += 1
        self._inbox, self._inside = asyncio.Queue(), Counter()
        self._post.client = self
        for number, message in self._post.open.items():
            self.arrive(number, message, redelivered=True)
        self._post.give()
        self._work.set()

    def arrive(self, number: int, message: Message, *, redelivered: bool) -> None:
        """Take what the broker sends."""
        delivery = Delivery(
            topic=message.topic,
            payload=message.payload,
            headers=message.headers,
            redelivered=redelivered,
            position=(self._connection, number),
        )
        self._inside[delivery.topic] += 1
        self._inbox.put_nowait(delivery)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        while True:
            try:
                async with asyncio.timeout(0.05):  # a lost connection takes its inbox with it
                    delivery = await self._inbox.get()
            except TimeoutError:
                continue
            self._inside[delivery.topic] -= 1
            yield delivery

    def acknowledge(self, delivery: Delivery) -> None:
        asyncio.get_running_loop().call_later(
            self._post.travels_s(), self._acknowledged, *delivery.position
        )

    def _acknowledged(self, connection: int, number: int) -> None:
        if connection == self._connection and not self._post.away:
            self._post.open.pop(number, None)
            self._post.give()

    async def publish(self, message: Message) -> None:
        if message.qos == 0 and self._post.away:
            self.refused["not_connected"] += 1
            return
        answered = asyncio.get_running_loop().create_future()
        self._outgoing.append((message, answered))
        self._work.set()
        await answered

    async def send(self) -> None:
        """Carry what is published for ever, in its order; what had no answer is sent again."""
        while True:
            await self._work.wait()
            self._work.clear()
            await asyncio.sleep(self._post.travels_s())
            if self._post.away:
                continue
            connection, batch = self._connection, list(self._outgoing)
            self._post.outputs += [message for message, _ in batch]
            if batch and self._post.random.random() < self._post.trouble:
                self.connect()
            await asyncio.sleep(self._post.travels_s())
            if connection == self._connection and not self._post.away:
                del self._outgoing[: len(batch)]
                for _, answered in batch:
                    answered.set_result(None)
            if self._outgoing:
                self._work.set()

    @property
    def connected(self) -> bool:
        return not self._post.away

    async def prepare(self, topics: Sequence[str]) -> None:
        """Nothing."""

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Everything is read."""

    def pause(self, topic: str) -> bool:
        return False

    def resume(self, topic: str) -> None:
        """Nothing is paused."""

    def exhausted(self, topic: str) -> bool:
        return self.connected and not self._inside[topic]
