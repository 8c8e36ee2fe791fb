"""What camera faults paint with: soft masks, colours near grey, layers, tables, noise patterns."""

from functools import lru_cache
from statistics import NormalDist

import cv2
import numpy as np
from numpy.typing import NDArray

from stream.messages import Pixels

Mask = NDArray[np.float32]
Colour = NDArray[np.float32]

AUTHORS_WIDTH_PX = 256  # radii in pixels are meant for frames this wide


def tint(rng: np.random.Generator, darkest: float, brightest: float, cast: float = 0.15) -> Colour:
    """Draw a colour that differs from a grey by ``cast`` of it at most, shape (3,)."""
    grey = rng.uniform(darkest, brightest)
    return (grey * rng.uniform(1 - cast, 1 + cast, 3)).astype(np.float32)


def to_pixels(levels: NDArray[np.floating]) -> Pixels:
    """Round grey levels to uint8, cut at 0 and 255."""
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)


def gaussian(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Standard normal numbers, from 65,536 quantiles: several times as fast as drawing them."""
    drawn = rng.integers(0, 1 << 16, shape, np.uint16)
    return np.asarray(_quantiles()[drawn], np.float32)


@lru_cache(maxsize=1)
def _quantiles() -> NDArray[np.float32]:
    normal = NormalDist()
    return np.array([normal.inv_cdf((at + 0.5) / (1 << 16)) for at in range(1 << 16)], np.float32)


def soften(mask: Mask, sigma_px: float) -> Mask:
    """Blur a mask by a Gaussian of at least 0.3 px."""
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(sigma_px, 0.3)), np.float32)


def cover(frame: Pixels, opacity: Mask, colour: Colour) -> Pixels:
    """Lay one colour over the frame, ``opacity`` (height, width) in [0, 1]."""
    levels = frame.astype(np.float32)
    return to_pixels(levels + opacity[:, :, None] * (colour - levels))


def pixel_grid(height: int, width: int) -> tuple[Mask, Mask]:
    """(across, down) of each pixel's centre in pixels, each (height, width)."""
    down, across = np.mgrid[:height, :width].astype(np.float32) + np.float32(0.5)
    return across, down


def lobed_distance(
    height: int,
    width: int,
    centre: NDArray[np.float64],
    lobes: NDArray[np.float64],
    phases: NDArray[np.float64],
) -> Mask:
    """Distance in px from ``centre`` (x, y in shares), stretched by direction: lobes form."""
    across, down = pixel_grid(height, width)
    across, down = across - np.float32(centre[0] * width), down - np.float32(centre[1] * height)
    direction = np.arctan2(down, across)
    radius = np.ones_like(direction)
    for order, (lobe, phase) in enumerate(zip(lobes, phases, strict=True), start=1):
        radius += lobe * np.cos(order * direction + phase)
    return np.asarray(np.hypot(down, across) / radius, np.float32)


def draw_gradients(rng: np.random.Generator, cells: int) -> NDArray[np.float32]:
    """Draw the directions at the corners of gradient noise, (cells, cells, 2) unit vectors."""
    angles = rng.uniform(0, 2 * np.pi, (cells, cells))
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).astype(np.float32)


def gradient_noise(gradients: NDArray[np.float32], side_px: int) -> Mask:
    """Perlin's noise on a square that tiles, (side_px, side_px), about -0.7 to 0.7.

    K. Perlin, Improving Noise (2002): the gradients at a cell's corners, blended by
    6 t^5 - 15 t^4 + 10 t^3.
    """
    cells = len(gradients)
    place = (np.arange(side_px) + 0.5) / side_px * cells
    cell = np.floor(place).astype(int)
    inside = (place - cell).astype(np.float32)
    ease = inside**3 * (inside * (inside * 6 - 15) + 10)
    noise = np.zeros((side_px, side_px), np.float32)
    for right in (0, 1):
        for below in (0, 1):
            corner = gradients[np.ix_((cell + below) % cells, (cell + right) % cells)]
            across, down = inside - right, inside - below
            slope = corner[..., 0] * across[None, :] + corner[..., 1] * down[:, None]
            weight = np.outer(ease if below else 1 - ease, ease if right else 1 - ease)
            noise += weight * slope
    return noise


def clouds(octaves: list[NDArray[np.float32]], side_px: int) -> Mask:
    """Octaves of gradient noise, each half as strong as the one before, stretched to [0, 1]."""
    noise = sum(
        (gradient_noise(one, side_px) / 2**at for at, one in enumerate(octaves)),
        start=np.zeros((side_px, side_px), np.float32),
    )
    low, high = float(noise.min()), float(noise.max())
    return np.asarray((noise - low) / max(high - low, 1e-6), np.float32)


def moved(tile: Mask, across_px: float, down_px: float, height: int, width: int) -> Mask:
    """A part (height, width) of a square that tiles, moved by whole pixels."""
    shift = (round(down_px) % len(tile), round(across_px) % len(tile))
    return np.asarray(np.roll(tile, shift, axis=(0, 1))[:height, :width], np.float32)
