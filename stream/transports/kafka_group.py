"""Reading from Kafka in a group: the partitions that the group assigns, at least once."""

import asyncio
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from stream.transports.kafka_offsets import PartitionOffsets
from stream.transports.kafka_reader import POLL_MS, KafkaReader
from stream.transports.kafka_rebalance import Rebalance
from stream.transports.kafka_topics import describe


class GroupReader(KafkaReader):
    """Commits what was acknowledged, but of state; begins where the group has committed.

    Where nothing is committed it begins at the beginning, or at the end.
    """

    every_s = 0.1

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._assigned = asyncio.Event()

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Read these names and ``^`` patterns too; returns once partitions are assigned."""
        self._add(topics)
        self._assigned.clear()
        self._placed.clear()
        listener = Rebalance(revoked=self._on_revoked, assigned=self._on_assigned)
        if self._patterns:
            parts = [f"^{re.escape(name)}$" for name in sorted(self._names)]
            parts += [pattern.pattern for pattern in self._patterns]
            pattern = "|".join(f"(?:{part})" for part in parts)
            self.consumer.subscribe(pattern=pattern, listener=listener)
        else:
            self.consumer.subscribe(topics=list(self._names), listener=listener)
        while not self._assigned.is_set():  # aiokafka raises what forbids the group here only
            self.consumer._coordinator.check_errors()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_MS / 1000):
                    await self._assigned.wait()

    async def _place(self) -> None:
        """Seek explicitly in partitions that were assigned: the fetcher begins before we know."""
        new = self.consumer.assignment() - self._placed
        topics = await describe(self._admin, sorted({partition.topic for partition in new}))
        for partition in new:
            state = partition.topic in topics and topics[partition.topic].compacted
            known = self._offsets.get(partition)
            if state:
                offsets = known or await self._whole(partition)
            else:
                offsets = await self._from_committed(partition, known)
            self._seek(partition, offsets)

    async def _from_committed(
        self, partition: TopicPartition, known: PartitionOffsets | None
    ) -> PartitionOffsets:
        committed = await self.consumer.committed(partition)
        if known is not None and known.next >= (committed or 0):
            return known
        if committed is None:
            committed = await self._edge(partition, earliest=self._from_beginning)
        return PartitionOffsets(committed)

    async def _do_regularly(self) -> None:
        await self._commit()

    async def _leave(self) -> None:
        with suppress(KafkaError, IllegalStateError):
            await self._commit()

    async def _commit(self) -> None:
        assigned = self.consumer.assignment()
        offsets = {
            partition: offset
            for partition in self._placed & assigned
            if (offset := self._offsets[partition].to_commit) is not None
        }
        if not offsets:
            return
        await self.consumer.commit(offsets)
        for partition, offset in offsets.items():
            if partition in self._offsets:
                self._offsets[partition].committed(offset)

    async def _on_revoked(self) -> None:
        await self._leave()
        self._placed.clear()

    def _on_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        # A partition that stays goes on where it was; of one that went, nothing is handed on.
        kept = set(assigned)
        self._offsets = {p: offsets for p, offsets in self._offsets.items() if p in kept}
        mine = set(map(id, self._offsets.values()))
        self.inbox.drop(lambda delivery: id(delivery.position[0]) not in mine)
        self._placed.clear()
        self._assigned.set()
