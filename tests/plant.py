"""A worker beside a broker in memory, and the plant and the MES around it."""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import numpy as np

from stream.config import WorkerSettings
from stream.engine import Engine
from stream.images import encode_jpeg
from stream.inputs import TIME_HEADER
from stream.messages import Pixels
from stream.metrics import Metrics
from stream.pipeline import Pipeline
from stream.proto.weldfusion_pb2 import FusedLatent
from stream.transports.memory import MemoryTransport
from stream.transports.transport import Delivery, Message, Transport

MS = 1_000_000
SECOND = 1_000_000_000
START = 1_760_000_000 * SECOND
CELL = "acme/plant1/hall2/line3/cell4"
OTHER = "acme/plant1/hall2/line3/cell5"
BASE = f"{CELL}/_weldfusion/v1"
SITE = "acme/plant1/_weldfusion/v1"
CAMERA_HZ, ARM_HZ = 10, 50
PATIENCE_S = 20

_brokers = count()


def configuration(broker: str, **changed: Any) -> WorkerSettings:
    """A worker whose inputs are plain JSON and raw JPEG, fast to tell silence."""
    camera = {"kind": "image", "rate_hz": CAMERA_HZ, "size_px": [16, 16], "device": {"id": "c7"}}
    arm = {"kind": "vector", "rate_hz": ARM_HZ, "samples": 16, "channels": ["x", "y"]}
    station = {
        "id": CELL,
        "modalities": {
            "camera": {**camera, **changed.pop("camera", {})},
            "arm": {**arm, **changed.pop("arm", {})},
        },
        "idle_timeout_ms": 100,
        **changed.pop("station", {}),
    }
    tree = "{enterprise}/{site}/{area}/{line}/{cell}"
    fields = {"time": "/ts", "time_unit": "ns", "values": ["/axes/0", "/axes/1"]}
    robot = {"topic": f"{tree}/robot", "modality": "arm", "format": "json", "json": fields}
    cam = {"topic": f"{tree}/cam", "modality": "camera", "format": "jpeg", "time": "header"}
    return WorkerSettings.model_validate(
        {
            "kind": "worker",
            "broker": {"url": f"memory://{broker}"},
            "stations": [station],
            "inputs": [robot, cam],
            "status_interval_s": 0.05,
            **changed,
        }
    )


class Mes:
    """Everything that a worker has said, as a subscriber sees it."""

    def __init__(self) -> None:
        self.heard: list[Delivery] = []

    async def listen(self, transport: Transport) -> None:
        """Collect until cancelled."""
        async for delivery in transport.deliveries():
            self.heard.append(delivery)

    def documents(self, topic: str) -> list[dict[str, Any]]:
        """JSON messages under a topic, oldest first."""
        return [json.loads(one.payload) for one in self.heard if one.topic.startswith(topic)]

    @property
    def latents(self) -> list[FusedLatent]:
        """The windows, in the order of their publication."""
        found = [one for one in self.heard if one.topic == f"{BASE}/data/latent"]
        return [FusedLatent.FromString(one.payload) for one in found]

    @property
    def events(self) -> list[tuple[str, str]]:
        """(modality/condition, transition) of every fault event."""
        found = self.documents(f"{BASE}/event/fault")
        return [(one["subject"], one["data"]["transition"]) for one in found]

    @property
    def status(self) -> dict[str, Any]:
        """The last monitoring document."""
        found = self.documents(f"{BASE}/state/monitoring")
        return found[-1] if found else {}

    @property
    def dead(self) -> list[tuple[str, str]]:
        """(modality, reason) of every dead letter."""
        found = self.documents(f"{SITE}/dlq")
        return [(one["modality"], one["reason"]) for one in found]


class Plant:
    """A camera and a robot that know nothing of weldfusion, and the worker that hears them."""

    def __init__(self, broker: str, transport: Transport, metrics: Metrics) -> None:
        self.broker = broker
        self.mes = Mes()
        self._transport, self._metrics = transport, metrics

    def metric(self, name: str, **labels: str) -> float:
        """A metric of the worker, 0 before it was first counted."""
        return self._metrics.registry.get_sample_value(name, labels) or 0.0

    async def send(self, topic: str, payload: Any, **more: Any) -> None:
        """Publish bytes as they are, anything else as JSON."""
        data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        await self._transport.publish(Message(topic=topic, payload=data, **more))

    async def picture(self, second: float, data: bytes | None = None) -> None:
        """One JPEG with its capture time in a header."""
        stamp = {TIME_HEADER: str(at_ns(second))}
        await self.send(f"{CELL}/cam", jpeg(second) if data is None else data, headers=stamp)

    async def axes(self, second: float, axes: Any = None) -> None:
        """One JSON message of the robot's gateway."""
        swinging = [math.sin(5 * second), math.cos(5 * second)]
        await self.send(
            f"{CELL}/robot", {"ts": at_ns(second), "axes": swinging if axes is None else axes}
        )

    async def play(
        self,
        first_s: float,
        last_s: float,
        *,
        camera: bool = True,
        arm: bool = True,
        still: bytes | None = None,
    ) -> None:
        """Both streams from one second of event time to another, as fast as they are taken."""
        for at in range(round(first_s * ARM_HZ), round(last_s * ARM_HZ)):
            if arm:
                await self.axes(at / ARM_HZ)
            if camera and at % (ARM_HZ // CAMERA_HZ) == 0:
                await self.picture(at / ARM_HZ, still)

    async def until(self, reached: Callable[[], Any]) -> None:
        """Wait for something that the MES sees; a test that waits in vain shows what it saw."""
        for _ in range(PATIENCE_S * 100):
            if reached():
                return
            await asyncio.sleep(0.01)
        said = {one.topic for one in self.mes.heard}
        raise AssertionError(
            f"not seen: {self.mes.events} {self.mes.dead} {self.mes.status} {said}"
        )

    async def windows_until(self, second: float) -> None:
        """Wait for the window of this second of event time."""
        await self.until(
            lambda: any(one.anchor_time_ns >= at_ns(second) for one in self.mes.latents[-3:])
        )


def at_ns(second: float) -> int:
    """Event time of a second of the run."""
    return START + round(second * SECOND)


def jpeg(second: float) -> bytes:
    """A picture that no other second has."""
    return encode_jpeg(noise(round(second * 1000)))


def noise(seed: int) -> Pixels:
    """Random pixels (16, 16, 3)."""
    return np.random.default_rng(seed).integers(0, 255, (16, 16, 3), np.uint8)


def new_broker() -> str:
    """The name of a broker of its own for every test."""
    return f"plant-{next(_brokers)}"


@contextlib.asynccontextmanager
async def working(
    *,
    broker: str = "",
    transport: Transport | None = None,
    engine: type[Engine] = Engine,
    shadow: bool = False,
    **changed: Any,
) -> AsyncIterator[Plant]:
    """A plant with a running worker, which drains when the block is left."""
    broker = broker or new_broker()
    settings = configuration(broker, **changed)
    transport = transport or MemoryTransport(broker, client_id="worker", persistent=True)
    plant_side, mes_side = MemoryTransport(broker), MemoryTransport(broker)
    pipeline = Pipeline(
        settings, engine(settings.stations, settings.model), transport, shadow=shadow
    )
    plant, stop = Plant(broker, plant_side, pipeline.metrics), asyncio.Event()
    async with plant_side, mes_side:
        await mes_side.subscribe([f"{BASE}/#", f"{SITE}/#"])
        listening = asyncio.create_task(plant.mes.listen(mes_side))
        async with transport:
            running = asyncio.create_task(pipeline.run(stop))
            await plant.until(lambda: plant.mes.status.get("state") == "running")
            try:
                yield plant
            finally:
                stop.set()
                await running
        await plant.until(lambda: plant.mes.status["state"] == "stopped")
        listening.cancel()
