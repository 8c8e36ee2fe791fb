"""A Kafka consumer group whose members commit in transactions: one producer a partition number.

All inputs have equally many partitions and are keyed by station, so that everything of a station
lies in one partition number. The producer's transactional id is the group and that number: whoever
starts it fences the one before, which is what stops a member that the group has given up already.
"""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from stream.exactly_once import Assigned, Claimed, LogError, LogEvent
from stream.topics import CHANGELOG_TOPIC, kafka_key
from stream.transports.kafka_connection import partition_for, record_headers
from stream.transports.kafka_group import GroupReader
from stream.transports.kafka_offsets import PartitionOffsets
from stream.transports.kafka_reader import POLL_MS
from stream.transports.kafka_topics import describe
from stream.transports.kafka_writer import KafkaWriter, stopped
from stream.transports.transport import Delivery, Message, TransportError

SESSION_TIMEOUT_MS = 6_000  # a member that is silent for longer loses its partitions
TRANSACTION_TIMEOUT_MS = 15_000
CLAIM_LIMIT_S = 20.0
COMMIT_LIMIT_S = 5.0  # then the number is claimed anew


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Token:
    """What one claim commits with; ``topics`` are those that its producer follows."""

    number: int
    producer: AIOKafkaProducer
    topics: set[str] = field(default_factory=set)


class KafkaLog(GroupReader):
    """One member of a group: a `stream.exactly_once.Log`."""

    def __init__(
        self,
        *args: Any,
        connection: Mapping[str, Any],
        group: str,
        writer: KafkaWriter,
        **more: Any,
    ) -> None:
        """``writer`` knows the topics and what every producer is told."""
        self._connection, self._writer = connection, writer
        super().__init__(*args, connection=connection, group=group, **more)
        self._events: deque[LogEvent] = deque()
        self._begun: dict[int, Mapping[str, int]] = {}
        self._producers: dict[int, AIOKafkaProducer] = {}
        self._numbers: list[int] = []
        self._state: set[str] = set()

    def _options(self) -> dict[str, Any]:
        return {
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            "heartbeat_interval_ms": SESSION_TIMEOUT_MS // 4,
            # who comes back by this name need not wait until the group has given up the one before
            "group_instance_id": f"{self._connection['client_id']}@{socket.gethostname()}",
        }

    async def start(self) -> None:
        """Connect; nothing is committed but in transactions."""
        await self.consumer.start()

    async def close(self) -> None:
        """Leave the group; what is not committed comes again."""
        self._closed = True
        await asyncio.gather(*(stopped(one) for one in self._producers.values()))
        await self.consumer.stop()
        self.inbox.close()

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Read these too. Raises TransportError where their partitions do not fit together."""
        names = [topic for topic in topics if not topic.startswith("^")]
        await self._writer.prepare([CHANGELOG_TOPIC])
        found = await describe(self._admin, [*names, CHANGELOG_TOPIC])
        self._state |= {topic.name for topic in found.values() if topic.compacted}
        counts = {topic.name: len(topic.partitions) for topic in found.values()}
        if len(set(counts.values())) > 1:
            told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
            raise TransportError(f"these topics need equally many partitions: {told}")
        self._numbers = list(range(next(iter(counts.values()))))
        await super().subscribe(topics)

    def number_of(self, station: str) -> int:
        """The partition number of a station's inputs."""
        return partition_for(kafka_key(station).encode(), self._numbers, self._numbers)

    async def next(self) -> LogEvent | None:  # type: ignore[override]
        """What comes next; None once closed."""
        while True:
            if self._events:
                return self._events.popleft()
            if self.inbox.ready:
                return await self.inbox.take()
            if not await self._fetched(POLL_MS / 1000):
                return None

    async def read_once(self) -> None:
        """Nothing: a number is read once it is claimed."""

    # Whose a partition number is

    async def claim(self, number: int) -> Claimed:
        """Start this number's producer, which fences the one before, and read what it committed."""
        old = self._producers.pop(number, None)
        try:
            async with asyncio.timeout(CLAIM_LIMIT_S):
                if old is not None:
                    await stopped(old)
                producer = await self._started(number)
                changelog = await self._changelog(number)
                committed = await self._committed(number)
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogError(repr(error)) from error
        self._producers[number] = producer
        token = Token(number=number, producer=producer)
        return Claimed(changelog=changelog, committed=committed, token=token)

    async def _started(self, number: int) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._writer.producer_arguments,
            transactional_id=f"{self._group}-{number}",
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        )
        try:
            await producer.start()
        except BaseException:
            await stopped(producer)
            raise
        return producer

    async def _changelog(self, number: int) -> dict[str, bytes]:
        partition, values = TopicPartition(CHANGELOG_TOPIC, number), dict[str, bytes]()
        async with _alone(self._connection, partition) as consumer:
            end = (await consumer.end_offsets([partition]))[partition]
            # not seek_to_beginning, which now and then came second to the reset to the end
            consumer.seek(partition, (await consumer.beginning_offsets([partition]))[partition])
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(timeout_ms=POLL_MS)).values():
                    for record in records:
                        group, _, key = (record.key or b"").decode().partition("|")
                        if group == self._group:
                            values[key] = record.value
        return {key: value for key, value in values.items() if value is not None}

    async def _committed(self, number: int) -> dict[str, int]:
        mine = [one for one in self.consumer.assignment() if one.partition == number]
        found = {one.topic: await self.consumer.committed(one) for one in mine}
        return {topic: offset for topic, offset in found.items() if offset is not None}

    def begin(self, number: int, offsets: Mapping[str, int]) -> None:
        """Deliver a claimed number from these offsets on."""
        self._forget(number)
        self._begun[number] = offsets

    def end(self, number: int) -> None:
        """Deliver no more of a number."""
        self._begun.pop(number, None)
        self._forget(number)

    def _forget(self, number: int) -> None:
        self._offsets = {
            one: kept for one, kept in self._offsets.items() if one.partition != number
        }
        self._placed = {one for one in self._placed if one.partition != number}
        self.inbox.drop(lambda delivery: delivery.partition == number)

    # Reading

    async def _on_revoked(self) -> None:
        self._placed.clear()

    def _on_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        super()._on_assigned(assigned)
        self._events.append(Assigned(numbers=frozenset(one.partition for one in assigned)))

    async def _place(self) -> None:
        """Seek in the partitions of numbers that were begun; nothing is read of the others."""
        for partition in self.consumer.assignment() - self._placed:
            begun = self._begun.get(partition.partition)
            if begun is None:
                continue
            known = self._offsets.get(partition)
            if known is None and partition.topic in self._state:
                known = await self._whole(partition)
            elif known is None:
                offset = begun.get(partition.topic)
                if offset is None:
                    offset = await self._edge(partition, earliest=True)
                known = PartitionOffsets(offset)
            if self._begun.get(partition.partition) is begun:
                self._seek(partition, known)

    def _delivery(self, offsets: PartitionOffsets, record: ConsumerRecord, now_ns: int) -> Delivery:
        delivery = super()._delivery(offsets, record, now_ns)
        offsets.acknowledge(record.offset)  # what is open is no concern of the reader here
        if record.topic in self._state:
            return replace(delivery, offset=None)  # state is read anew each time
        belongs = partition_for(record.key, self._numbers, [record.partition])
        return delivery if belongs == record.partition else replace(delivery, misrouted=True)

    # Writing

    def changelog_message(self, key: str, value: bytes) -> Message:
        """What keeps ``value`` under ``key`` for this group."""
        return Message(topic=CHANGELOG_TOPIC, key=f"{self._group}|{key}", payload=value)

    def refusal_of(self, message: Message) -> str:
        """Why a message can never be published; empty where it can."""
        return self._writer.refusal(message)

    async def commit(
        self, token: object, messages: Sequence[Message], offsets: Mapping[str, int]
    ) -> None:
        """Publish and commit in one transaction, or raise LogError.

        What failed is not aborted here: whoever claims the number next does that, if only we.
        """
        assert isinstance(token, Token)
        kept = {
            TopicPartition(topic, token.number): offset
            for topic, offset in offsets.items()
            if topic not in self._state
        }
        try:
            async with asyncio.timeout(COMMIT_LIMIT_S):
                await self._follow(token, {message.topic for message in messages})
                await token.producer.begin_transaction()
                # Offsets first: Kafka refuses records that arrive while it adds a group.
                if kept:
                    await token.producer.send_offsets_to_transaction(kept, self._group)
                sent = [await self._send(token, message) for message in messages]
                await asyncio.gather(*sent)
                await token.producer.commit_transaction()
        except (KafkaError, TimeoutError, OSError) as error:
            raise LogError(repr(error)) from error

    async def _follow(self, token: Token, topics: set[str]) -> None:
        """Have topics, and have the producer know of them before it holds any record.

        Told of a first topic, it forgets those it has not been told of, even while records wait.
        """
        if topics <= token.topics:
            return
        await self._writer.prepare(sorted(topics))
        self._writer.fit(token.producer)
        token.topics.update(topics)
        await token.producer.client.set_topics(token.topics)

    async def _send(self, token: Token, message: Message) -> asyncio.Future[Any]:
        changelog = message.topic == CHANGELOG_TOPIC
        sent: asyncio.Future[Any] = await token.producer.send(
            message.topic,
            message.payload or None,
            message.key.encode() or None,
            partition=token.number if changelog else None,
            headers=record_headers(message),
        )
        return sent


@asynccontextmanager
async def _alone(
    connection: Mapping[str, Any], partition: TopicPartition
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of one partition, in no group."""
    consumer = AIOKafkaConsumer(
        **connection, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        consumer.assign([partition])
        yield consumer
    finally:
        await consumer.stop()
