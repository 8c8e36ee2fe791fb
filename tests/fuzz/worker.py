"""Damaged messages through a running worker, and an account of what became of each."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from typing import Any
from unittest.mock import patch

import psutil

from stream.engine import Engine
from stream.pipeline import Pipeline
from stream.topics import MqttTopics
from stream.tracks import ImageTrack, VectorTrack
from stream.transports.memory import MemoryTransport
from tests.fuzz.feed import BASE, CONTROL, STATION, messages, settings

WARM_UP = 0.2  # of the messages
REFUSED_LATER = ("late", "duplicate", "jump", "overflow", "wrong_channels")
CONTROLS = tuple(f"{BASE}/{one}" for one in CONTROL)
_brokers = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Messages: sent = controls + readings + refused; samples = kept + refused later.

    ``refused`` is by reason, of messages that became no reading; ``refused_later`` of frames and
    samples, whose ``kept`` were counted where they were put down.
    """

    messages: int
    controls: int
    readings: int
    refused: dict[str, int]
    samples: int
    kept: int
    refused_later: dict[str, int]
    windows: int
    letters: int
    seconds: float
    rss_start_mb: float
    rss_end_mb: float

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self)

    def gaps(self) -> list[str]:
        """What does not add up."""
        found = []
        told = self.controls + self.readings + sum(self.refused.values())
        if told != self.messages:
            found.append(f"{self.messages} messages sent, {told} accounted for")
        told = self.kept + sum(self.refused_later.values())
        if told != self.samples:
            found.append(f"{self.samples} samples read, {told} accounted for")
        return found


async def fuzz(number: int, seed: int) -> Account:
    """Send so many messages to a worker without a model; raises what the worker raised."""
    broker = f"fuzz-{next(_brokers)}"
    config, kept, letters = settings(broker), Counter[str](), Counter[str]()
    with counting(kept):
        async with MemoryTransport(broker) as inside, MemoryTransport(broker) as outside:
            pipeline = Pipeline(config, Engine(config.stations, config.model), inside)
            stop = asyncio.Event()
            running = asyncio.create_task(pipeline.run(stop))
            listening = asyncio.create_task(_listen(broker, letters))
            await asyncio.sleep(0.1)
            begun, sent = time.monotonic(), Sent()
            feeding = asyncio.create_task(sent.feed(outside, pipeline, number, seed))
            await asyncio.wait({running, feeding}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                await feeding
            seconds = time.monotonic() - begun
            stop.set()
            await running
            for task in (feeding, listening):
                task.cancel()
        station = pipeline._served[STATION].station
        station.flush()
    later = {why: station.tally.refused.pop(why, 0) for why in REFUSED_LATER}
    return Account(
        messages=number,
        controls=sent.controls,
        readings=station.tally.readings,
        refused=dict(sorted((station.tally.refused + pipeline.status.unrouted).items())),
        samples=station.tally.samples,
        kept=kept.total(),
        refused_later=later,
        windows=station.tally.windows,
        letters=letters.total(),
        seconds=round(seconds, 2),
        rss_start_mb=round(sent.rss_start / 1e6, 1),
        rss_end_mb=round(_rss() / 1e6, 1),
    )


@dataclass(slots=True)
class Sent:
    """What was sent so far."""

    controls: int = 0
    data: int = 0
    rss_start: int = 0

    async def feed(
        self, transport: MemoryTransport, pipeline: Pipeline, number: int, seed: int
    ) -> None:
        """Send everything; return once every data message is counted, as reading or refused."""
        for at, one in enumerate(messages(number, seed)):
            if at == round(number * WARM_UP):
                self.rss_start = _rss()
            is_control = one.topic.startswith(CONTROLS)
            self.controls, self.data = self.controls + is_control, self.data + (not is_control)
            await transport.publish(one)
        while self.data > _counted(pipeline):  # noqa: ASYNC110 (the worker tells in its counters)
            await asyncio.sleep(0.02)


def _counted(pipeline: Pipeline) -> int:
    tally = pipeline._served[STATION].station.tally
    refused = (tally.refused + pipeline.status.unrouted).items()
    return tally.readings + sum(many for why, many in refused if why not in REFUSED_LATER)


async def _listen(broker: str, letters: Counter[str]) -> None:
    async with MemoryTransport(broker) as transport:
        await transport.subscribe([MqttTopics().dead_letter(STATION).topic])
        async for delivery in transport.deliveries():
            letters[delivery.topic] += 1


@contextmanager
def counting(kept: Counter[str]) -> Iterator[None]:
    """Count what the tracks take, less what they give up again."""
    with ExitStack() as stack:
        for kind in (ImageTrack, VectorTrack):
            for name, sign in (
                ("append", 1),
                ("insert", 1),
                ("drop_after", -1),
                ("drop_oldest", -1),
            ):
                spy = _spy(getattr(kind, name), kept, name, sign)
                stack.enter_context(patch.object(kind, name, spy))
        yield


def _spy(
    method: Callable[..., Any], kept: Counter[str], name: str, sign: int
) -> Callable[..., Any]:
    def spy(track: Any, *arguments: Any) -> Any:
        result = method(track, *arguments)
        moved = arguments if sign > 0 else result if isinstance(result, list) else [result]
        kept[name] += sign * sum(len(getattr(one, "times_ns", "1")) for one in moved)
        return result

    return spy


def _rss() -> int:
    return int(psutil.Process().memory_info().rss)
