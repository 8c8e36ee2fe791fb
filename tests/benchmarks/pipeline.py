"""The worker on the in-memory transport against a bare loop of decoding and inference."""

import asyncio
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import torch

from model.checkpoint import load
from model.config import ModelConfig
from model.windows import Batch
from stream.checkpoints import checkpoint_path
from stream.engine import Engine
from stream.images import decode, fit
from stream.pipeline import Pipeline
from stream.topics import MqttTopics
from stream.transports.open import open_transport
from stream.transports.transport import Transport
from tests.benchmarks.feed import STATION, jpegs, messages, settings

MODEL = "welding-single"
THREADS = 2
BATCH = 16
FRAMES = 480
REPETITIONS = 3


def measure() -> dict[str, float]:
    """Ratios of windows a second, and the worker's overhead in microseconds a window.

    Beside the plain loop stands one that shares batches out over threads as the engine does: what
    the worker loses to everything but the model.
    """
    ratios, shared_ratios, overheads = [], [], []
    frames = jpegs(FRAMES)
    for _ in range(REPETITIONS):
        bare_s = bare_loop(frames) / FRAMES
        worker_s = asyncio.run(worker(FRAMES))
        ratios.append(bare_s / worker_s)
        shared_ratios.append(shared_out_loop(frames) / FRAMES / worker_s)
        overheads.append((worker_s - bare_s) * 1e6)
    return {
        "windows_per_s_over_bare_model": statistics.median(ratios),
        "windows_per_s_over_shared_out_model": statistics.median(shared_ratios),
        "overhead_us_per_window": statistics.median(overheads),
        "bare_windows_per_s": 1 / bare_s,
    }


def bare_loop(frames: list[bytes]) -> float:
    """Seconds to decode and infer all frames in batches, as plainly as it can be written."""
    torch.set_num_threads(THREADS)
    loaded = load(checkpoint_path(MODEL))
    vectors = blank_vectors(loaded.card.model)
    size_px = loaded.card.model.modalities["camera"].size_px
    loaded.fusion.infer(batch_of([fit(decode(frames[0]), size_px)] * BATCH, vectors))
    started = time.perf_counter()
    for at in range(0, len(frames), BATCH):
        pixels = [fit(decode(data), size_px) for data in frames[at : at + BATCH]]
        loaded.fusion.infer(batch_of(pixels, vectors))
    return time.perf_counter() - started


def shared_out_loop(frames: list[bytes]) -> float:
    """The same with each batch in equal shares on threads that compute alone."""
    loaded = load(checkpoint_path(MODEL))
    vectors = blank_vectors(loaded.card.model)
    size_px = loaded.card.model.modalities["camera"].size_px

    def infer(share: list[bytes]) -> None:
        loaded.fusion.infer(batch_of([fit(decode(data), size_px) for data in share], vectors))

    size = BATCH // THREADS
    shares = [frames[at : at + size] for at in range(0, len(frames), size)]
    with ThreadPoolExecutor(THREADS, initializer=lambda: torch.set_num_threads(1)) as threads:
        list(threads.map(infer, shares[:THREADS]))
        started = time.perf_counter()
        list(threads.map(infer, shares))
        return time.perf_counter() - started


def blank_vectors(model: ModelConfig) -> torch.Tensor:
    modality = model.modalities["kinematics"]
    return torch.zeros(BATCH, modality.samples, modality.channels)


def batch_of(pixels: list, vectors: torch.Tensor) -> Batch:  # type: ignore[type-arg]
    images = torch.stack([torch.from_numpy(one) for one in pixels])
    count = len(pixels)
    there = torch.ones(count, dtype=torch.bool)
    return Batch(
        images={"camera": images},
        previous={"camera": images.roll(1, 0)},
        has_previous={"camera": there},
        vectors={"kinematics": vectors[:count]},
        present={"camera": there, "kinematics": there},
    )


async def worker(frames: int) -> float:
    """Seconds a window from the first to the last latent of a worker that is fed at full speed."""
    config = settings("memory://bench", MODEL, THREADS, BATCH)
    engine = Engine(config.stations, config.model)
    engine.warm_up()
    feed = list(messages(frames))
    async with (
        open_transport(config.broker.model_copy(update={"client_id": "worker"})) as inside,
        open_transport(config.broker.model_copy(update={"client_id": "feeder"})) as outside,
        open_transport(config.broker.model_copy(update={"client_id": "reader"})) as reader,
    ):
        await reader.subscribe([MqttTopics().latent(STATION).topic])
        stop = asyncio.Event()
        running = asyncio.create_task(Pipeline(config, engine, inside).run(stop))
        await asyncio.sleep(0.2)
        expected = frames - 2  # the last ones wait for a watermark
        reading = asyncio.create_task(_until_read(reader, expected))
        started = time.perf_counter()
        for message in feed:
            await outside.publish(message)
        elapsed = await reading - started
        stop.set()
        await running
    return elapsed / expected


async def _until_read(reader: Transport, count: int) -> float:
    """When the last of so many latents arrived."""
    async for _ in reader.deliveries():
        count -= 1
        if count == 0:
            break
    return time.perf_counter()
