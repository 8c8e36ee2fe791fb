"""Where a disturbance of a frame acts: random masks."""

from collections.abc import Callable, Mapping
from typing import TypeAlias, TypeVar

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Levels: TypeAlias = NDArray[np.float32]
"""(H, W), or a frame (H, W, 3) in grey levels 0 to 255, which operations may leave."""

DrawMask: TypeAlias = Callable[[Generator, int, int], Levels]
"""(random, height, width) -> (H, W) in [0, 1]."""

ChoiceT = TypeVar("ChoiceT")


def draw_mask(random: Generator, height: int, width: int) -> Levels:
    """Draw a mask (H, W) in [0, 1]."""
    return drawn(random, MASKS)(random, height, width)


def octave_noise(random: Generator, height: int, width: int, finest: int = 6) -> Levels:
    """Return a smooth random field (H, W), standardised: octaves of falling weight."""
    field = np.zeros((height, width), np.float32)
    persistence, weight = random.uniform(0.4, 0.9), 1.0
    for octave in range(int(random.integers(1, finest)), finest + 1):
        side = 2**octave + 1
        grid = random.standard_normal((side, side), np.float32)
        field += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        weight *= persistence
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), np.float32)


def _whole(random: Generator, height: int, width: int) -> Levels:
    return np.ones((height, width), np.float32)


def _patches(random: Generator, height: int, width: int) -> Levels:
    field = octave_noise(random, height, width)
    edge = np.quantile(field[::4, ::4], 1 - random.uniform(0.02, 0.6))
    return np.asarray(np.clip((field - edge) / random.uniform(0.05, 1.0), 0, 1), np.float32)


def _ramp(random: Generator, height: int, width: int) -> Levels:
    x, y = axes(height, width)
    heading = random.uniform(0, 2 * np.pi)
    along = np.cos(heading) * (x / width - 0.5) + np.sin(heading) * (y / height - 0.5)
    return np.asarray(np.clip(along * random.uniform(1, 4) + random.random(), 0, 1), np.float32)


def _polygons(random: Generator, height: int, width: int) -> Levels:
    mask = np.zeros((height, width), np.float32)
    for _ in range(int(random.integers(1, 4))):
        corners = int(random.integers(3, 9))
        bearing = np.sort(random.uniform(0, 2 * np.pi, corners))
        reach = log_uniform(random, 0.016, 0.43) * width * random.uniform(0.4, 1, corners)
        centre = random.uniform(0, 1, 2) * (width, height)
        outline = centre + np.stack([np.cos(bearing), np.sin(bearing)], 1) * reach[:, None]
        cv2.fillPoly(mask, [outline.astype(np.int32)], 1.0)
    return _softened(random, mask)


def _dots(random: Generator, height: int, width: int) -> Levels:
    mask = np.zeros((height, width), np.float32)
    count = int(log_uniform(random, 1, 150))
    largest = log_uniform(random, 0.004, 0.16 if count < 25 else 0.03) * width
    for _ in range(count):
        x, y = (random.uniform(0, 1, 2) * (width, height)).astype(int).tolist()
        radius = max(1, int(largest * random.uniform(0.3, 1)))
        cv2.circle(mask, (x, y), radius, float(random.uniform(0.5, 1)), cv2.FILLED)
    return _softened(random, mask)


def _strokes(random: Generator, height: int, width: int) -> Levels:
    mask = np.zeros((height, width), np.float32)
    for _ in range(int(log_uniform(random, 1, 14))):
        turns = np.cumsum(random.normal(0, 0.5, int(random.integers(2, 7))))
        bearing = random.uniform(0, 2 * np.pi) + turns
        steps = random.uniform(0.02, 0.3) * width * np.stack([np.cos(bearing), np.sin(bearing)], 1)
        line = random.uniform(0, 1, 2) * (width, height) + np.cumsum(steps, axis=0)
        shade, thick = float(random.uniform(0.5, 1)), int(random.integers(1, 4))
        cv2.polylines(mask, [line.astype(np.int32)], False, shade, thick, cv2.LINE_AA)
    return _softened(random, mask)


def blobs(random: Generator, height: int, width: int) -> Levels:
    """Draw up to a dozen Gaussian bumps, some about the edges."""
    x, y = axes(height, width)
    mask = np.zeros((height, width), np.float32)
    for _ in range(int(random.integers(1, 12))):
        centre = random.uniform(-0.1, 1.1, 2) * (width, height)
        radius = log_uniform(random, 0.008, 0.3) * width
        away = np.square(x - centre[0]) + np.square(y - centre[1])
        mask = np.maximum(mask, np.exp(-away / (2 * radius**2)))
    return mask.astype(np.float32)


MASKS: dict[DrawMask, float] = {
    _whole: 0.30,
    _patches: 0.16,
    _dots: 0.16,
    _polygons: 0.12,
    _strokes: 0.10,
    blobs: 0.10,
    _ramp: 0.06,
}


def drawn(random: Generator, weighted: Mapping[ChoiceT, float]) -> ChoiceT:
    """Draw one of the keys by its weight."""
    weights = np.array(list(weighted.values()))
    return list(weighted)[random.choice(len(weights), p=weights / weights.sum())]


def _softened(random: Generator, mask: Levels) -> Levels:
    sigma_px = log_uniform(random, 0.2, 6)
    if sigma_px < 0.3:
        return mask
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma_px), np.float32)


def axes(height: int, width: int) -> tuple[Levels, Levels]:
    """Return pixel numbers across (1, W) and down (H, 1)."""
    across = np.arange(width, dtype=np.float32)[None, :]
    down = np.arange(height, dtype=np.float32)[:, None]
    return across, down


def log_uniform(random: Generator, low: float, high: float) -> float:
    """Draw a number whose logarithm is uniform."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))
