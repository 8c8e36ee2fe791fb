"""How far several consumer groups have come in one Kafka topic, kept by the cluster."""

from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.transports.broker import BrokerConfig
from stream.transports.kafka_connection import connection_arguments


class KafkaPositions:
    """Committed offsets of groups without members; the broker forgets them as its settings say."""

    def __init__(self, config: BrokerConfig, topic: str) -> None:
        self._config, self._topic = config, topic
        self._consumers: dict[str, AIOKafkaConsumer] = {}
        self._next: dict[tuple[str, int], int] = {}
        self._uncommitted: set[tuple[str, int]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        for consumer in self._consumers.values():
            await consumer.stop()

    async def next_offset(self, group: str, partition: int) -> int:
        """The first offset of a partition that the group has not passed."""
        place = (group, partition)
        if place not in self._next:
            consumer = await self._consumer(group)
            found = TopicPartition(self._topic, partition)
            consumer.assign([*consumer.assignment(), found])
            consumer.pause(*consumer.assignment())  # it remembers and never reads
            self._next[place] = await consumer.committed(found) or 0
        return self._next[place]

    def advance(self, group: str, partition: int, passed: int) -> None:
        """The group has passed this offset; remembered by the next ``commit``."""
        self._next[group, partition] = passed + 1
        self._uncommitted.add((group, partition))

    async def commit(self) -> None:
        """Let the cluster remember how far each group has come."""
        for group, partition in sorted(self._uncommitted):
            place = TopicPartition(self._topic, partition)
            await self._consumers[group].commit({place: self._next[group, partition]})
        self._uncommitted.clear()

    async def _consumer(self, group: str) -> AIOKafkaConsumer:
        if group not in self._consumers:
            connection = connection_arguments(self._config)
            consumer = AIOKafkaConsumer(**connection, group_id=group, enable_auto_commit=False)
            await consumer.start()
            self._consumers[group] = consumer
        return self._consumers[group]
