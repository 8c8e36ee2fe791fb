"""A broker inside the process, with the semantics of MQTT: for tests and benchmarks."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Self

from stream.transports.inbox import Inbox
from stream.transports.topics import is_filter, is_name, matches
from stream.transports.transport import Delivery, Message, TooLarge, TransportError

# A publisher waits while a reader is this far behind, as an inflight window would make it.
_MOST_READY = 4096
_MOST_READY_BYTES = 64 * 1024**2

_brokers: dict[str, "MemoryBroker"] = {}


class MemoryBroker:
    """Everything that a broker remembers while clients come and go."""

    def __init__(self) -> None:
        self.retained: dict[str, Message] = {}
        self._sessions: dict[str, _Session] = {}
        self._routes: dict[str, list[_Session]] = {}

    @classmethod
    def named(cls, name: str) -> "MemoryBroker":
        """Give the broker of that name, the same one for everybody in this process."""
        return _brokers.setdefault(name, cls())

    def open(self, client_id: str, *, persistent: bool) -> "_Session":
        """Give a client its session: the one it left, or a new one."""
        session = self._sessions.get(client_id)
        if session is None or not (persistent and session.persistent):
            session = _Session(persistent=persistent)
        session.reopen()
        self._sessions[client_id] = session
        self._routes.clear()
        return session

    def leave(self, client_id: str, session: "_Session") -> None:
        """Forget a client, unless its session is persistent or was taken over."""
        session.connected = False
        if self._sessions.get(client_id) is session and not session.persistent:
            del self._sessions[client_id]
        self._routes.clear()

    def subscribe(self, session: "_Session", topics: Sequence[str]) -> None:
        """Add filters to a session; what is retained under them is delivered at once."""
        for topic_filter in topics:
            if topic_filter not in session.filters:
                session.filters.append(topic_filter)
            for topic, message in self.retained.items():
                if matches(topic_filter, topic):
                    session.deliver(message, retained=True)
        self._routes.clear()

    def publish(self, message: Message) -> list["_Session"]:
        """Deliver to every matching session; give those sessions."""
        if message.retain:
            self._retain(message)
        route = self._routes.get(message.topic)
        if route is None:
            route = [s for s in self._sessions.values() if s.wants(message.topic)]
            self._routes[message.topic] = route
        for session in route:
            session.deliver(message, retained=False)
        return route

    def _retain(self, message: Message) -> None:
        if message.payload:
            self.retained[message.topic] = message
        else:
            self.retained.pop(message.topic, None)


class _Session:
    """One client's filters, and what it has not acknowledged."""

    def __init__(self, *, persistent: bool) -> None:
        self.persistent = persistent
        self.connected = True
        self.filters: list[str] = []
        self.inbox = Inbox()
        self.drained = asyncio.Event()
        self._open: dict[int, Delivery] = {}
        self._count = 0

    @property
    def overfull(self) -> bool:
        return self.connected and self._load > 1.0

    @property
    def _load(self) -> float:
        inbox = self.inbox
        ready_bytes = inbox.size_bytes - inbox.held_bytes
        return max(inbox.ready / _MOST_READY, ready_bytes / _MOST_READY_BYTES)

    def let_publishers_go_on(self) -> None:
        """Wake waiting publishers once the reader has caught up by half."""
        if not self.drained.is_set() and self._load <= 0.5:
            self.drained.set()

    def wants(self, topic: str) -> bool:
        return any(matches(topic_filter, topic) for topic_filter in self.filters)

    def reopen(self) -> None:
        """Begin again with everything that was not acknowledged."""
        self.connected = True
        self.inbox = Inbox()
        self.drained = asyncio.Event()
        for delivery in self._open.values():
            self.inbox.put(replace(delivery, redelivered=True))

    def deliver(self, message: Message, *, retained: bool) -> None:
        if not self.connected and message.qos == 0:
            return
        self._count += 1
        now_ns = time.time_ns()
        delivery = Delivery(
            topic=message.topic,
            payload=message.payload,
            key=message.key,
            headers=_headers(message),
            broker_time_ns=message.time_ns or now_ns,
            received_ns=now_ns,
            retained=retained,
            position=self._count,
        )
        if self.persistent and message.qos > 0:
            self._open[self._count] = delivery
        if self.connected:
            self.inbox.put(delivery)

    def acknowledge(self, position: int) -> None:
        self._open.pop(position, None)


class MemoryTransport:
    """A client of the broker ``name`` in this process; topics and filters are MQTT's.

    ``publish`` waits while a connected reader is more than 4,096 messages or 64 MiB behind;
    topics that the reader paused do not count, so that it can always wait for another one.
    """

    def __init__(
        self,
        name: str = "",
        *,
        client_id: str = "",
        will: Message | None = None,
        persistent: bool = False,
        max_message_bytes: int = 4 * 1024**2,
    ) -> None:
        if persistent and not client_id:
            raise TransportError("a persistent session needs a client_id to be found again")
        self.refused: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._broker = MemoryBroker.named(name)
        self._client_id = client_id or f"anonymous-{id(self)}"
        self._will = will
        self._persistent = persistent
        self._max_message_bytes = max_message_bytes
        self._session: _Session | None = None

    async def __aenter__(self) -> Self:
        self._session = self._broker.open(self._client_id, persistent=self._persistent)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._leave()

    def crash(self) -> None:
        """Vanish as a killed process does: the broker sends the last will."""
        self._leave()
        if self._will is not None:
            self._broker.publish(self._will)

    @property
    def connected(self) -> bool:
        """Whether it is open."""
        return self._session is not None

    async def publish(self, message: Message) -> None:
        """Deliver to every subscriber; waits while another one is far behind."""
        mine = self._open_session()
        if not is_name(message.topic):
            raise TransportError(f"nothing can be published to the topic {message.topic!r}")
        if len(message.payload) > self._max_message_bytes:
            raise TooLarge(
                f"too large for {message.topic}: {len(message.payload)} bytes, "
                f"at most {self._max_message_bytes}"
            )
        for session in self._broker.publish(message):
            while session.overfull and session is not mine:
                session.drained.clear()
                await session.drained.wait()

    async def prepare(self, topics: Sequence[str]) -> None:
        """Nothing: a topic needs no preparation here."""

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Ask for these filters from now on, and for what is retained under them."""
        if wrong := [topic for topic in topics if not is_filter(topic)]:
            raise TransportError(f"not a topic filter: {', '.join(wrong)}")
        self._broker.subscribe(self._open_session(), topics)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what arrives until closed."""
        session = self._open_session()
        inbox = session.inbox
        while (delivery := await inbox.take()) is not None:
            session.let_publishers_go_on()
            yield delivery

    def acknowledge(self, delivery: Delivery) -> None:
        """Say that a persistent session need not deliver this again."""
        if self._session is not None:
            self._session.acknowledge(delivery.position)

    def pause(self, topic: str) -> bool:
        """Hold one topic back, by its name."""
        session = self._open_session()
        session.inbox.hold(topic)
        session.let_publishers_go_on()
        return True

    def resume(self, topic: str) -> None:
        """Deliver a paused topic again."""
        self._open_session().inbox.release(topic)

    def exhausted(self, topic: str) -> bool:
        """Whether nothing of this topic or filter waits to be read."""
        return self._session is not None and not self._session.inbox.holds(topic)

    def _open_session(self) -> _Session:
        if self._session is None:
            raise TransportError("the in-memory transport is not open")
        return self._session

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            self._broker.leave(self._client_id, session)
            session.inbox.close()
            session.drained.set()


def _headers(message: Message) -> dict[str, str]:
    if not message.headers and not message.content_type:
        return {}
    if not message.content_type:
        return dict(message.headers)
    return {**message.headers, "content-type": message.content_type}
