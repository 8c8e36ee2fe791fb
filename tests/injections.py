"""Faults planned on a camera and an arm, and readings for them to change."""

import cv2
import numpy as np

from simulators.injection import Injections
from simulators.recordings.recording import Modality
from simulators.scenario import Planned
from simulators.truth import place
from stream.images import encode_jpeg
from stream.messages import Frame, Kind, Pixels, Samples

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
QUANTUM = 0.01
NOISE_SD = 0.02
MODALITIES = {
    "camera": Modality(name="camera", kind=Kind.IMAGE, rate_hz=15),
    "arm": Modality(
        name="arm",
        kind=Kind.VECTOR,
        rate_hz=125,
        names=("position_1", "velocity_1"),
        noise_sd=(NOISE_SD, NOISE_SD),
        quantum=(QUANTUM, QUANTUM),
    ),
}
STRIKES_THE_ENCODER, STRIKES_THE_VELOCITY = 1, 0  # seeds
SPREADS = {"arm": np.array([1.0, 2.0])}


def planned(name: str, modality: str = "arm", **settings: float) -> Planned:
    facts = {"at_s": 0.1, "severity": 0.5, "seconds": 0.2, "seed": STRIKES_THE_ENCODER} | settings
    return Planned(modality=modality, fault=name, **facts)  # type: ignore[arg-type]


def injected(*wanted: Planned) -> Injections:
    injections = Injections(MODALITIES, SPREADS)
    for one in wanted:
        injections.add(place(one, START_NS, MODALITIES[one.modality].kind))
    return injections


def pixels(seed: int = 0) -> Pixels:
    rough = np.random.default_rng(seed).integers(20, 236, (8, 8, 3), np.uint8)
    return np.asarray(cv2.resize(rough, (64, 48), interpolation=cv2.INTER_CUBIC), np.uint8)


def frame(seconds: float, seed: int = 0, data: bytes | None = None) -> Frame:
    return Frame(
        modality="camera",
        time_ns=START_NS + round(seconds * NS),
        data=encode_jpeg(pixels(seed), 80) if data is None else data,
        format="jpeg",
    )


def arm(count: int = 50, seed: int = 0) -> tuple[Samples, Samples]:
    """Measured and clean samples: a sine and its slope, with noise and quantisation."""
    seconds = np.arange(count) / 125
    clean = np.stack([np.sin(seconds), np.cos(seconds)], axis=1)
    noisy = clean + np.random.default_rng(seed).normal(0, NOISE_SD, clean.shape)
    times_ns = START_NS + (seconds * NS).astype(np.int64)
    return (
        Samples(
            modality="arm",
            times_ns=times_ns,
            values=np.rint(noisy / QUANTUM) * QUANTUM,
            names=MODALITIES["arm"].names,
            units=("rad", "rad/s"),
        ),
        Samples(modality="arm", times_ns=times_ns, values=clean),
    )
