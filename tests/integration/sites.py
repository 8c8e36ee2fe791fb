"""A broker with names of its own for every test, and ways to wait for what it brings."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Delivery, Transport

LIMIT_S = 30


@dataclass(frozen=True, slots=True)
class Site:
    """One broker with names that no other test uses."""

    broker: str
    url: str
    run: str
    protocol: str = "5"

    def topic(self, *parts: str) -> str:
        return ("." if self.broker == "kafka" else "/").join((f"t{self.run}", *parts))

    def config(self, reader: str = "", **more: object) -> BrokerConfig:
        name = f"{reader}{self.run}" if reader else ""
        settings = {"protocol": self.protocol, "client_id": name, "group": name, **more}
        return BrokerConfig(url=self.url, insecure=True, **settings)

    @asynccontextmanager
    async def open(self, reader: str = "", **more: object) -> AsyncIterator[Transport]:
        """Open a transport; with a reader's name, one whose unread messages wait for it."""
        config = self.config(reader, **more)
        async with open_transport(config, persistent=bool(reader)) as transport:
            yield transport


async def take(transport: Transport, count: int) -> list[Delivery]:
    """Read and acknowledge so many deliveries."""
    taken: list[Delivery] = []
    async with asyncio.timeout(LIMIT_S):
        async for delivery in transport.deliveries():
            transport.acknowledge(delivery)
            taken.append(delivery)
            if len(taken) == count:
                break
    return taken


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 the transports promise a property, not an event
            await asyncio.sleep(0.02)


async def lower(kafka: str, topic: str, limit_bytes: int) -> None:
    """Set the limit of a topic's messages, behind the back of who knows the topic already."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.removeprefix("kafka://"))
    await admin.start()
    try:
        limit = {"max.message.bytes": str(limit_bytes)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, limit)])
    finally:
        await admin.close()
