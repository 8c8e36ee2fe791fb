"""What happens at a small plant: two cells, their streams, and everything that goes wrong there."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stream.config import WorkerSettings
from stream.images import encode_jpeg
from stream.inputs import MODALITY_HEADER
from stream.messages import Frame, Samples
from stream.topics import Address, KafkaTopics, Topics
from stream.transports.transport import Message
from stream.wire import encode_frame, encode_samples

SECOND = 1_000_000_000
START_NS = 1_760_000_000 * SECOND
CELLS = ("acme/plant/hall/line/one", "acme/plant/hall/line/two", "acme/plant/hall/line/three")
NUMBER_OF = dict(zip(CELLS, (0, 1, 1), strict=True))  # two share a partition number
CAMERA_HZ, ARM_HZ, BATCH = 10, 50, 5
PICTURES = [
    encode_jpeg(np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8))
    for seed in range(32)
]
HIT_S = 2.0
KAFKA = KafkaTopics()


def configuration(name: str, idle_timeout_ms: float = 200) -> WorkerSettings:
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
            "stations": [{"id": cell, **station} for cell in CELLS],
            "model": {"max_wait_ms": 10},
            "status_interval_s": 10,
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message at the plant, ``at_s`` seconds after the story's begin."""

    at_s: float
    number: int
    message: Message


def story(seed: int, seconds: float, topics: Topics = KAFKA) -> list[Sent]:
    """Everything that is sent, in order, to a broker that names its ``topics`` so."""
    random = np.random.default_rng([seed, 1])
    sent = [one for cell in CELLS for one in _cell(random, cell, seconds, topics)]
    return sorted(sent, key=lambda one: one.at_s)


def _cell(random: np.random.Generator, cell: str, seconds: float, topics: Topics) -> Iterator[Sent]:
    """What falls silent stays so: a gap that is over when a worker comes back is none to it."""
    events = list(random.choice(_EVENTS, int(random.integers(0, 3)), replace=False))
    onset_s = random.uniform(0.5, max(seconds - HIT_S, 0.6))
    for at in range(round(seconds * CAMERA_HZ)):
        at_s = at / CAMERA_HZ
        hit = onset_s <= at_s < onset_s + HIT_S
        if "silent camera" in events and at_s >= onset_s:
            continue
        picture = PICTURES[0 if "frozen" in events and hit else at % len(PICTURES)]
        data = b"garbage" if "garbage" in events and hit and at % 2 else picture
        address = topics.data(cell, "image", "camera")
        yield _sent(random, cell, "camera", address, at_s, _frame(at_s, data))
    for at in range(0, round(seconds * ARM_HZ), BATCH):
        at_s = (at + BATCH - 1) / ARM_HZ
        if "silent arm" in events and at_s >= onset_s:
            continue
        address = topics.data(cell, "vector", "arm")
        yield _sent(random, cell, "arm", address, at_s, _samples(at))


_EVENTS = ("silent camera", "silent arm", "frozen", "garbage")


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


def _sent(
    random: np.random.Generator,
    cell: str,
    modality: str,
    address: Address,
    at_s: float,
    payload: bytes,
) -> Sent:
    """Out of order within what is allowed: which readings are late depends on what came before."""
    travels_s = min(random.exponential(0.004), 0.02)
    if random.random() < 0.02:
        travels_s += 0.025
    message = Message(
        topic=address.topic,
        key=address.key,
        payload=payload,
        headers={MODALITY_HEADER: modality},
    )
    return Sent(at_s=at_s + travels_s, number=NUMBER_OF[cell], message=message)
