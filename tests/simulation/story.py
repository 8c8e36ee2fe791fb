"""What happens at a small plant: its cells, their streams, and everything that goes wrong there."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from stream.config import WorkerSettings
from stream.images import encode_jpeg
from stream.inputs import MODALITY_HEADER
from stream.messages import Frame, Samples
from stream.topics import Address, KafkaTopics, Topics, kafka_key
from stream.transports.kafka_connection import partition_for
from stream.transports.transport import Message
from stream.wire import encode_frame, encode_samples

SECOND = 1_000_000_000
START_NS = 1_760_000_000 * SECOND
CAMERA_HZ, ARM_HZ, BATCH = 10, 50, 5
PICTURES = [
    encode_jpeg(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8))
    for seed in range(32)
]
HIT_S = 2.0
KAFKA = KafkaTopics()


@dataclass(frozen=True)
class Hall:
    """Cells, and over how many partitions a log shares them out."""

    cells: Sequence[str]
    partitions: int

    @cached_property
    def number_of(self) -> Mapping[str, int]:
        """The partition number of each cell, as Kafka's clients choose it."""
        every = list(range(self.partitions))
        return {one: partition_for(kafka_key(one).encode(), every, every) for one in self.cells}


def hall(*names: str, partitions: int) -> Hall:
    """One with cells of these names."""
    return Hall([f"acme/plant/hall/line/{name}" for name in names], partitions)


SMALL = hall("one", "two", "three", partitions=2)  # two cells share a partition number


def configuration(
    name: str, idle_timeout_ms: float = 200, cells: Sequence[str] = SMALL.cells
) -> WorkerSettings:
    """One worker of the plant; all of them serve all cells."""
    camera = {"kind": "image", "rate_hz": CAMERA_HZ, "size_px": [8, 8]}
    arm = {"kind": "vector", "rate_hz": ARM_HZ, "samples": 8, "channels": 2}
    times = {"idle_timeout_ms": idle_timeout_ms, "offline_after_ms": 60_000}
    station = {"modalities": {"camera": camera, "arm": arm}, **times}
    return WorkerSettings.model_validate(
        {
            "kind": "worker",
            "name": name,
            "broker": {"url": "kafka://simulated:9092"},
            "stations": [{"id": cell, **station} for cell in cells],
            "model": {"max_wait_ms": 10},
            "status_interval_s": 0.3,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message at the plant, ``at_s`` seconds after the story's begin."""

    at_s: float
    number: int
    message: Message


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that goes wrong with a cell's streams, in seconds of the story."""

    what: str
    begin_s: float
    end_s: float = math.inf


Plot: TypeAlias = Callable[[np.random.Generator, float], Sequence[Happening]]


def once(random: np.random.Generator, seconds: float) -> Sequence[Happening]:
    """Up to two things at the same time."""
    number = int(random.integers(0, 3))
    events = random.choice(("silent camera", "silent arm", *_HITS), number, replace=False)
    onset_s = random.uniform(0.5, max(seconds - HIT_S, 0.6))
    return [Happening(str(what), onset_s, _end_s(str(what), onset_s)) for what in events]


def again_and_again(random: np.random.Generator, seconds: float) -> Sequence[Happening]:
    """Something every few seconds, and in two of three cells a stream falls silent at last."""
    happenings, at_s = [], random.uniform(1.0, 3.0)
    while at_s < seconds - HIT_S:
        happenings.append(Happening(str(random.choice(_HITS)), at_s, at_s + HIT_S))
        at_s += random.uniform(4.0, 7.0)
    silent = str(random.choice(("", "silent camera", "silent arm")))
    return [*happenings, Happening(silent, random.uniform(0.7, 0.9) * seconds)]


_HITS = ("frozen", "garbage")


def _end_s(what: str, onset_s: float) -> float:
    """What falls silent stays so: a gap that is over when a worker comes back is none to it."""
    return onset_s + HIT_S if what in _HITS else math.inf


def story(
    seed: int, seconds: float, topics: Topics = KAFKA, hall: Hall = SMALL, plot: Plot = once
) -> list[Sent]:
    """Everything that is sent, in order, to a broker that names its ``topics`` so."""
    random = np.random.default_rng([seed, 1])
    sent: list[Sent] = []
    for cell in hall.cells:
        for at_s, modality, address, payload in _cell(cell, seconds, topics, plot(random, seconds)):
            message = Message(
                topic=address.topic,
                key=address.key,
                payload=payload,
                headers={MODALITY_HEADER: modality},
            )
            arrives_s = at_s + _travels_s(random)
            sent.append(Sent(at_s=arrives_s, number=hall.number_of[cell], message=message))
    return sorted(sent, key=lambda one: one.at_s)


def _cell(
    cell: str, seconds: float, topics: Topics, happenings: Sequence[Happening]
) -> Iterator[tuple[float, str, Address, bytes]]:
    def happens(what: str, at_s: float) -> bool:
        mine = [one for one in happenings if one.what == what]
        return any(one.begin_s <= at_s < one.end_s for one in mine)

    camera, arm = topics.data(cell, "image", "camera"), topics.data(cell, "vector", "arm")
    for at in range(round(seconds * CAMERA_HZ)):
        at_s = at / CAMERA_HZ
        if not happens("silent camera", at_s):
            picture = PICTURES[0 if happens("frozen", at_s) else at % len(PICTURES)]
            data = b"garbage" if happens("garbage", at_s) and at % 2 else picture
            yield at_s, "camera", camera, _frame(at_s, data)
    for at in range(0, round(seconds * ARM_HZ), BATCH):
        at_s = (at + BATCH - 1) / ARM_HZ
        if not happens("silent arm", at_s):
            yield at_s, "arm", arm, _samples(at)


def _frame(at_s: float, data: bytes) -> bytes:
    frame = Frame(modality="camera", time_ns=_time_ns(at_s), data=data, format="jpeg")
    return encode_frame(frame)


def _samples(at: int) -> bytes:
    seconds = (at + np.arange(BATCH)) / ARM_HZ
    times_ns = np.array([_time_ns(second) for second in seconds])
    values = np.stack([np.sin(5 * seconds), np.cos(5 * seconds)], axis=1)
    return encode_samples(Samples(modality="arm", times_ns=times_ns, values=values))


def _time_ns(at_s: float) -> int:
    return START_NS + round(at_s * SECOND)


def _travels_s(random: np.random.Generator) -> float:
    """Out of order within what is allowed: which readings are late depends on what came before."""
    travels_s = min(random.exponential(0.004), 0.02)
    return travels_s + (0.025 if random.random() < 0.02 else 0.0)
