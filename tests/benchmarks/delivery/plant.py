"""Stations with a camera and an arm, and what they send: beforehand, or as it happens."""

import asyncio
import heapq
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count, islice
from typing import Any

import cv2
import numpy as np

from simulators.replay import data_message
from stream.config import WorkerSettings
from stream.images import encode_jpeg
from stream.messages import Frame, Reading, Samples
from stream.topics import Topics, kafka_key, topics_for
from stream.transports.broker import BrokerConfig
from stream.transports.kafka_connection import partition_for
from stream.transports.open import open_transport
from stream.transports.transport import Transport

CAMERA_HZ, ARM_HZ, CHANNELS = 15, 125, 18
MESSAGES_A_WINDOW = 1 + ARM_HZ / CAMERA_HZ
OUT_OF_ORDER_NS = 50_000_000
SIDE_PX, BLUR_PX = 256, 5.0  # pictures of about 12 kB
PICTURES = 32
SECOND = 1_000_000_000
START_NS = 1_760_000_000 * SECOND
SENT_AT_ONCE = 500


def stations(partitions: int) -> list[str]:
    """As many stations, each of which Kafka puts into a partition of its own."""
    numbers = list(range(partitions))
    found: dict[int, str] = {}
    for at in count():
        name = f"acme/plant/hall/line/cell{at}"
        found.setdefault(partition_for(kafka_key(name).encode(), numbers, numbers), name)
        if len(found) == partitions:
            return [found[number] for number in numbers]
    raise AssertionError


def configuration(
    broker: BrokerConfig, names: Sequence[str], *, camera: dict[str, Any] | None = None, **more: Any
) -> WorkerSettings:
    """A worker without a model that serves these stations."""
    modalities = {
        "camera": {"kind": "image", "rate_hz": CAMERA_HZ, **(camera or {})},
        "arm": {"kind": "vector", "rate_hz": ARM_HZ, "channels": CHANNELS},
    }
    station = {"modalities": modalities, "out_of_order_ms": OUT_OF_ORDER_NS / 1e6}
    # the alarm of a picture shown twice is to come and go at once
    station["alarms"] = {"frozen": {"on_delay_ms": 0, "off_delay_ms": 0}}
    return WorkerSettings.model_validate(
        {
            "kind": "worker",
            "name": "bench",
            "broker": broker.model_dump(mode="json", exclude_defaults=True),
            "stations": [{"id": name, **station} for name in names],
            **more,
        }
    )


@lru_cache
def pictures() -> list[bytes]:
    """JPEGs of a texture that moves by three pixels from one to the next."""
    noise = np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), BLUR_PX)
    texture = cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)  # type: ignore[call-overload]
    return [
        encode_jpeg(np.ascontiguousarray(np.roll(texture, 3 * at, axis=1)))
        for at in range(PICTURES)
    ]


def frame(at: int, time_ns: int) -> Frame:
    data = pictures()[at % PICTURES]
    return Frame(modality="camera", time_ns=time_ns, data=data, format="jpeg")


def sample(at: int, time_ns: int) -> Samples:
    values = np.sin(at / 20 + np.arange(CHANNELS))[None]
    return Samples(modality="arm", times_ns=np.array([time_ns], np.int64), values=values)


async def fill(broker: BrokerConfig, names: Sequence[str], windows: range) -> None:
    """Publish what the stations capture during these windows, as fast as it is taken."""
    topics = topics_for(broker.url)
    sent = (data_message(topics, name, reading) for reading in _readings(windows) for name in names)
    async with open_transport(broker) as plant:
        while messages := list(islice(sent, SENT_AT_ONCE)):
            await asyncio.gather(*map(plant.publish, messages))


def _readings(windows: range) -> Iterator[Reading]:
    samples = range(*(at * ARM_HZ // CAMERA_HZ for at in (windows.start, windows.stop)))
    return heapq.merge(
        (frame(at, START_NS + at * SECOND // CAMERA_HZ) for at in windows),
        (sample(at, START_NS + at * SECOND // ARM_HZ) for at in samples),
        key=lambda reading: reading.time_ns,
    )


@dataclass(slots=True)
class Captured:
    """When one station's readings were captured, in order."""

    begun_ns: int = field(default_factory=time.time_ns)
    frames_ns: list[int] = field(default_factory=list)
    samples_ns: list[int] = field(default_factory=list)

    def closing_ns(self, anchor_ns: int) -> int:
        """When the last reading was captured that the window of this anchor had to wait for."""
        passed_ns = anchor_ns + OUT_OF_ORDER_NS
        return max(
            times_ns[bisect_left(times_ns, passed_ns)]
            for times_ns in (self.frames_ns, self.samples_ns)
        )


@asynccontextmanager
async def playing(
    broker: BrokerConfig, station: str, captured: Captured, repeat_every: int = 0
) -> AsyncIterator[None]:
    """Send one station's readings as they are captured, until the block is left.

    One of ``repeat_every`` pictures shows what the one before did.
    """
    async with open_transport(broker) as plant:
        topics = topics_for(broker.url)
        sending = asyncio.create_task(_send(plant, topics, station, captured, repeat_every))
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(
    plant: Transport, topics: Topics, station: str, captured: Captured, repeat_every: int
) -> None:
    begun_s = time.monotonic()
    frames = ((at / CAMERA_HZ, True, at) for at in count())
    samples = ((at / ARM_HZ, False, at) for at in count())
    async with asyncio.TaskGroup() as tasks:
        for due_s, is_frame, at in heapq.merge(frames, samples):
            await asyncio.sleep(begun_s + due_s - time.monotonic())
            now_ns = time.time_ns() // 1000 * 1000  # an event tells microseconds
            (captured.frames_ns if is_frame else captured.samples_ns).append(now_ns)
            repeated = repeat_every and at % repeat_every == 0
            reading = frame(at - 1 if repeated else at, now_ns) if is_frame else sample(at, now_ns)
            tasks.create_task(plant.publish(data_message(topics, station, reading)))
