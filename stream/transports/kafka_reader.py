"""What readers of Kafka have in common, whether they are alone or in a group."""

import asyncio
import re
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError

from stream.transports.inbox import Inbox
from stream.transports.kafka_connection import FORBIDDEN, has_connection
from stream.transports.kafka_offsets import PartitionOffsets
from stream.transports.transport import Delivery

_BACK_OFF_S = 0.5
_FETCH_MAX_WAIT_MS = 20
# How long a call waits for records, and so how late a resumed topic or a new partition is seen.
POLL_MS = 50
_MOST_RECORDS = 200
# The end of a partition is known for sure only from a fetch that was answered lately.
_FRESH_MS = 1000
_READ_ONCE_LIMIT_S = 5.0
_log = structlog.get_logger(__name__)


class KafkaReader(ABC):
    """One consumer, and what it has read.

    Compacted topics are state: they are read from their beginning at every assignment. Others begin
    where the subclass says.
    """

    every_s: float  # between two times that it does what it does regularly

    def __init__(
        self,
        admin: AIOKafkaAdminClient,
        *,
        connection: Mapping[str, Any],
        group: str,
        max_message_bytes: int,
        failures: Counter[str],
        from_beginning: bool,
    ) -> None:
        self.inbox = Inbox()
        self._admin = admin
        self._group = group
        self._failures = failures
        self._connected = True
        self._from_beginning = from_beginning
        self._offsets: dict[TopicPartition, PartitionOffsets] = {}
        self._placed: set[TopicPartition] = set()
        self._paused: set[str] = set()
        self._names: set[str] = set()
        self._patterns: list[re.Pattern[str]] = []
        self._job: asyncio.Task[None] | None = None
        self._closed = False
        self.consumer = AIOKafkaConsumer(
            **connection,
            group_id=group or None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            partition_assignment_strategy=(RangePartitionAssignor,),
            fetch_max_wait_ms=_FETCH_MAX_WAIT_MS,
            max_partition_fetch_bytes=max_message_bytes,
            **self._options(),
        )

    async def start(self) -> None:
        """Connect, and begin what goes on in the background."""
        await self.consumer.start()
        self._job = asyncio.create_task(self._regularly())

    async def close(self) -> None:
        """Read no more."""
        if self._job is not None:
            self._job.cancel()
            await asyncio.gather(self._job, return_exceptions=True)
        self._closed = True
        await self._leave()
        await self.consumer.stop()
        self.inbox.close()

    async def _regularly(self) -> None:
        while True:
            await asyncio.sleep(self.every_s)
            try:
                await self._do_regularly()
            except Exception as error:  # whatever it was, the next attempt may succeed
                _log.warning("Kafka: to be tried again", reason=repr(error))

    # What differs between a reader that is alone and one in a group

    @abstractmethod
    async def subscribe(self, topics: Sequence[str]) -> None:
        """Read these names and ``^`` patterns too; returns once partitions are assigned."""

    @abstractmethod
    async def _do_regularly(self) -> None:
        """Every ``every_s`` seconds."""

    @abstractmethod
    async def _place(self) -> None:
        """Seek in partitions that were assigned and are not read yet."""

    @abstractmethod
    async def _leave(self) -> None:
        """Do what is to be done before the connection ends."""

    def _options(self) -> dict[str, Any]:
        """What the consumer is told beside."""
        return {}

    # Reading

    async def read_once(self) -> None:
        """Fetch until every partition has answered, as long as nobody takes deliveries yet.

        Raises one of FORBIDDEN where one may not be read; what else fails is left to ``next``.
        """
        try:
            async with asyncio.timeout(_READ_ONCE_LIMIT_S):
                answered = False
                while not answered:
                    answered = bool(self._placed) and all(map(self._was_fetched, self._placed))
                    await self._fetch()
        except FORBIDDEN:
            raise
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            _log.info("Kafka is not read yet", reason=repr(error))

    def _was_fetched(self, partition: TopicPartition) -> bool:
        return self.consumer.last_poll_timestamp(partition) is not None

    def _add(self, topics: Sequence[str]) -> None:
        self._names.update(topic for topic in topics if not topic.startswith("^"))
        self._patterns += [re.compile(topic) for topic in topics if topic.startswith("^")]

    async def next(self) -> Delivery | None:
        """Give the next delivery; None once closed."""
        while not self.inbox.ready:
            if not await self._fetched(_BACK_OFF_S):
                return None
        return await self.inbox.take()

    async def _fetched(self, back_off_s: float) -> bool:
        """Fetch once; False once closed. A failure is counted, and waited after."""
        try:
            await self._fetch()
        except ConsumerStoppedError:
            return False
        except (KafkaError, IllegalStateError) as error:
            self._failures["read"] += 1
            _log.warning("Kafka cannot be read at present", reason=repr(error))
            await asyncio.sleep(back_off_s)
        return True

    def acknowledge(self, delivery: Delivery) -> None:
        """Let the commit pass this record once those before it are acknowledged as well."""
        offsets, offset = delivery.position
        offsets.acknowledge(offset)

    def pause(self, topic: str) -> None:
        """Hold back what was read of a topic and fetch no more of it."""
        for name in self._covered(topic) | {topic}:
            self._paused.add(name)
            self.inbox.hold(name)
        self.consumer.pause(*self._partitions(self._paused))

    def resume(self, topic: str) -> None:
        """Read a paused topic again."""
        names = self._covered(topic) | {topic}
        self._paused -= names
        self.consumer.resume(*self._partitions(names))
        for name in names:
            self.inbox.release(name)

    def exhausted(self, topic: str) -> bool:
        """Whether everything up to the last stable offset was read, as of a recent fetch."""
        names = self._covered(topic)
        partitions = self._partitions(names)
        return (
            bool(partitions)
            and not any(self.inbox.holds(name) for name in names)
            and all(self._at_end(partition) for partition in partitions)
        )

    async def _fetch(self) -> None:
        if self._closed:
            raise ConsumerStoppedError
        self._note_connection()
        await self._place()
        if not self._placed:
            # Asked for no partition in particular, it would hand out those of any.
            await asyncio.sleep(POLL_MS / 1000)
            return
        batches = await self.consumer.getmany(
            *self._placed, timeout_ms=POLL_MS, max_records=_MOST_RECORDS
        )
        now_ns = time.time_ns()
        for partition, records in batches.items():
            if partition not in self._placed:
                continue  # it was taken away while we waited
            offsets = self._offsets[partition]
            for record in records:
                self.inbox.put(self._delivery(offsets, record, now_ns))

    def _delivery(self, offsets: PartitionOffsets, record: ConsumerRecord, now_ns: int) -> Delivery:
        return offsets.delivery(record, now_ns)

    def _note_connection(self) -> None:
        connected = has_connection(self.consumer._client)
        if self._connected and not connected:
            self._failures["lost"] += 1
            _log.warning("connection to Kafka lost; connecting again")
        self._connected = connected

    def _seek(self, partition: TopicPartition, offsets: PartitionOffsets) -> None:
        if partition not in self.consumer.assignment():
            return
        self.consumer.seek(partition, offsets.next)
        self._offsets[partition] = offsets
        self._placed.add(partition)
        if partition.topic in self._paused:
            self.consumer.pause(partition)

    async def _whole(self, partition: TopicPartition) -> PartitionOffsets:
        start = await self._edge(partition, earliest=True)
        live_from = await self._edge(partition, earliest=False)
        return PartitionOffsets(start, live_from=live_from, commits=False)

    async def _edge(self, partition: TopicPartition, *, earliest: bool) -> int:
        ask = self.consumer.beginning_offsets if earliest else self.consumer.end_offsets
        offset: int = (await ask([partition]))[partition]
        return offset

    def _covered(self, topic: str) -> set[str]:
        names = {partition.topic for partition in self._offsets}
        if not topic.startswith("^"):
            return names & {topic}
        return {name for name in names if re.match(topic, name)}

    def _partitions(self, names: set[str]) -> list[TopicPartition]:
        return [partition for partition in self._placed if partition.topic in names]

    def _at_end(self, partition: TopicPartition) -> bool:
        end = self.consumer.last_stable_offset(partition)
        polled_ms = self.consumer.last_poll_timestamp(partition)
        if end is None or polled_ms is None or time.time() * 1000 - polled_ms > _FRESH_MS:
            return False
        # Its position is ahead of the last record where a transaction's marker ends the partition.
        state = self.consumer._subscription.subscription.assignment.state_value(partition)
        return bool(state.has_valid_position and state.position >= end)
