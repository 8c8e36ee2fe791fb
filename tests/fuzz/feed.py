"""A station's messages, most of them damaged, as a function of the seed."""

import functools
from collections.abc import Iterator
from random import Random

import cv2
import numpy as np

from stream.config import WorkerSettings
from stream.images import encode_jpeg
from stream.inputs import TIME_HEADER
from stream.messages import Frame, Samples
from stream.transports.transport import Message
from stream.wire import encode_frame, encode_samples
from tests.fuzz.mutations import mutated, strange_json

STATION = "acme/plant1/hall2/line3/cell4"
BASE = f"{STATION}/_weldfusion/v1"
TREE = "{enterprise}/{site}/{area}/{line}/{cell}"
SECOND = 1_000_000_000
START_NS = 1_760_000_000 * SECOND
STEP_NS = 10_000_000
INTACT = 0.25
IMAGE = {"kind": "image", "rate_hz": 20, "size_px": [16, 16]}
VECTOR = {"kind": "vector", "rate_hz": 20, "samples": 4, "channels": 2}
FIELDS = {"time": "/ts", "time_unit": "ns", "values": "/axes"}
CONTROL = ("context", "command/reset", "state/simulation")


def settings(broker: str) -> WorkerSettings:
    """One worker with an input of every format, and budgets that a flood would fill."""
    data = "{station}/_weldfusion/v1/data"
    bare = {"time": "header"}
    return WorkerSettings.model_validate(
        {
            "kind": "worker",
            "broker": {"url": f"memory://{broker}"},
            "stations": [
                {
                    "id": STATION,
                    "modalities": {"camera": IMAGE, "eye": IMAGE, "scan": IMAGE}
                    | {"arm": VECTOR, "robot": VECTOR},
                    "idle_timeout_ms": 50,
                    "budget_mib": 1,
                }
            ],
            "inputs": [
                {"topic": f"{data}/image/{{modality}}", "format": "weldfusion"},
                {"topic": f"{data}/vector/{{modality}}", "format": "weldfusion"},
                {"topic": f"{TREE}/eye", "modality": "eye", "format": "jpeg", **bare},
                {"topic": f"{TREE}/scan", "modality": "scan", "format": "png", **bare},
                {"topic": f"{TREE}/robot", "modality": "robot", "format": "json", "json": FIELDS},
            ],
        }
    )


def messages(count: int, seed: int) -> Iterator[Message]:
    """So many messages; a quarter of them is as it should be, so that windows go on."""
    random = Random(seed)
    for at in range(count):
        yield message(random, START_NS + at * STEP_NS)


def message(random: Random, time_ns: int) -> Message:
    """One message of any kind, on time, twice, late or far away."""
    make = random.choice([camera, arm, eye, scan, robot, control, stranger])
    if random.random() < 0.1:
        time_ns += random.choice([-STEP_NS, -SECOND, -10 * SECOND, 3600 * SECOND, -time_ns - 5])
    time_ns = time_ns // (5 * STEP_NS) * 5 * STEP_NS if random.random() < 0.1 else time_ns
    return make(random, time_ns, random.random() < INTACT)


def camera(random: Random, time_ns: int, intact: bool) -> Message:
    data = picture(random, ".jpg", intact or random.random() < 0.5)
    sent = Frame(modality="camera", time_ns=time_ns, data=data, format="jpeg")
    return _sent(f"{BASE}/data/image/camera", encode_frame(sent), random, intact)


def arm(random: Random, time_ns: int, intact: bool) -> Message:
    count = random.choice([1, 1, 1, 2, 5])
    shape = (count, 2 if intact else random.choice([1, 2, 2, 2, 3]))
    times = np.array([max(time_ns, 0) + at * 1000 for at in range(count)], np.int64)
    values = np.array([random.gauss(0, 1) for _ in range(shape[0] * shape[1])]).reshape(shape)
    units = ("rad",) * random.choice([0, shape[1], shape[1] + (not intact)])
    sent = Samples(modality="arm", times_ns=times, values=values, units=units)
    return _sent(f"{BASE}/data/vector/arm", encode_samples(sent), random, intact)


def eye(random: Random, time_ns: int, intact: bool) -> Message:
    return _bare(random, f"{STATION}/eye", ".jpg", time_ns, intact)


def scan(random: Random, time_ns: int, intact: bool) -> Message:
    return _bare(random, f"{STATION}/scan", ".png", time_ns, intact)


def robot(random: Random, time_ns: int, intact: bool) -> Message:
    document = {"ts": time_ns, "axes": [random.gauss(0, 1), random.gauss(0, 1)]}
    payload = strange_json(random, document if not intact else {"none": 0})
    if intact:
        payload = f'{{"ts": {time_ns}, "axes": {document["axes"]}}}'.encode()
    damaged = intact or random.random() < 0.5
    return _sent(f"{STATION}/robot", payload, random, damaged)


def control(random: Random, time_ns: int, intact: bool) -> Message:
    document = {"modality": "camera", "condition": "signal", "validUntil": "2030-01-01T00:00:00Z"}
    payload = strange_json(random, document)
    topic = f"{BASE}/{random.choice(CONTROL)}"
    return _sent(topic, payload, random, intact)


def stranger(random: Random, time_ns: int, intact: bool) -> Message:
    place = random.choice(["a/b/c/d/e/robot", f"{BASE}/data/image/nobody", "a/b/c/d/e/eye"])
    return Message(topic=place, payload=b"{}")


def picture(random: Random, suffix: str, intact: bool) -> bytes:
    data = random.choice(_pictures(suffix))
    return data if intact else mutated(random, data)


@functools.cache
def _pictures(suffix: str) -> list[bytes]:
    drawn = np.random.default_rng(1).integers(0, 255, (8, 16, 16, 3), np.uint8)
    progressive = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1] if suffix == ".jpg" else []
    encoded = [cv2.imencode(suffix, one, progressive)[1].tobytes() for one in drawn]
    return [*encoded, encode_jpeg(drawn[0])]


def _bare(random: Random, topic: str, suffix: str, time_ns: int, intact: bool) -> Message:
    stamps = [str(time_ns)] * 4 + ["", "-1", "nan", "²", "9" * 30]
    headers = {TIME_HEADER: str(time_ns) if intact else random.choice(stamps)}
    return Message(topic=topic, payload=picture(random, suffix, intact), headers=headers)


def _sent(topic: str, payload: bytes, random: Random, intact: bool) -> Message:
    return Message(topic=topic, payload=payload if intact else mutated(random, payload))
