"""Resident memory of a worker over minutes of the looped recording at 80 % of its capacity."""

import asyncio
import statistics
import time

import psutil

from stream.engine import Engine
from stream.pipeline import Pipeline
from stream.transports.open import open_transport
from tests.benchmarks.feed import messages, settings
from tests.benchmarks.pipeline import BATCH, MODEL, THREADS, worker

LOAD = 0.8
WARM_UP_SHARE = 0.1
CAPACITY_FRAMES = 240


def measure(minutes: float) -> dict[str, float]:
    """Relative growth from the end of the warm-up to the end of the run."""
    capacity_hz = 1 / asyncio.run(worker(CAPACITY_FRAMES))
    samples = asyncio.run(_run(minutes * 60, LOAD * capacity_hz))
    steady = samples[int(len(samples) * WARM_UP_SHARE) :]
    tenth = max(len(steady) // 10, 1)
    first, last = statistics.median(steady[:tenth]), statistics.median(steady[-tenth:])
    return {
        "rss_growth": last / first - 1,
        "rss_mib": last / 2**20,
        "windows_per_s": LOAD * capacity_hz,
        "minutes": minutes,
    }


async def _run(seconds: float, windows_hz: float) -> list[int]:
    config = settings("memory://rss", MODEL, THREADS, BATCH)
    engine = Engine(config.stations, config.model)
    process, samples = psutil.Process(), []
    async with (
        open_transport(config.broker.model_copy(update={"client_id": "worker"})) as inside,
        open_transport(config.broker.model_copy(update={"client_id": "feeder"})) as outside,
    ):
        stop = asyncio.Event()
        running = asyncio.create_task(Pipeline(config, engine, inside).run(stop))
        await asyncio.sleep(0.2)
        started, frames = time.monotonic(), 0
        for message in messages(round(seconds * windows_hz)):
            if "/image/" in message.topic:
                frames += 1
                wait_s = started + frames / windows_hz - time.monotonic()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                if frames % 10 == 0:
                    samples.append(process.memory_info().rss)
            await outside.publish(message)
        stop.set()
        await running
    return samples
