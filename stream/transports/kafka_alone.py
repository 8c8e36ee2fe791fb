"""Reading from Kafka without a group: every partition, by nobody's leave."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import TopicPartition

from stream.transports.kafka_offsets import PartitionOffsets
from stream.transports.kafka_reader import KafkaReader
from stream.transports.kafka_topics import describe, existing


class LoneReader(KafkaReader):
    """Reads every partition of its topics from now on, or from their beginning."""

    every_s = 3.0

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._discovering = asyncio.Lock()

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Read these names and ``^`` patterns too."""
        async with self._discovering:
            self._add(topics)
            await self._read_new(at_first=True)

    async def _do_regularly(self) -> None:
        async with self._discovering:
            await self._read_new(at_first=False)

    async def _place(self) -> None:
        """Nothing: it seeks in what it finds as soon as it has found it."""

    async def _leave(self) -> None:
        """Nothing: nobody waits for its partitions."""

    async def _read_new(self, *, at_first: bool) -> None:
        """Read every partition of the topics that exist by now."""
        names = set(self._names)
        for pattern in self._patterns:
            names.update(await existing(self._admin, pattern))
        topics = await describe(self._admin, sorted(names))
        every = {TopicPartition(t.name, part) for t in topics.values() for part in t.partitions}
        if not every - self._offsets.keys():
            return
        for partition in every - self._offsets.keys():
            if topics[partition.topic].compacted or (at_first and self._from_beginning):
                offsets = await self._whole(partition)
            else:
                # What appears later is read whole: nothing of it can have been missed before.
                offsets = PartitionOffsets(await self._edge(partition, earliest=not at_first))
            self._offsets[partition] = offsets
        self.consumer.assign(sorted(self._offsets))
        self._placed.clear()
        for partition, offsets in self._offsets.items():
            self._seek(partition, offsets)
