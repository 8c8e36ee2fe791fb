"""Procedural disturbances of camera frames, on which a detector teaches itself.

A disturbance is a random mask, a random operation and a random opacity. None imitates a fault of
the catalogue on purpose: what is learnt from them is what a clean frame looks like.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.frame_masks import Levels, axes, blobs, draw_mask, drawn, log_uniform, octave_noise

Operation: TypeAlias = Callable[[Levels, Generator], Levels]
DrawOperation: TypeAlias = Callable[[Generator, int, int], Operation]

LEAST_OPACITY = 0.04
OTHER_SHARE = 0.13  # of the disturbances show another frame
BLOCK_PX = 8


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Disturbance:
    """One disturbance, the same for every frame it hits but for what its operation draws anew."""

    mask: Levels  # (H, W) in [0, 1]
    operation: Operation
    opacity: float

    def __call__(self, frame: NDArray[np.uint8], random: Generator) -> NDArray[np.uint8]:
        """Return the disturbed frame (H, W, 3), uint8; ``frame`` stays as it is."""
        levels = frame.astype(np.float32)
        share = (np.float32(self.opacity) * self.mask)[..., None]
        changed = levels + share * (self.operation(levels, random) - levels)
        return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def draw_disturbance(random: Generator, height: int, width: int, other: Levels) -> Disturbance:
    """Draw a disturbance; ``other`` is a frame of another time, which it may show instead."""
    opacity = log_uniform(random, LEAST_OPACITY, 1.0)
    if random.random() < OTHER_SHARE:
        whole = random.random() < 0.75
        mask = np.ones((height, width), np.float32) if whole else draw_mask(random, height, width)
        opacity = 1.0 if random.random() < 0.8 else opacity
        return Disturbance(mask=mask, operation=lambda levels, _: other, opacity=opacity)
    mask = draw_mask(random, height, width)
    operation = drawn(random, OPERATIONS)(random, height, width)
    return Disturbance(mask=mask, operation=operation, opacity=opacity)


def block_change(
    before: NDArray[np.uint8], after: NDArray[np.uint8], block_px: int = BLOCK_PX
) -> Levels:
    """Return the RMS change of each block of pixels, in grey levels (H / block, W / block)."""
    change = cv2.absdiff(after, before)
    height, width = change.shape[:2]
    size = (max(width // block_px, 1), max(height // block_px, 1))
    squared = cv2.multiply(change, change, dtype=cv2.CV_32F)
    averaged = cv2.resize(squared, size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.sqrt(averaged.mean(2)), np.float32)


def _kernel(random: Generator, height: int, width: int) -> Operation:
    sigma_px = log_uniform(random, 0.5, 10)
    kind = random.integers(4)
    if kind == 0:
        return lambda levels, _: np.asarray(cv2.GaussianBlur(levels, (0, 0), sigma_px), np.float32)
    if kind == 1:
        side = 2 * max(1, int(sigma_px)) + 1
        return lambda levels, _: np.asarray(cv2.blur(levels, (side, side)), np.float32)
    if kind == 2:
        streak = _streak(2 * max(1, int(sigma_px)) + 1, random.uniform(0, np.pi))
        return lambda levels, _: np.asarray(cv2.filter2D(levels, -1, streak), np.float32)
    strength = random.uniform(0.5, 3)
    return lambda levels, _: np.asarray(
        levels + strength * (levels - cv2.GaussianBlur(levels, (0, 0), 1 + sigma_px / 4)),
        np.float32,
    )


def _streak(side_px: int, heading: float) -> Levels:
    kernel = np.zeros((side_px, side_px), np.float32)
    centre = (side_px - 1) / 2
    reach = centre * np.array([np.cos(heading), np.sin(heading)])
    begin, end = np.rint([centre - reach, centre + reach]).astype(int).tolist()
    cv2.line(kernel, begin, end, 1.0, 1)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _colours(random: Generator, height: int, width: int) -> Operation:
    kind = random.integers(5)
    if kind == 0:
        mixing = (np.eye(3) + random.normal(0, 0.4, (3, 3))).astype(np.float32)
        return lambda levels, _: (levels.reshape(-1, 3) @ mixing.T).reshape(levels.shape)
    if kind == 1:
        saturation = random.choice([random.uniform(0, 0.8), random.uniform(1.3, 3)])
        keep = np.float32(saturation)
        return lambda levels, _: keep * levels + (1 - keep) * levels.mean(2, keepdims=True)
    if kind == 2:
        order = random.permutation(3)
        return lambda levels, _: np.ascontiguousarray(levels[..., order])
    if kind == 3:
        gamma = np.float32(np.exp(random.choice((-1, 1)) * random.uniform(0.15, 1.1)))
        return lambda levels, _: np.asarray(
            255 * (np.clip(levels, 0, 255) / 255) ** gamma, np.float32
        )
    given = np.linspace(0, 255, 7)
    curve = np.clip(given + random.normal(0, 50, 7), 0, 255)
    table = np.interp(np.arange(256), given, curve).astype(np.float32)
    return lambda levels, _: table[np.clip(levels, 0, 255).astype(np.uint8)]


def _gain(random: Generator, height: int, width: int) -> Operation:
    gain = np.float32(np.exp(random.choice((-1, 1)) * random.uniform(0.1, 1.4)))
    about = np.float32(random.choice((0, 128)))
    shift = np.float32(random.uniform(-60, 60) * random.integers(2))
    return lambda levels, _: (levels - about) * gain + about + shift


def _fill(random: Generator, height: int, width: int) -> Operation:
    extreme = np.full(3, 255.0 * random.integers(2))
    tint = random.uniform(0, 255) * random.uniform(0.8, 1.2, 3)
    colour = (extreme if random.random() < 0.3 else np.clip(tint, 0, 255)).astype(np.float32)
    return lambda levels, _: np.broadcast_to(colour, levels.shape)


def _texture(random: Generator, height: int, width: int) -> Operation:
    tint = random.uniform(60, 255) * random.uniform(0.85, 1.15, 3)
    field = octave_noise(random, height, width)[..., None]
    texture = np.clip(tint + random.uniform(10, 60) * field, 0, 255).astype(np.float32)
    return lambda levels, _: texture


def _noise(random: Generator, height: int, width: int) -> Operation:
    scale = np.float32(log_uniform(random, 3, 90))
    channels = 1 if random.random() < 0.3 else 3
    replaces, multiplies = random.random() < 0.12, random.random() < 0.35

    def noise(levels: Levels, random: Generator) -> Levels:
        drawn = random.standard_normal((*levels.shape[:2], channels), np.float32)
        if replaces:
            return np.broadcast_to(127 + 80 * drawn, levels.shape)
        return levels + scale * drawn * (levels / 128 if multiplies else 1)

    return noise


def _specks(random: Generator, height: int, width: int) -> Operation:
    half_share = log_uniform(random, 0.001, 0.3) / 2

    def specks(levels: Levels, random: Generator) -> Levels:
        drawn = random.random(levels.shape[:2], np.float32)
        speckled = levels.copy()
        speckled[drawn < half_share] = 0
        speckled[drawn > 1 - half_share] = 255
        return speckled

    return specks


def _warp(random: Generator, height: int, width: int) -> Operation:
    x, y = axes(height, width)
    if random.random() < 0.4:
        shift = random.normal(0, 4, 2).astype(np.float32)
        across, down = x + shift[0] + 0 * y, y + shift[1] + 0 * x
    else:
        reach = np.float32(log_uniform(random, 1, 20))
        across = x + reach * octave_noise(random, height, width, finest=5)
        down = y + reach * octave_noise(random, height, width, finest=5)
    return lambda levels, _: np.asarray(
        cv2.remap(levels, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT),
        np.float32,
    )


def _light(random: Generator, height: int, width: int) -> Operation:
    glow = blobs(random, height, width)[..., None]
    colour = (random.uniform(0.7, 1, 3) * random.uniform(40, 255)).astype(np.float32)
    added = glow * colour * (1 if random.random() < 0.8 else -1)
    return lambda levels, _: levels + added


OPERATIONS: dict[DrawOperation, float] = {
    _kernel: 0.15,
    _colours: 0.15,
    _fill: 0.13,
    _noise: 0.12,
    _warp: 0.12,
    _light: 0.10,
    _texture: 0.10,
    _gain: 0.08,
    _specks: 0.05,
}
