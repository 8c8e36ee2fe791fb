"""MQTT 3.1.1 and 5 through paho-mqtt on its own network thread.

The callbacks run on paho's thread and only hand over; everything else happens on the event loop,
so that no state here needs a lock. What was sent gets its future in the same step of the loop as
it is published: the acknowledgement, which may be there even before ``publish()`` has returned,
is handed to a later step and always finds it.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Self

import structlog
from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from stream.transports import mqtt_packets as packets
from stream.transports.broker import BrokerConfig
from stream.transports.inbox import Inbox
from stream.transports.mqtt_subscriptions import Subscriptions
from stream.transports.topics import is_filter
from stream.transports.transport import Delivery, Message, TransportError

_CONNECT_LIMIT_S = 5.0
# QoS 0 has no flow control: beyond this the oldest unread ones are dropped and counted.
_MOST_QUEUED_BYTES = 64 * 1024**2
_SILENT = "it takes the connection and says nothing"
# amqtt, which speaks 3.1.1, waits for more where a CONNECT of MQTT 5 carries properties.
_FALL_BACK = ("Unsupported protocol version", _SILENT, packets.CLOSED)
_log = structlog.get_logger(__name__)


class MqttTransport:
    """A client of one MQTT broker; one that speaks only 3.1.1 is met with 3.1.1.

    ``persistent`` keeps the session for a day: what was not acknowledged comes again. A message
    larger than the broker's own limit is refused before it is sent where the broker tells it
    (MQTT 5); brokers of 3.1.1 close the connection instead, so set ``max_message_bytes``.
    Headers and content types travel as user properties, with MQTT 5 only.
    """

    def __init__(
        self,
        config: BrokerConfig,
        *,
        will: Message | None = None,
        persistent: bool = False,
        inbox: Inbox | None = None,
        counters: tuple[Counter[str], Counter[str]] | None = None,
    ) -> None:
        """Several may share an inbox and the counters of what was refused and what failed."""
        if persistent and not config.client_id:
            raise TransportError("a persistent session needs a client_id to be found again")
        self.refused, self.failures = counters or (Counter(), Counter())
        self.five = config.protocol == "5"  # else it is 3.1.1, which a broker may leave us
        self._config = config
        self._persistent = persistent
        self._will = will
        self._inbox = inbox or Inbox()
        self._subscriptions = Subscriptions()
        self._unacknowledged: dict[int, asyncio.Future[str]] = {}
        self._connected = False
        self._connection = 0
        self._most_packet_bytes = 0
        self._failure = "nothing answers there"
        self._first: asyncio.Future[str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Client | None = None

    async def __aenter__(self) -> Self:
        refusal = await self._connect()
        if refusal in _FALL_BACK and self.five:
            _log.info("trying MQTT 3.1.1", url=self._config.url, reason=refusal)
            self.five = False
            refusal = await self._connect()
        if refusal:
            self._inbox.close()
            reason = await packets.explained(refusal, self._config)
            raise TransportError(f"no connection to {self._config.url}: {reason}")
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._close()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection and every subscription."""
        return self._connected and self._subscriptions.all_confirmed

    async def publish(self, message: Message) -> None:
        """Return once acknowledged; QoS 0 is dropped and counted while there is no connection."""
        client = self._open_client()
        packets.check(message, self._config.max_message_bytes, self._most_packet_bytes)
        info = client.publish(
            message.topic,
            message.payload,
            qos=message.qos,
            retain=message.retain,
            properties=packets.message_properties(message) if self.five else None,
        )
        if message.qos == 0:
            if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self.refused["not_connected"] += 1
            return
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            raise TransportError(f"{self._config.url} has 65,535 messages to acknowledge already")
        if refusal := await self._acknowledgement(info.mid):
            raise TransportError(f"{self._config.url} refuses {message.topic}: {refusal}")

    async def prepare(self, topics: Sequence[str]) -> None:
        """Nothing: a topic needs no preparation here."""

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Ask for these filters with QoS 1; return once the broker has agreed."""
        self._open_client()
        if wrong := [topic for topic in topics if not is_filter(topic)]:
            raise TransportError(f"not a topic filter: {', '.join(wrong)}")
        answers = [self._subscriptions.ask(topic) for topic in topics]
        if self._connected:
            self._send_subscriptions(topics)
        for topic, answer in zip(topics, answers, strict=True):
            if refusal := await answer:
                raise TransportError(f"{self._config.url} refuses {topic}: {refusal}")

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what arrives until closed."""
        async for delivery in self._inbox:
            yield delivery

    def acknowledge(self, delivery: Delivery) -> None:
        """Acknowledge a QoS 1 delivery, unless its connection is gone and it will come again."""
        if delivery.position is None or self._client is None:
            return
        _, connection, mid = delivery.position
        if connection == self._connection and self._connected:
            self._client.ack(mid, 1)

    def pause(self, topic: str) -> bool:
        """MQTT cannot stop a single topic."""
        return False

    def resume(self, topic: str) -> None:
        """Nothing is ever paused."""

    def exhausted(self, topic: str) -> bool:
        """Whether the broker is there and nothing of this topic or filter is queued here."""
        return self.connected and not self._inbox.holds(topic)

    async def _connect(self) -> str:
        """Give "" once the broker has accepted, or why it has not; closed in that case."""
        self._loop = asyncio.get_running_loop()
        self._first = self._loop.create_future()
        self._client = self._start()
        try:
            async with asyncio.timeout(_CONNECT_LIMIT_S):
                refusal = await self._first
        except TimeoutError:
            reached = self._client.socket() is not None
            refusal = _SILENT if reached else f"{self._failure}; does the broker run?"
        except BaseException:
            await self._disconnect()
            raise
        if refusal:
            await self._disconnect()
        return refusal

    def _start(self) -> Client:
        how = {"five": self.five, "persistent": self._persistent}
        client = packets.build_client(self._config, will=self._will, **how)
        client.on_connect = self._hand_over_connect
        # It is called while the reason is being handled, but is not told it.
        client.on_connect_fail = lambda _c, _u: self._hand_over(
            self._on_failure, *packets.failure(sys.exception(), self._config)
        )
        client.on_disconnect = lambda _c, _u, _flags, reason, _p: self._hand_over(
            self._on_disconnect, str(reason)
        )
        client.on_message = lambda _c, _u, message: self._hand_over(
            self._on_message, message, time.time_ns()
        )
        client.on_publish = lambda _c, _u, mid, reason, _p: self._hand_over(
            self._on_publish, mid, _refusal(reason)
        )
        client.on_subscribe = lambda _c, _u, mid, reasons, _p: self._hand_over(
            self._on_subscribe, mid, reasons
        )
        packets.connect(client, self._config, **how)
        client.loop_start()
        return client

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        self._connected = False
        if client is not None:
            client.disconnect()
            # It joins the network thread, which may be waiting for its next attempt to connect.
            await asyncio.to_thread(client.loop_stop)
        self._loop = None

    async def _close(self) -> None:
        await self._disconnect()
        self._inbox.close()
        self._subscriptions.close("the connection was closed")
        for mid in list(self._unacknowledged):
            self._on_publish(mid, "the connection was closed")

    def _open_client(self) -> Client:
        if self._client is None:
            raise TransportError(f"the connection to {self._config.url} is not open")
        return self._client

    async def _acknowledgement(self, mid: int) -> str:
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._unacknowledged[mid] = answer
        return await answer

    def _send_subscriptions(self, topics: Sequence[str]) -> None:
        if topics and self._client is not None:
            _, mid = self._client.subscribe([(topic, 1) for topic in topics])
            if mid is not None:
                self._subscriptions.sent(mid, tuple(topics))

    # On the event loop, in the order of the network thread.

    def _on_connect(self, session_present: bool, refusal: str, most_bytes: int) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_result(refusal)
        elif refusal:
            self._note("refused", "the broker refuses", reason=refusal)
        if refusal:
            return
        self._connection += 1
        self._connected = True
        self._most_packet_bytes = most_bytes
        if session_present:
            # The broker sends these once more, in their order and with new numbers.
            self._inbox.drop(lambda one: one.position is not None and one.position[0] is self)
        else:
            self._subscriptions.session_lost()
        self._send_subscriptions(self._subscriptions.unconfirmed())

    def _on_failure(self, reason: str, final: bool) -> None:
        if self._first is None or self._first.done():
            self._note("unreached", "no connection", reason=reason)
            return
        self._failure = reason
        if final:
            self._first.set_result(reason)

    def _on_disconnect(self, reason: str) -> None:
        if self._first is not None and not self._first.done():
            self._first.set_result(packets.CLOSED)
        elif self._connected:
            self._note("lost", "connection lost", reason=reason)
        self._connected = False
        self._subscriptions.connection_lost()

    def _on_subscribe(self, mid: int, reasons: list[ReasonCode]) -> None:
        for topic, refusal in self._subscriptions.answer(mid, reasons).items():
            self._note("subscription", "subscription refused", topic=topic, reason=refusal)

    def _note(self, failure: str, event: str, **facts: str) -> None:
        if self._client is not None:
            self.failures[failure] += 1
            _log.warning(event, url=self._config.url, **facts)

    def _on_message(self, message: MQTTMessage, received_ns: int) -> None:
        self._inbox.put(
            Delivery(
                topic=message.topic,
                payload=bytes(message.payload),
                headers=packets.headers(message.properties),
                received_ns=received_ns,
                retained=message.retain,
                redelivered=message.dup,
                position=(self, self._connection, message.mid) if message.qos else None,
            )
        )
        while self._inbox.size_bytes > _MOST_QUEUED_BYTES:
            if not self._inbox.drop_oldest(lambda delivery: delivery.position is None):
                return
            self.refused["overflow"] += 1

    def _on_publish(self, mid: int, refusal: str) -> None:
        answer = self._unacknowledged.pop(mid, None)
        if answer is not None and not answer.done():
            answer.set_result(refusal)

    # On paho's thread.

    def _hand_over(self, callback: Callable[..., None], *arguments: object) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(callback, *arguments)

    def _hand_over_connect(
        self,
        _client: Client,
        _userdata: Any,
        flags: ConnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        most_bytes = getattr(properties, "MaximumPacketSize", 0)
        self._hand_over(self._on_connect, flags.session_present, _refusal(reason), most_bytes)


def _refusal(reason: ReasonCode) -> str:
    return str(reason) if reason.is_failure else ""
