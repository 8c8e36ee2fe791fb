"""Kafka through aiokafka, at least once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream.transports import kafka_topics
from stream.transports.broker import BrokerConfig
from stream.transports.kafka_alone import LoneReader
from stream.transports.kafka_connection import (
    FORBIDDEN,
    connection_arguments,
    has_connection,
    refusal,
)
from stream.transports.kafka_group import GroupReader
from stream.transports.kafka_log import KafkaLog
from stream.transports.kafka_reader import KafkaReader
from stream.transports.kafka_topics import COMPACTED, RECORD_OVERHEAD_BYTES
from stream.transports.kafka_writer import KafkaWriter
from stream.transports.transport import Delivery, Message, TransportError

_CONNECT_LIMIT_S = 10.0


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
        self._writer: KafkaWriter | None = None
        self._reader: KafkaReader | None = None
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
        self._writer = KafkaWriter(
            admin,
            config=self._config,
            connection=self._connection,
            ensure_topics=self.ensure_topics,
            failures=self.failures,
        )
        if self._transactional:
            self._reader = self._open_log(admin)
            await self._reader.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        admin, self._admin = self._admin, None
        writer, self._writer = self._writer, None
        self._reading.set()
        if self._reader is not None:
            await self._reader.close()
        if writer is not None:
            await writer.close()
        if admin is not None:
            await admin.close()

    @property
    def connected(self) -> bool:
        """Whether the clients in use have an open connection."""
        if self._admin is None:
            return False
        clients = [self._reader.consumer._client] if self._reader else []
        clients += [self._writer.client] if self._writer and self._writer.client else []
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
        """Return once all replicas have it; retried for as long as the broker is away.

        Messages are published in the order of the calls, many at once.
        """
        await self._open_writer().publish(message)

    async def prepare(self, topics: Sequence[str]) -> None:
        """Create what is missing, start the producer, and let it find each topic's leaders."""
        try:
            await self._open_writer().prepare(topics)
        except KafkaError as error:
            names = ", ".join(topics)
            raise TransportError(f"{self._config.url}: {names} are not ready: {error}") from error

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Read these names and ``^`` patterns from now on; returns once partitions are assigned."""
        admin = self._open_admin()
        await self.ensure_topics(topic for topic in topics if not topic.startswith("^"))
        if self._reader is None:
            kind = GroupReader if self._config.group else LoneReader
            self._reader = kind(admin, **self._reader_arguments())
            await self._reader.start()
        try:
            await self._reader.subscribe(topics)
            if not self._reading.is_set():
                await self._reader.read_once()
        except FORBIDDEN as error:
            raise TransportError(f"{self._config.url}: reading is forbidden: {error}") from error
        self._reading.set()

    def _reader_arguments(self) -> dict[str, Any]:
        group, from_beginning = self._config.group, self._from_beginning
        return {
            "connection": self._connection,
            "group": group,
            "max_message_bytes": self._config.max_message_bytes + RECORD_OVERHEAD_BYTES,
            "failures": self.failures,
            "from_beginning": bool(group) if from_beginning is None else from_beginning,
        }

    @property
    def log(self) -> KafkaLog:
        """What a transactional one reads with and commits to."""
        if not isinstance(self._reader, KafkaLog):
            raise TransportError("this connection to Kafka is not transactional, or not open")
        return self._reader

    def _open_log(self, admin: AIOKafkaAdminClient) -> KafkaLog:
        return KafkaLog(admin, **self._reader_arguments(), writer=self._open_writer())

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
            raise self._not_open()
        return self._admin

    def _open_writer(self) -> KafkaWriter:
        if self._writer is None:
            raise self._not_open()
        return self._writer

    def _not_open(self) -> TransportError:
        return TransportError(f"the connection to {self._config.url} is not open")
