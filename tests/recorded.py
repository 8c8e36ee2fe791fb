"""A small recorded station that several tests play, record, train on and judge."""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from simulators.recordings.mcap_writer import McapWriter
from simulators.recordings.recording import Modality, Record
from stream.images import encode_jpeg
from stream.messages import Frame, Kind, Samples

MS = 1_000_000
SECOND = 1_000_000_000
RECORDED_NS = 1_700_000_000 * SECOND
CAMERA_HZ, ARM_HZ, BATCH = 15, 125, 5
SIDE_PX = 64
JPEG_QUALITY = 70  # not the one that a replay encodes with
CHANNELS = ("x", "y", "z")
LOGGED_AFTER_NS = 2 * MS
BETWEEN_EPISODES_NS = 100 * SECOND
MODALITIES = {
    "camera": Modality(
        name="camera", kind=Kind.IMAGE, rate_hz=CAMERA_HZ, size_px=(SIDE_PX, SIDE_PX)
    ),
    "arm": Modality(
        name="arm", kind=Kind.VECTOR, rate_hz=ARM_HZ, names=CHANNELS, units=("m", "m", "m")
    ),
}


def write_recording(path: Path, episodes: int = 1, seconds: float = 1.0) -> Path:
    """A blob that follows an arm; episodes are numbered from 0 and lie 100 s apart."""
    with McapWriter(path, MODALITIES, {"station": "acme/a/b/c/d"}) as writer:
        for number in range(episodes):
            for record in _episode(number, RECORDED_NS + number * BETWEEN_EPISODES_NS, seconds):
                writer.write(record)
    return path


def _episode(number: int, start_ns: int, seconds: float) -> list[Record]:
    rng = np.random.default_rng(number)
    phase = rng.uniform(0, 6)
    readings = [*_frames(start_ns, seconds, phase), *_batches(start_ns, seconds, phase, rng)]
    records = [
        Record(log_time_ns=one.time_ns + LOGGED_AFTER_NS, episode=number, reading=one)
        for one in readings
    ]
    return sorted(records, key=lambda record: record.log_time_ns)


def _frames(start_ns: int, seconds: float, phase: float) -> Iterator[Frame]:
    for at in range(round(seconds * CAMERA_HZ)):
        time_ns = start_ns + at * SECOND // CAMERA_HZ
        where = _motion((time_ns - start_ns) / SECOND, phase)
        yield Frame(modality="camera", time_ns=time_ns, data=_picture(*where[:2]), format="jpeg")


def _batches(
    start_ns: int, seconds: float, phase: float, rng: np.random.Generator
) -> Iterator[Samples]:
    for at in range(0, round(seconds * ARM_HZ), BATCH):
        times_ns = start_ns + np.arange(at, at + BATCH) * (SECOND // ARM_HZ)
        values = np.stack([_motion((one - start_ns) / SECOND, phase) for one in times_ns])
        values += rng.normal(0, 0.002, values.shape)
        yield Samples(
            modality="arm", times_ns=times_ns, values=values, names=CHANNELS, units=("m", "m", "m")
        )


def _motion(second: float, phase: float) -> np.ndarray:
    return np.sin(np.array([1.7, 2.3, 3.1]) * second + phase)


@functools.cache
def _background() -> np.ndarray:
    return np.random.default_rng(9).uniform(60, 90, (SIDE_PX, SIDE_PX, 1))


def _picture(x: float, y: float) -> bytes:
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    middle = SIDE_PX / 2
    squared = (columns - middle - 20 * x) ** 2 + (rows - middle - 20 * y) ** 2
    blob = 120 * np.exp(-squared / 60)[..., None]
    return encode_jpeg((_background() + blob * [1, 0.8, 0.6]).astype(np.uint8), JPEG_QUALITY)
