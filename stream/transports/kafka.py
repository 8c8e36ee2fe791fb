"""Kafka through aiokafka, at least once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    BrokerResponseError,
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    RecordListTooLargeError,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)

from stream.transports import kafka_topics
from stream.transports.broker import BrokerConfig
from stream.transports.kafka_connection import (
    FORBIDDEN,
    connection_arguments,
    has_connection,
    partition_for,
    record_headers,
    refusal,
)
from stream.transports.kafka_log import KafkaLog
from stream.transports.kafka_reader import KafkaReader
from stream.transports.kafka_topics import COMPACTED, RECORD_OVERHEAD_BYTES, Topic
from stream.transports.transport import Delivery, Message, TransportError

_CONNECT_LIMIT_S = 10.0
_BACK_OFF_S = (0.25, 8.0)
# Small records are joined up to this size while a request is under way; nothing waits for it.
_BATCH_BYTES = 128 * 1024
_NEEDS_NEW_PRODUCER = (
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    OutOfOrderSequenceNumber,
    UnknownProducerId,
)
_log = structlog.get_logger(__name__)


class KafkaTransport:
    """A client of a Kafka cluster.

    With ``group`` in the configuration the partitions are shared with its other members and the
    oldest unacknowledged offset is committed every 100 ms; without one every partition is read
    and nothing committed. Compacted topics are always read from their beginning. Topics named in
    ``subscribe`` or ``publish`` are created where they are missing, with ``partitions``.
    """

    def __init__(
        self,
        config: BrokerConfig,
        *,
        from_beginning: bool | None = None,
        transactional: bool = False,
    ) -> None:
        self.refused: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self._config = config
        self._from_beginning = from_beginning
        self._transactional = transactional
        self._connection: dict[str, Any] = {}
        self._admin: AIOKafkaAdminClient | None = None
        self._producer: AIOKafkaProducer | None = None
        self._reader: KafkaReader | None = None
        self._topics: dict[str, Topic] = {}
        self._making = asyncio.Lock()
        self._reading = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._connection = connection_arguments(self._config)
        admin = AIOKafkaAdminClient(**self._connection)
        try:
            async with asyncio.timeout(_CONNECT_LIMIT_S):
                await admin.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await admin.close()
            reason = await refusal(self._config, self._connection)
            reason = reason or f"{str(error) or 'no answer'}; does the broker run?"
            raise TransportError(f"no connection to {self._config.url}: {reason}") from error
        self._admin = admin
        if self._transactional:
            self._reader = self._open_log(admin)
            await self._reader.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        admin, self._admin = self._admin, None
        self._reading.set()
        if self._reader is not None:
            await self._reader.close()
        if self._producer is not None:
            with suppress(KafkaError):
                await self._producer.stop()
        if admin is not None:
            await admin.close()

    @property
    def connected(self) -> bool:
        """Whether the clients in use have an open connection."""
        if self._admin is None:
            return False
        clients = [self._reader.consumer._client] if self._reader else []
        clients += [self._producer.client] if self._producer else []
        return all(has_connection(client) for client in clients or [self._admin._client])

    async def ensure_topics(
        self,
        topics: Iterable[str],
        *,
        partitions: int | None = None,
        compacted: Iterable[str] = COMPACTED,
    ) -> None:
        """Create what is missing of these topics; those in ``compacted`` keep each key's newest.

        Raises TransportError where the broker refuses.
        """
        admin = self._open_admin()
        names = set(topics)
        known = await kafka_topics.describe(admin, sorted(names))
        try:
            await kafka_topics.create(
                admin,
                sorted(names - known.keys()),
                partitions=partitions or self._config.partitions,
                compacted=compacted,
                max_message_bytes=self._config.max_message_bytes,
            )
        except TransportError as error:
            raise TransportError(f"{self._config.url}: {error}") from error

    async def publish(self, message: Message) -> None:
        """Return once all replicas have it; retried for as long as the broker is away."""
        self._open_admin()
        key = message.key.encode() or None
        value = message.payload if message.payload or key is None else None
        delay_s = _BACK_OFF_S[0]
        while True:
            producer = self._producer
            try:
                producer = await self._made_ready(message)
                await producer.send_and_wait(
                    message.topic, value, key, headers=record_headers(message)
                )
                return
            except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
                raise TransportError(f"too large for {message.topic}: {error}") from error
            except KafkaError as error:
                if self._admin is None or _is_final(error):
                    raise TransportError(
                        f"{self._config.url} refuses {message.topic}: {error}"
                    ) from error
                self.failures["publish"] += 1
                _log.warning("to be published again", topic=message.topic, reason=repr(error))
                if isinstance(error, UnknownTopicOrPartitionError):
                    self._topics.pop(message.topic, None)
                else:
                    await self._give_up(producer)
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _BACK_OFF_S[1])

    async def prepare(self, topics: Sequence[str]) -> None:
        """Create what is missing, start the producer, and let it find each topic's leaders."""
        if all(topic in self._topics for topic in topics):
            return
        async with self._making:
            for topic in topics:
                await self._learn(topic)

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Read these names and ``^`` patterns from now on; returns once partitions are assigned."""
        admin = self._open_admin()
        await self.ensure_topics(topic for topic in topics if not topic.startswith("^"))
        if self._reader is None:
            self._reader = KafkaReader(admin, **self._reader_arguments())
            await self._reader.start()
        try:
            await self._reader.subscribe(topics)
            if not self._reading.is_set():
                await self._reader.read_once()
        except FORBIDDEN as error:
            raise TransportError(f"{self._config.url}: reading is forbidden: {error}") from error
        self._reading.set()

    def _reader_arguments(self) -> dict[str, Any]:
        return {
            "connection": self._connection,
            "group": self._config.group,
            "max_message_bytes": self._config.max_message_bytes + RECORD_OVERHEAD_BYTES,
            "failures": self.failures,
            "from_beginning": self._from_beginning,
        }

    @property
    def log(self) -> KafkaLog:
        """What a transactional one reads with and commits to."""
        if not isinstance(self._reader, KafkaLog):
            raise TransportError("this connection to Kafka is not transactional, or not open")
        return self._reader

    def _open_log(self, admin: AIOKafkaAdminClient) -> KafkaLog:
        return KafkaLog(
            admin,
            **self._reader_arguments(),
            producer_arguments=self._producer_arguments(),
            prepare=self.prepare,
            refusal=self._refusal,
        )

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield what arrives, in the order of each partition, until closed."""
        await self._reading.wait()
        while self._reader is not None and (delivery := await self._reader.next()) is not None:
            yield delivery

    def acknowledge(self, delivery: Delivery) -> None:
        """Let the next commit pass this delivery, once all before it are acknowledged."""
        if self._reader is not None:
            self._reader.acknowledge(delivery)

    def pause(self, topic: str) -> bool:
        """Stop fetching a topic, or those of a pattern."""
        if self._reader is not None:
            self._reader.pause(topic)
        return self._reader is not None

    def resume(self, topic: str) -> None:
        """Fetch a paused topic again."""
        if self._reader is not None:
            self._reader.resume(topic)

    def exhausted(self, topic: str) -> bool:
        """Whether every partition of the topic was read up to its last stable offset."""
        return self._reader is not None and self.connected and self._reader.exhausted(topic)

    def _open_admin(self) -> AIOKafkaAdminClient:
        if self._admin is None:
            raise TransportError(f"the connection to {self._config.url} is not open")
        return self._admin

    async def _made_ready(self, message: Message) -> AIOKafkaProducer:
        """The producer, once the topic is known and takes the message.

        Calls pass in their order: while a topic is learnt, none overtakes another.
        """
        async with self._making:
            topic = self._topics.get(message.topic) or await self._learn(message.topic)
            self._check(message, topic)
            return await self._open_producer()

    def _check(self, message: Message, topic: Topic) -> None:
        most = self._config.max_message_bytes
        if topic.max_message_bytes is not None:
            overhead = len(message.key) + sum(map(len, message.headers.values())) + 512
            most = min(most, max(topic.max_message_bytes - overhead, 0))
        if len(message.payload) > most:
            raise TransportError(
                f"too large for {message.topic}: {len(message.payload)} bytes, at most {most}"
            )

    async def _learn(self, name: str) -> Topic:
        admin = self._open_admin()
        await self.ensure_topics([name])
        topics = await kafka_topics.describe(admin, [name])
        if name not in topics:
            raise UnknownTopicOrPartitionError(f"the topic {name} was just created")
        producer = await self._open_producer()
        # All at once: told of one topic, it forgets those it was not told of.
        await producer.client.set_topics([*self._topics, name])
        await producer.partitions_for(name)  # or each message would ask, and some overtake others
        self._topics[name] = topics[name]
        return topics[name]

    async def _open_producer(self) -> AIOKafkaProducer:  # within self._making
        if self._producer is None:
            producer = self._new_producer()
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    def _new_producer(self) -> AIOKafkaProducer:
        return AIOKafkaProducer(**self._producer_arguments())

    def _producer_arguments(self) -> dict[str, Any]:
        return {
            **self._connection,
            "enable_idempotence": True,
            "acks": "all",
            "linger_ms": 0,
            "max_batch_size": _BATCH_BYTES,
            "max_request_size": self._config.max_message_bytes + RECORD_OVERHEAD_BYTES,
            "partitioner": partition_for,
        }

    def _refusal(self, message: Message) -> str:
        topic = self._topics.get(message.topic)
        try:
            if topic is not None:
                self._check(message, topic)
        except TransportError as error:
            return str(error)
        return ""

    async def _give_up(self, producer: Any) -> None:
        # After a fatal error it never sends again. Others that failed with it come here as well.
        if self._producer is None or self._producer is not producer:
            return
        self._producer = None
        self._topics.clear()  # its successor has yet to find their leaders
        with suppress(KafkaError):
            await producer.stop()


def _is_final(error: KafkaError) -> bool:
    """Whether the broker would answer the same to any producer."""
    return (
        isinstance(error, BrokerResponseError)
        and not error.retriable
        and not isinstance(error, _NEEDS_NEW_PRODUCER)
    )
