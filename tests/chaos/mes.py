"""What an MES hears while a story goes on, and what a log holds of it in the end."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream.proto.weldfusion_pb2 import FusedLatent
from stream.transports.transport import Delivery, Message, Transport
from tests.simulation.told import FAULTS, LATENTS, Identity, Told

STATUS = "weldfusion.status.v1"
_MQTT = {"/data/latent": LATENTS, "/state/monitoring": STATUS}


class Mes:
    """A subscriber of everything that workers say; topics are told by Kafka's names."""

    def __init__(self) -> None:
        self.messages: list[Message] = []  # latents and events
        self.windows: dict[Identity, float] = {}  # first heard at, by the monotonic clock
        self.last_heard_s: dict[str, float] = {}  # each station's last new window
        self.serving: dict[str, int] = {}  # each station's process, as its status says
        self.events: set[str] = set()  # their ids
        self._grown = asyncio.Condition()

    async def listen(self, transport: Transport) -> None:
        """Hear until cancelled."""
        async for delivery in transport.deliveries():
            self._hear(delivery)
            transport.acknowledge(delivery)
            async with self._grown:
                self._grown.notify_all()

    async def until(self, reached: Callable[[], object], within_s: float) -> bool:
        """Wait for something that can be seen here; False where it did not come."""
        try:
            async with asyncio.timeout(within_s), self._grown:
                await self._grown.wait_for(reached)
        except TimeoutError:
            return False
        return True

    def knows(self, wanted: Told) -> bool:
        """Whether it has heard as many events, and each station's last window."""
        last = {station: (station, *rest) for station, *rest in wanted.windows}
        return len(self.events) >= len(wanted.events) and self.windows.keys() >= {*last.values()}

    def _hear(self, delivery: Delivery) -> None:
        topic = kafka_topic(delivery.topic)
        if topic == STATUS:
            self._note_status(json.loads(delivery.payload), delivery)
            return
        self.messages.append(Message(topic=topic, payload=delivery.payload))
        if topic == FAULTS:
            self.events.add(json.loads(delivery.payload)["id"])
            return
        latent = FusedLatent.FromString(delivery.payload)
        identity = (latent.station, latent.epoch, latent.anchor_time_ns)
        if identity not in self.windows:
            self.windows[identity] = self.last_heard_s[latent.station] = time.monotonic()

    def _note_status(self, status: dict[str, str], delivery: Delivery) -> None:
        station = delivery.key.replace(".", "/") or delivery.topic.partition("/_weldfusion/")[0]
        if status["state"] == "running":
            self.serving[station] = int(status["worker"].rpartition(":")[2])


def kafka_topic(topic: str) -> str:
    """What this topic is called on Kafka."""
    if "/event/fault/" in topic:
        return FAULTS
    ending = "/".join(["", *topic.split("/")[-2:]])
    return _MQTT.get(ending, topic)


async def committed(server: str, topics: Sequence[str], partitions: int) -> list[Message]:
    """Everything in these topics that is committed, each partition in its order."""
    every = [TopicPartition(topic, at) for topic in topics for at in range(partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=server, isolation_level="read_committed")
    await consumer.start()
    try:
        consumer.assign(every)
        for partition, begin in (await consumer.beginning_offsets(every)).items():
            consumer.seek(partition, begin)
        ends, messages = await consumer.end_offsets(every), list[Message]()
        while any([await consumer.position(one) < end for one, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=100)).values():
                messages += [Message(topic=one.topic, payload=one.value) for one in records]
        return messages
    finally:
        await consumer.stop()
