"""Plays a story beside MQTT with workers that are killed, and compares the events."""

import asyncio
import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stream.journal import Journal
from stream.journaling import JournalCourier
from stream.pipeline import Pipeline
from stream.proto.weldfusion_pb2 import FusedLatent
from stream.topics import topics_for
from stream.transports.transport import Message
from tests.simulation.loop import OWNER, Life, SimulatedLoop
from tests.simulation.playing import AFTERWARDS_S, SECONDS, STEPS, Counting, simulated
from tests.simulation.post import Client, Post
from tests.simulation.story import SECOND, SMALL, START_NS, configuration, story

URL = "mqtt://simulated:1883"
FREEZES = 0.4  # share of the workers that freeze once, unless they are killed before


@dataclass(slots=True)
class Heard:
    """What subscribers have heard: contents by identity, each as often as it differed.

    Windows are those closed by watermark; at QoS 0 some may be lost with a connection.
    """

    events: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    windows: dict[tuple[str, str], set[bytes]] = field(default_factory=lambda: defaultdict(set))
    redelivered: int = 0
    crashes: int = 0
    frozen: int = 0


def heard(outputs: list[Message], found: Heard) -> Heard:
    """Sort what was published; an event is what its source and id say, as CloudEvents has it."""
    for message in outputs:
        if message.topic.endswith("/data/latent"):
            latent = FusedLatent.FromString(message.payload)
            identity = (latent.station, f"{latent.epoch}/{latent.anchor_time_ns}")
            if latent.closed_by != "idle":
                found.windows[identity].add(message.payload)
        elif "/event/fault/" in message.topic:
            event = json.loads(message.payload)
            identity = (event["source"], event["id"])
            del event["data"]["producer"]
            event["data"].pop("evidence", None)
            content = json.dumps(event, sort_keys=True)
            if content in found.events[identity]:
                found.redelivered += 1
            else:
                found.events[identity].append(content)
    return found


def compared(wanted: Heard, found: Heard) -> dict[str, int]:
    """Count what workers that were killed lost, or told anew with another content."""
    return {
        "windows": len(wanted.windows),
        "events": len(wanted.events),
        "redelivered": found.redelivered,
        "lost": len(wanted.events.keys() - found.events.keys()),
        "duplicated": sum(len(contents) - 1 for contents in found.events.values()),
        "strange": len(found.events.keys() - wanted.events.keys())
        + sum(found.events.get(key, one)[:1] != one for key, one in wanted.events.items())
        + sum(found.windows.get(key, one) != one for key, one in wanted.windows.items()),
        "untold_windows": len(wanted.windows.keys() - found.windows.keys()),
    }


def play(
    seed: int,
    *,
    crashing: bool,
    courier: type[JournalCourier] = JournalCourier,
    seconds: float = SECONDS,
) -> Heard:
    """Tell the story of this seed to a worker beside MQTT."""
    random = np.random.default_rng([seed, 3])
    with tempfile.TemporaryDirectory(dir=_quick()) as folder:
        return simulated(
            lambda loop: _Plant(
                loop, random, seed, crashing, courier, seconds, Path(folder)
            ).played()
        )


def _quick() -> str | None:
    """A folder in memory where there is one: a journal asks for its disk at every write."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


@dataclass(slots=True)
class _Plant:
    loop: SimulatedLoop
    random: np.random.Generator
    seed: int
    crashing: bool
    courier: type[JournalCourier]
    seconds: float
    folder: Path
    found: Heard = field(default_factory=Heard)
    post: Post = field(init=False)

    def __post_init__(self) -> None:
        self.post = Post(random=self.random)
        if self.crashing:
            self.post.trouble = float(self.random.choice([0.0, 0.02, 0.1]))

    async def played(self) -> Heard:
        working = self.loop.create_task(self._keep())
        outage = self.loop.create_task(self._outages())
        for one in story(self.seed, self.seconds, topics_for(URL)):
            await asyncio.sleep(max(one.at_s - self.loop.time(), 0))
            self.post.post(one.message)
        await outage
        self.post.trouble, self.post.calm = 0.0, True
        await asyncio.sleep(AFTERWARDS_S)
        working.cancel()
        return heard(self.post.outputs, self.found)

    async def _outages(self) -> None:
        if self.crashing and self.random.random() < 0.3:
            await asyncio.sleep(self.random.uniform(0.5, 3.0))
            self.post.cut(True)
            await asyncio.sleep(self.random.uniform(0.1, 0.8))
            self.post.cut(False)

    async def _keep(self) -> None:
        """Start the worker again whenever it was killed; now and then it only freezes a while."""
        while True:
            crashing = self.crashing and not self.post.calm
            steps = round(np.exp(self.random.uniform(np.log(20), np.log(STEPS))))
            life, journal = Life(steps if crashing else None), Journal(self.folder / "w.sqlite")
            self.loop.create_task(self._work(life, journal))
            if crashing and self.random.random() < FREEZES:
                await self._freeze(life)
            await life.ended.wait()
            self.post.client = None
            journal.close()
            self.found.crashes += 1
            await asyncio.sleep(self.random.uniform(0.01, 0.3))

    async def _freeze(self, life: Life) -> None:
        """Let a worker stand still for a while, unless it is killed before."""
        try:
            async with asyncio.timeout(self.random.uniform(0.2, 2.0)):
                await life.ended.wait()
        except TimeoutError:
            self.found.frozen += 1
            life.frozen = True
            await asyncio.sleep(self.random.uniform(0.1, 1.0))
            self.loop.thaw(life)

    async def _work(self, life: Life, journal: Journal) -> None:
        OWNER.set(life)
        await asyncio.create_task(self._worker(journal))

    async def _worker(self, journal: Journal) -> None:
        client, settings = Client(self.post), _settings()
        engine = Counting(settings.stations, settings.model)
        async with (
            asyncio.TaskGroup() as tasks,
            self.courier(client, journal, SMALL.cells) as courier,
        ):
            tasks.create_task(client.send())
            client.connect()
            pipeline = Pipeline(
                settings,
                engine,
                client,  # type: ignore[arg-type]
                courier=courier,
                now_ns=lambda: START_NS + round(self.loop.time() * SECOND),
            )
            await pipeline.run(asyncio.Event())


def _settings() -> Any:
    settings = configuration("worker")
    return settings.model_copy(update={"broker": settings.broker.model_copy(update={"url": URL})})
