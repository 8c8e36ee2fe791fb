"""A bridge between Mosquitto and Apache Kafka: what workers see, and what no kill may cost."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import yaml

from simulators.brokers.broker import free_port
from simulators.brokers.kafka import Kafka
from simulators.brokers.mosquitto import Mosquitto
from simulators.demo import RECORDING
from simulators.recordings.open import open_recording
from simulators.replay import Replay, ReplayOptions
from stream.bridge import UNDER_WAY, Bridge, Crossing, read_bridge
from stream.config import BridgeSettings, WorkerSettings
from stream.engine import Engine
from stream.pipeline import Pipeline
from stream.proto.weldfusion_pb2 import FusedLatent
from stream.topics import MqttTopics, kafka_key, topics_for
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Message, Transport
from stream.worker import open_courier, open_worker_transport, read_worker
from tests.integration.sites import until

pytestmark = pytest.mark.real_broker

CONFIGS = Path(__file__).parents[2] / "configs"
STATION = "weldfusion/demo/hall/line/cell"
WINDOWS = 50
SENT = 4000
_plants = count()


@pytest.fixture(scope="module")
def mqtt() -> Iterator[Mosquitto]:
    with Mosquitto(settings={"max_queued_messages": "0"}) as broker:
        yield broker


@pytest.fixture(scope="module")
def log() -> Iterator[Kafka]:
    with Kafka() as broker:
        yield broker


async def introduce(settings: BridgeSettings) -> None:
    """Leave the session on MQTT that a bridge of yesterday has left: nothing is missed."""
    async with open_transport(settings.source, persistent=True) as yesterday:
        await yesterday.subscribe(Crossing(settings).subscriptions())


# The same windows


@contextlib.asynccontextmanager
async def bridging(settings: BridgeSettings) -> AsyncIterator[None]:
    stop = asyncio.Event()
    await introduce(settings)
    async with (
        open_transport(settings.target) as target,
        open_transport(settings.source, persistent=True) as source,
    ):
        running = asyncio.create_task(Bridge(settings, source, target).run(stop))
        yield
        stop.set()
        await running


@contextlib.asynccontextmanager
async def working(settings: WorkerSettings, latents: list[bytes]) -> AsyncIterator[None]:
    """A worker that serves its station by now, and what it says of each window."""
    stop, serving = asyncio.Event(), asyncio.Event()
    topics = topics_for(settings.broker.url)
    latent, status = topics.latent(STATION).topic, topics.monitoring(STATION).topic
    async with (
        open_worker_transport(settings) as transport,
        open_courier(settings, transport) as courier,
        open_transport(BrokerConfig(url=settings.broker.url)) as mes,
    ):
        engine = Engine(settings.stations, settings.model)
        pipeline = Pipeline(settings, engine, transport, courier=courier)
        await mes.subscribe([latent, status])

        async def listen() -> None:
            async for delivery in mes.deliveries():
                serving.set()
                if delivery.topic == latent:
                    latents.append(delivery.payload)

        listening = asyncio.create_task(listen())
        running = asyncio.create_task(pipeline.run(stop))
        await serving.wait()
        yield
        stop.set()
        await running
        listening.cancel()


async def play(mqtt: Mosquitto) -> None:
    options = ReplayOptions(station=STATION, source="welding-single", seconds=4.0)
    async with open_transport(BrokerConfig(url=mqtt.url)) as plant:
        recording = open_recording(RECORDING)
        await Replay(recording, plant, MqttTopics(), options).run(time.time_ns())


async def test_a_worker_on_kafka_makes_the_windows_of_a_worker_on_mqtt(
    mqtt: Mosquitto, log: Kafka, tmp_path: Path
) -> None:
    patient = ["stations.0.idle_timeout_ms=5000", f"state_dir={tmp_path}", "metrics_port=null"]
    given = ["stations.0.model=none", *patient]
    file = CONFIGS / "worker-welding-single.yaml"
    near, far = (read_worker(file, given, broker.url) for broker in (mqtt, log))
    named = ["from.client_id=bridge", "metrics_port=null"]
    bridge = read_bridge(CONFIGS / "bridge-welding-single.yaml", named, mqtt.url, log.url)
    directly: list[bytes] = []
    bridged: list[bytes] = []
    async with bridging(bridge), working(near, directly), working(far, bridged):
        await play(mqtt)
        await until(lambda: min(len(directly), len(bridged)) >= WINDOWS)
    windows = [FusedLatent.FromString(one) for one in directly[:WINDOWS]]
    assert {one.closed_by for one in windows} == {"watermark"}
    assert sum(all(one.present for one in window.modalities) for window in windows) > WINDOWS - 5
    assert directly[:WINDOWS] == bridged[:WINDOWS]


# Nothing lost


class Plant:
    """Two stations with names of their own, what they send, and a bridge that may be killed."""

    def __init__(self, mqtt: str, log: str, folder: Path) -> None:
        self._mqtt, self._log, self._port = mqtt, log, free_port()
        name = f"s{next(_plants)}"
        self.stations = [f"acme/{name}/hall/line/{cell}" for cell in ("one", "two")]
        kinds = {"camera": "image", "arm": "vector"}
        modalities = {one: {"kind": kind, "rate_hz": 100} for one, kind in kinds.items()}
        content: dict[str, Any] = {
            "kind": "bridge",
            "name": name,
            "from": {"url": mqtt, "client_id": name},
            "to": {"url": log},
            "stations": [{"id": one, "modalities": modalities} for one in self.stations],
            "metrics_port": self._port,
        }
        self._folder, self._config = folder, folder / "bridge.yaml"
        self._config.write_text(yaml.safe_dump(content, sort_keys=False))
        self.settings = read_bridge(self._config)
        self._process: asyncio.subprocess.Process | None = None
        self._topics = [
            MqttTopics().data(station, kind, one).topic
            for station in self.stations
            for one, kind in kinds.items()
        ]
        self.arrived: list[tuple[str, str, int]] = []

    async def start(self) -> None:
        with (self._folder / "bridge.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "weldfusion", "bridge", str(self._config)),
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    async def end(self, how: signal.Signals) -> int:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)
        return await self._process.wait()

    async def feed(self) -> None:
        """Send everything; MQTT keeps it for the bridge, which then has its hands full."""
        async with open_transport(BrokerConfig(url=self._mqtt)) as sensors:
            for first in range(0, SENT, 100):
                numbers = range(first, first + 100)
                await asyncio.gather(*(sensors.publish(self._message(at)) for at in numbers))

    def _message(self, at: int) -> Message:
        return Message(topic=self._topics[at % len(self._topics)], payload=b"%d" % at)

    async def read(self, log: Transport) -> None:
        keys = {kafka_key(station) for station in self.stations}
        async for delivery in log.deliveries():
            if delivery.key in keys:
                self.arrived.append((delivery.topic, delivery.key, int(delivery.payload)))

    @contextlib.asynccontextmanager
    async def living(self) -> AsyncIterator[None]:
        """A bridge at work, and somebody who reads; all has arrived at the end."""
        await introduce(self.settings)
        await self.feed()
        async with open_transport(BrokerConfig(url=self._log)) as log:
            await log.subscribe(Crossing(self.settings).topics())
            await self.start()
            reading = asyncio.create_task(self.read(log))
            try:
                yield
                await until(lambda: {at for *_, at in self.arrived} == set(range(SENT)))
                assert await self.end(signal.SIGTERM) == 0
            finally:
                await self.end(signal.SIGKILL)
                reading.cancel()

    async def full(self) -> None:
        """Return once as many messages are under way as may be."""
        wanted = f"weldfusion_waiting {UNDER_WAY}.0"
        while wanted not in await asyncio.to_thread(self._metrics):  # noqa: ASYNC110 seen outside
            await asyncio.sleep(0.05)

    def _metrics(self) -> str:
        with urlopen(f"http://127.0.0.1:{self._port}/metrics") as answer:
            return str(answer.read(), "utf-8")

    def first_sightings(self) -> dict[tuple[str, str], list[int]]:
        """What arrived, for each station and topic, without what came a second time."""
        seen: dict[tuple[str, str], dict[int, None]] = {}
        for topic, key, at in self.arrived:
            seen.setdefault((topic, key), {})[at] = None
        return {place: list(numbers) for place, numbers in seen.items()}


async def test_a_bridge_that_is_killed_loses_nothing_and_keeps_the_order(
    mqtt: Mosquitto, log: Kafka, tmp_path: Path
) -> None:
    plant = Plant(mqtt.url, log.url, tmp_path)
    async with plant.living():
        await until(lambda: len(plant.arrived) >= SENT // 8)
        await plant.end(signal.SIGKILL)
        await plant.start()
        await until(lambda: len(plant.arrived) >= SENT // 4)
        await asyncio.to_thread(log.kill)
        await plant.full()
        await plant.end(signal.SIGKILL)
        await asyncio.to_thread(log.start)
        await plant.start()
    found = plant.first_sightings()
    assert len(found) == 4
    assert all(numbers == sorted(numbers) for numbers in found.values())
    assert len(plant.arrived) - SENT <= 2 * UNDER_WAY  # what was under way at each kill


async def test_kafka_that_is_killed_and_comes_back_has_everything_in_its_order(
    mqtt: Mosquitto, log: Kafka, tmp_path: Path
) -> None:
    plant = Plant(mqtt.url, log.url, tmp_path)
    async with plant.living():
        await until(lambda: len(plant.arrived) >= SENT // 8)
        await asyncio.to_thread(log.kill)
        await asyncio.to_thread(log.start)
    assert sorted(at for *_, at in plant.arrived) == list(range(SENT))
    assert all(numbers == sorted(numbers) for numbers in plant.first_sightings().values())
