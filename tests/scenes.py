"""A picture and the motion of six joints, for the faults to change."""

import cv2
import numpy as np

from simulators.faults.registry import Signal
from stream.messages import Floats, Pixels

NAMES = tuple(f"{what}_{k}" for what in ("position", "velocity", "torque") for k in range(1, 7))
SIGNAL = Signal(
    rate_hz=125.0,
    spread=np.repeat([0.4, 0.6, 5.0], 6),
    noise_sd=np.repeat([0.001, 0.01, 0.1], 6),
    names=NAMES,
)
SEEDS = range(8)


def scene(seed: int = 0, height: int = 96, width: int = 128) -> Pixels:
    rough = np.random.default_rng(seed).integers(20, 236, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def motion(samples: int = 100) -> tuple[Floats, Floats]:
    seconds = np.arange(samples) / 125
    phases = np.linspace(0, 5, 18)
    return np.sin(seconds[:, None] * 2 + phases) * SIGNAL.spread * 1.4, seconds
