"""What each camera fault adds to a frame of 256x256 px, once its first frame is done."""

import time
from statistics import median

import cv2
import numpy as np

from simulators.faults.registry import fault_names, start
from stream.messages import Kind

SIDE_PX = 256
FRAMES = 41
SEVERITY = 0.7
SEED = 1


def measure() -> dict[str, object]:
    """Milliseconds a frame on one core, the median of 40, by fault; the slowest first."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        found = {name: _milliseconds(name) for name in fault_names(Kind.IMAGE)}
    finally:
        cv2.setNumThreads(threads)
    slowest = dict(sorted(found.items(), key=lambda item: -item[1]))
    return {"slowest_image_fault_ms": next(iter(slowest.values())), "image_faults_ms": slowest}


def _milliseconds(name: str) -> float:
    rng = np.random.default_rng(SEED)
    frames = rng.integers(0, 256, (FRAMES, SIDE_PX, SIDE_PX, 3), np.uint8)
    injector = start(Kind.IMAGE, name, SEVERITY, SEED)
    taken = []
    for at, frame in enumerate(frames):
        begun = time.perf_counter()
        injector(frame, at / 15)
        taken.append((time.perf_counter() - begun) * 1000)
    return round(median(taken[1:]), 3)
