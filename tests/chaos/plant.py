"""A plant that tells its story to a broker, patiently: what the broker does not take is kept."""

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence

from stream.topics import KAFKA_COMPACTED, KAFKA_LOGS
from stream.transports.broker import BrokerConfig
from stream.transports.kafka import KafkaTransport
from stream.transports.open import open_transport
from stream.transports.transport import Transport
from tests.chaos.mes import STATUS, Mes
from tests.simulation.story import Hall, Sent
from tests.simulation.told import FAULTS, LATENTS

MOST_AT_ONCE = 50


class Plant:
    """Sends everything in order, as it happens or later; waits where its story has a gate."""

    def __init__(self, story: Sequence[Sent], transport: Transport) -> None:
        self._rest = deque(story)
        self._transport = transport
        self._gate_s = math.inf
        self._gate_moved = asyncio.Event()
        self._begun_s = 0.0

    def wait_at(self, gate_s: float) -> None:
        """Send nothing that happens later in the story, until told anew."""
        self._gate_s = gate_s
        self._gate_moved.set()

    async def feed(self) -> None:
        """Send the story, whose seconds take as long as ours."""
        self._begun_s = time.monotonic()
        while self._rest:
            await self._pass_gate(self._rest[0].at_s)
            await asyncio.sleep(self._begun_s + self._rest[0].at_s - time.monotonic())
            await asyncio.gather(*(self._transport.publish(one.message) for one in self._due()))

    async def _pass_gate(self, at_s: float) -> None:
        while at_s > self._gate_s:
            self._gate_moved.clear()
            await self._gate_moved.wait()
            self._begun_s = time.monotonic() - at_s

    def _due(self) -> list[Sent]:
        until_s = min(time.monotonic() - self._begun_s, self._gate_s)
        due = [self._rest.popleft()]
        while self._rest and self._rest[0].at_s <= until_s and len(due) < MOST_AT_ONCE:
            due.append(self._rest.popleft())
        return due


@contextlib.asynccontextmanager
async def around(url: str, mes: Mes, hall: Hall) -> AsyncIterator[Transport]:
    """What the plant sends with, beside an MES that listens."""
    plant_side = open_transport(BrokerConfig(url=url, partitions=hall.partitions))
    config, persistent = BrokerConfig(url=url, client_id="mes"), url.startswith("mqtt")
    async with plant_side:
        if isinstance(plant_side, KafkaTransport):
            await plant_side.ensure_topics([*KAFKA_LOGS, *KAFKA_COMPACTED])
        async with open_transport(config, persistent=persistent, from_beginning=True) as mes_side:
            await mes_side.subscribe(_outputs(url, hall))
            listening = asyncio.create_task(mes.listen(mes_side))
            try:
                yield plant_side
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)


def _outputs(url: str, hall: Hall) -> list[str]:
    if url.startswith("kafka"):
        return [LATENTS, FAULTS, STATUS]
    kinds = ("data/latent", "event/fault/#", "state/monitoring")
    return [f"{cell}/_weldfusion/v1/{kind}" for cell in hall.cells for kind in kinds]
