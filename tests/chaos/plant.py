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
TICK_S = 0.01
HESITANT = 0.05  # of the usual pace: slow, but nobody is to take it for silence


class Plant:
    """Sends everything in order, as it happens or later; hesitates beyond the story's gate."""

    def __init__(self, story: Sequence[Sent], transport: Transport) -> None:
        self._rest = deque(story)
        self._transport = transport
        self._gate_s = math.inf
        self._story_s = 0.0
        self._looked_s = 0.0

    def hurry_until(self, gate_s: float) -> None:
        """Tell what happens up to this second of the story as it happens, and the rest slowly."""
        self._gate_s = gate_s

    async def feed(self) -> None:
        """Send the story, whose seconds take as long as ours unless it has to wait."""
        self._looked_s = time.monotonic()
        while self._rest:
            self._go_on()
            due: list[Sent] = []
            while self._rest and self._rest[0].at_s <= self._story_s and len(due) < MOST_AT_ONCE:
                due.append(self._rest.popleft())
            await asyncio.gather(*(self._transport.publish(one.message) for one in due))
            await asyncio.sleep(0 if due else TICK_S)

    def _go_on(self) -> None:
        """Let the story's clock run on, in haste up to the gate."""
        now_s = time.monotonic()
        passed_s, self._looked_s = now_s - self._looked_s, now_s
        hasty_s = min(passed_s, max(self._gate_s - self._story_s, 0.0))
        self._story_s += hasty_s + (passed_s - hasty_s) * HESITANT


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
