"""What a replay says, heard on a broker in memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from simulators.recordings.open import open_recording
from simulators.replay import Replay, ReplayOptions
from simulators.scenario import Planned
from stream.messages import Frame, Samples
from stream.topics import MqttTopics
from stream.transports.memory import MemoryTransport
from stream.transports.transport import Delivery
from stream.wire import decode_frame, decode_samples
from tests.recorded import SECOND

CELL = "acme/a/b/c/d"
BASE = f"{CELL}/_weldfusion/v1"
CAMERA, ARM, TRUTH = f"{BASE}/data/image/camera", f"{BASE}/data/vector/arm", f"{BASE}/truth/fault"
START_NS = 1_760_000_000 * SECOND
TOPICS = MqttTopics()
_brokers = count()


def new_broker() -> str:
    """The name of a broker of its own for every test."""
    return f"replay-{next(_brokers)}"


class Heard:
    """Everything below the cell's own topic, in the order of its arrival."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []

    def under(self, topic: str) -> list[Delivery]:
        return [one for one in self.deliveries if one.topic == topic]

    def readings(self, topic: str) -> list[Any]:
        decode = decode_frame if topic == CAMERA else decode_samples
        return [decode(one.payload) for one in self.under(topic)]

    @property
    def frames(self) -> list[Frame]:
        return self.readings(CAMERA)

    @property
    def samples(self) -> list[Samples]:
        return self.readings(ARM)

    @property
    def truth(self) -> list[dict[str, Any]]:
        return [json.loads(one.payload) for one in self.under(TRUTH)]


@asynccontextmanager
async def listening(broker: str) -> AsyncIterator[Heard]:
    heard = Heard()

    async def listen() -> None:
        async for delivery in client.deliveries():
            heard.deliveries.append(delivery)

    async with MemoryTransport(broker) as client:
        await client.subscribe([f"{CELL}/#"])
        task = asyncio.create_task(listen())
        yield heard
        await asyncio.sleep(0.02)  # what was published is in the inbox by now
        task.cancel()


def options(**changed: Any) -> ReplayOptions:
    return ReplayOptions(**{"station": CELL, "source": "one.mcap", "speed": 0.0, **changed})


def fault(at_s: float, seconds: float = 0.5, name: str = "camera.black") -> Planned:
    modality, _, kind = name.partition(".")
    return Planned(at_s=at_s, modality=modality, fault=kind, severity=0.8, seconds=seconds, seed=3)


async def replayed(path: str | Path, *planned: Planned, **changed: Any) -> Heard:
    """What a replay from START_NS says, at full speed."""
    broker = new_broker()
    async with listening(broker) as heard, MemoryTransport(broker) as transport:
        replay = Replay(open_recording(path), transport, TOPICS, options(**changed))
        replay.plan(list(planned), START_NS)
        await replay.run(START_NS)
    return heard


def brightness(frame: Frame) -> float:
    return float(cv2.imdecode(np.frombuffer(frame.data, np.uint8), cv2.IMREAD_GRAYSCALE).mean())
