"""Workers killed with SIGKILL beside real brokers tell what one tells that nothing happens to.

``make chaos`` does much more of it, and worse things.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from simulators.brokers.broker import EmbeddedBroker
from simulators.brokers.kafka import Kafka
from simulators.brokers.mosquitto import Mosquitto
from stream.engine import Engine
from stream.topics import topics_for
from tests.chaos.mes import Mes, committed
from tests.chaos.plant import Plant, around
from tests.chaos.verdict import on_kafka, on_mqtt
from tests.chaos.workers import Workers, employed
from tests.simulation.run import play
from tests.simulation.story import SMALL, again_and_again, story
from tests.simulation.told import FAULTS, LATENTS, Told

pytestmark = pytest.mark.real_broker

SECONDS, SEED, KILLS = 14.0, 5, 2
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def wanted() -> Told:
    """What a worker tells that nothing happens to, on a simulated log."""
    return play(SEED, crashing=False, seconds=SECONDS, engine=Engine, plot=again_and_again)


@contextlib.asynccontextmanager
async def kills(url: str, folder: Path, wanted: Told) -> AsyncIterator[Mes]:
    """Feed a worker, and kill it now and then meanwhile, until an MES has heard everything."""
    mes, workers = Mes(), Workers(folder, idle_timeout_ms=5000)  # processors may be busy
    async with around(url, mes, SMALL) as plant_side, employed(workers):
        worker = await workers.start(url)
        assert await mes.until(lambda: len(mes.serving) == len(SMALL.cells), PATIENCE_S)
        sent = story(SEED, SECONDS, topics_for(url), plot=again_and_again)
        feeding = asyncio.create_task(Plant(sent, plant_side).feed())
        for _ in range(KILLS):
            await asyncio.sleep(SECONDS / (KILLS + 1))
            await worker.end(signal.SIGKILL)
            await worker.start()
        await feeding
        assert await mes.until(lambda: mes.knows(wanted), PATIENCE_S)
        await asyncio.sleep(1.5)  # for what may come twice
        yield mes


async def test_on_kafka_windows_and_events_are_told_exactly_once(
    wanted: Told, start_broker: Callable[..., EmbeddedBroker], tmp_path: Path
) -> None:
    broker = start_broker(Kafka)
    async with kills(broker.url, tmp_path, wanted):
        told = await committed(f"127.0.0.1:{broker.port}", [LATENTS, FAULTS], SMALL.partitions)
    verdict = on_kafka(wanted, told)
    assert verdict.windows > 300
    assert verdict.lines() == []


async def test_on_mqtt_no_event_is_lost_and_what_is_told_twice_is_the_same(
    wanted: Told, start_broker: Callable[..., EmbeddedBroker], tmp_path: Path
) -> None:
    broker = start_broker(Mosquitto)
    async with kills(broker.url, tmp_path, wanted) as mes:
        verdict = on_mqtt(wanted, mes.messages)
    assert verdict.events > 0
    assert verdict.lines() == []
