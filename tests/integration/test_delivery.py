"""Workers killed with SIGKILL beside real brokers tell what one tells that nothing happens to."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import yaml

from simulators.brokers.broker import EmbeddedBroker
from simulators.brokers.kafka import Kafka
from simulators.brokers.mosquitto import Mosquitto
from stream.engine import Engine
from stream.topics import KAFKA_COMPACTED, KAFKA_LOGS, Topics, topics_for
from stream.transports.broker import BrokerConfig
from stream.transports.kafka import KafkaTransport
from stream.transports.open import open_transport
from stream.transports.transport import Message, Transport
from tests.simulation.run import Told, compared, play, told
from tests.simulation.story import CELLS, configuration, story

pytestmark = pytest.mark.real_broker

SECONDS, SEED, KILLS = 14.0, 5, 2
PATIENCE_S = 90.0
LATENTS, FAULTS = "weldfusion.latents.v1", "weldfusion.faults.v1"


@pytest.fixture(scope="module")
def wanted() -> Told:
    """What a worker tells that nothing happens to, on a simulated log."""
    return play(SEED, crashing=False, seconds=SECONDS, engine=Engine)


class Killed:
    """A worker process that is started again whenever it was killed."""

    def __init__(self, url: str, folder: Path) -> None:
        killed = configuration("killed", idle_timeout_ms=2000)  # processors may be busy
        settings = killed.model_dump(mode="json", exclude_unset=True)
        settings |= {"broker": {"url": url}, "state_dir": str(folder)}
        self._config = folder / "worker.yaml"
        self._config.write_text(yaml.safe_dump(settings, sort_keys=False))
        self._log = (folder / "worker.log").open("ab")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "weldfusion", "worker", str(self._config)),
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    async def end(self, how: signal.Signals) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        await self._process.wait()


async def feed(url: str, topics: Topics) -> None:
    """Send the story as it happens."""
    async with open_transport(BrokerConfig(url=url, partitions=2)) as plant:
        begun_s = time.monotonic()
        for one in story(SEED, SECONDS, topics):
            await asyncio.sleep(begun_s + one.at_s - time.monotonic())
            await plant.publish(one.message)


async def hear(url: str, topics: list[str], enough: Callable[[list[Message]], bool]) -> Told:
    """What a subscriber hears that reads committed messages only, until it is enough."""
    heard: list[Message] = []
    config = BrokerConfig(url=url, group="mes" if url.startswith("kafka") else "")
    async with open_transport(config) as mes:
        await mes.subscribe(topics)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await _listen(mes, heard, enough)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.5):  # for what may come twice
                await _listen(mes, heard, lambda _: False)
    return told(heard, Told())


async def _listen(
    mes: Transport, heard: list[Message], enough: Callable[[list[Message]], bool]
) -> None:
    async for one in mes.deliveries():
        topic = FAULTS if "/event/fault/" in one.topic else one.topic
        heard.append(Message(topic=topic, payload=one.payload))
        mes.acknowledge(one)
        if enough(heard):
            return


@contextlib.asynccontextmanager
async def kills(url: str, folder: Path, topics: Topics) -> AsyncIterator[None]:
    """Feed a worker, and kill it now and then meanwhile."""
    worker = Killed(url, folder)
    await worker.start()
    await asyncio.sleep(3)
    feeding = asyncio.create_task(feed(url, topics))
    for _ in range(KILLS):
        await asyncio.sleep(SECONDS / (KILLS + 1))
        await worker.end(signal.SIGKILL)
        await worker.start()
    await feeding
    try:
        yield
    finally:
        await worker.end(signal.SIGTERM)


def nothing_wrong(figures: dict[str, int], *keys: str) -> None:
    assert {key: figures[key] for key in keys} == dict.fromkeys(keys, 0)


async def test_on_kafka_windows_and_events_are_told_exactly_once(
    wanted: Told, start_broker: Callable[..., EmbeddedBroker], tmp_path: Path
) -> None:
    url = start_broker(Kafka).url
    async with open_transport(BrokerConfig(url=url)) as admin:
        assert isinstance(admin, KafkaTransport)
        await admin.ensure_topics([*KAFKA_LOGS, *KAFKA_COMPACTED], partitions=2)
    async with kills(url, tmp_path, topics_for(url)):
        found = await hear(
            url,
            [LATENTS, FAULTS],
            lambda heard: len(heard) >= len(wanted.windows) + len(wanted.events),
        )
    figures = compared(wanted, found)
    assert figures["windows"] > 300
    nothing_wrong(figures, "lost", "duplicated", "reordered", "strange")


async def test_on_mqtt_no_event_is_lost_and_what_is_told_twice_is_the_same(
    wanted: Told, start_broker: Callable[..., EmbeddedBroker], tmp_path: Path
) -> None:
    url = start_broker(Mosquitto).url
    expected = {_without_evidence(one) for _, one in wanted.events}
    subscriptions = [f"{cell}/_weldfusion/v1/event/fault/#" for cell in CELLS]

    def enough(heard: list[Message]) -> bool:
        return {_without_evidence(one) for _, one in told(heard, Told()).events} >= expected

    async with asyncio.TaskGroup() as tasks:
        hearing = tasks.create_task(hear(url, subscriptions, enough))
        async with kills(url, tmp_path, topics_for(url)):
            found = await hearing
    assert expected
    assert {_without_evidence(one) for _, one in found.events} == expected


def _without_evidence(event: str) -> str:
    """An event but for where its frame lies, of which MQTT keeps nothing."""
    document = json.loads(event)
    document["data"].pop("evidence", None)
    return json.dumps(document, sort_keys=True)
