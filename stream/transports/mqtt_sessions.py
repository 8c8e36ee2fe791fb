"""One lasting MQTT session for each station, seen as one transport.

What waits for a station at the broker moves with it when the configuration gives it to another
worker; its inflight window and its last will are its own.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from math import ceil
from typing import Self

import structlog

from stream.transports.broker import BrokerConfig
from stream.transports.inbox import Inbox
from stream.transports.mqtt import MqttTransport
from stream.transports.transport import Delivery, Message

ROUND_TRIP_S = 0.05  # to a broker that is not the next one
CATCHING_UP = 10  # times as fast as the sensors
MOSQUITTOS_OWN = 20  # what a broker of 3.1.1 sends unacknowledged unless it is told otherwise
_log = structlog.get_logger(__name__)


def inflight_needed(rates_hz: Iterable[float], written_every_s: float) -> int:
    """How many messages of a station are under way between two writes, with a margin of two."""
    return ceil(2 * sum(rates_hz) * (written_every_s + ROUND_TRIP_S))


class MqttSessions:
    """A `stream.transports.transport.Transport` over one `MqttTransport` for each station.

    A topic goes through the session of the station whose path it begins with, any other through
    the first one. ``wills`` and ``inflight`` (what each needs at least) are by station.
    """

    def __init__(
        self, config: BrokerConfig, wills: Mapping[str, Message], inflight: Mapping[str, int]
    ) -> None:
        self.refused: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._inflight = inflight
        self._inbox = Inbox()
        self._sessions = {
            station: MqttTransport(
                _config_of(config, station, inflight[station]),
                will=will,
                persistent=True,
                inbox=self._inbox,
                counters=(self.refused, self.failures),
            )
            for station, will in wills.items()
        }
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opening:
            for station, session in self._sessions.items():
                await opening.enter_async_context(session)
                self._tell_need(station, session)
            self._open = opening.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._open.aclose()

    def _tell_need(self, station: str, session: MqttTransport) -> None:
        need = self._inflight[station]
        if not session.five and need > MOSQUITTOS_OWN:
            _log.warning(
                "a broker of MQTT 3.1.1 has to be told how much may be under way",
                station=station,
                max_inflight_messages=need,
            )

    @property
    def connected(self) -> bool:
        """Whether every session is."""
        return all(session.connected for session in self._sessions.values())

    async def publish(self, message: Message) -> None:
        """Return once acknowledged; see `MqttTransport.publish`."""
        await self._session_of(message.topic).publish(message)

    async def prepare(self, topics: Sequence[str]) -> None:
        """Nothing: a topic needs no preparation here."""

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Ask for these filters, each in its station's session."""
        for session in self._sessions.values():
            if mine := [topic for topic in topics if self._session_of(topic) is session]:
                await session.subscribe(mine)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what arrives in any session until closed."""
        async for delivery in self._inbox:
            yield delivery

    def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge in the session that it came in."""
        if delivery.position is not None:
            session, *_ = delivery.position
            session.acknowledge(delivery)

    def pause(self, topic: str) -> bool:
        """MQTT cannot stop a single topic."""
        return False

    def resume(self, topic: str) -> None:
        """Nothing is ever paused."""

    def exhausted(self, topic: str) -> bool:
        """Whether the broker is there and nothing of this topic or filter is queued here."""
        return self._session_of(topic).exhausted(topic)

    def _session_of(self, topic: str) -> MqttTransport:
        levels = topic.split("/")
        for depth in range(len(levels), 0, -1):
            if (session := self._sessions.get("/".join(levels[:depth]))) is not None:
                return session
        return next(iter(self._sessions.values()))


def _config_of(config: BrokerConfig, station: str, needed: int) -> BrokerConfig:
    return config.model_copy(
        update={
            "client_id": f"{config.client_id}-{station.replace('/', '.')}",
            "receive_maximum": config.receive_maximum or min(CATCHING_UP * needed, 65_535),
        }
    )
