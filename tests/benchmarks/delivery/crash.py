"""How long a station is without a worker when that is killed with SIGKILL and started at once."""

import asyncio
import signal
import tempfile
import time
from pathlib import Path
from statistics import median

from simulators.brokers.broker import EmbeddedBroker
from simulators.brokers.kafka import Kafka
from simulators.brokers.mosquitto import Mosquitto
from stream.topics import topics_for
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Transport
from tests.benchmarks.delivery.plant import Captured, configuration, playing, stations
from tests.benchmarks.delivery.workers import SHIPPED, WorkerProcess

KILLS = 3
UNDISTURBED_WINDOWS = 30
LIMIT_S = 180.0


def measure() -> dict[str, object]:
    """Medians in seconds from the kill on, the start of a process included."""
    return {
        "seconds_from_crash_to_first_window": {
            kind.name: asyncio.run(_measured(kind)) for kind in (Kafka, Mosquitto)
        }
    }


async def _measured(kind: type[EmbeddedBroker]) -> dict[str, object]:
    with kind() as running, tempfile.TemporaryDirectory() as folder:
        broker, (station,) = BrokerConfig(url=running.url), stations(1)
        topics = topics_for(broker.url)
        settings = configuration(broker, [station], state_dir=folder)
        async with (
            open_transport(broker) as mes,
            WorkerProcess(settings, Path(folder), SHIPPED) as worker,
            playing(broker, station, Captured()),
        ):
            await mes.subscribe([topics.latent(station).topic])
            told = asyncio.Queue[float]()
            listening = asyncio.create_task(_listen(mes, told))
            async with asyncio.timeout(LIMIT_S):
                found = [await _killed(worker, told) for _ in range(KILLS)]
            listening.cancel()
    working_s, first_s = zip(*found, strict=True)
    return {
        "median": round(median(first_s), 2),
        "all": [round(one, 2) for one in first_s],
        "of_it_until_the_worker_says_working": round(median(working_s), 2),
    }


async def _listen(mes: Transport, told: asyncio.Queue[float]) -> None:
    async for _ in mes.deliveries():
        told.put_nowait(time.monotonic())


async def _killed(worker: WorkerProcess, told: asyncio.Queue[float]) -> tuple[float, float]:
    """Seconds from the kill to the line "working", and to the first window after it."""
    for _ in range(UNDISTURBED_WINDOWS):
        await told.get()
    killed_s = time.monotonic()
    await worker.end(signal.SIGKILL)
    await worker.start()
    working_s = time.monotonic()
    while not told.empty():  # what the one before had told
        told.get_nowait()
    return working_s - killed_s, await told.get() - killed_s
