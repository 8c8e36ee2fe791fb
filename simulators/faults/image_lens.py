"""Camera faults of the lens: out of focus, dusty, wet, scratched, cracked.

Given by the authors: blur with a Gaussian kernel of 25 px and sigma 1 to 9 px, about 100 spots of
dust of 1 % of the width, about 10 drops of a radius up to 100 px; the other maxima are ours. What
lies on the glass stays in place and is computed once. No camera records its noise-free image, so
that these act on the recorded frame: blur takes the chip's noise with it.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.faults.painting import (
    AUTHORS_WIDTH_PX,
    Mask,
    cover,
    lobed_distance,
    pixel_grid,
    soften,
    tint,
)
from simulators.faults.registry import ImageInjector, Origin, fault
from stream.messages import Kind, Pixels

BLUR_KERNEL_PX = 25
DUST_SPOTS = 100
DUST_RADIUS_SHARE = 0.01
SCRATCHES = 12
SCRATCH_CAST = 0.04
SCRATCH_SHARES = (0.15, 0.7)  # of the width
DROPS = 10
DROP_RADII = (0.2, 1.0)  # of the largest
DROP_LOBES = 3
DROP_BLUR_SHARE = 0.02  # of the width
DROP_EDGE = 0.12  # of the radius
SMALLEST_DROP_PX = 1.0


@fault(
    name="blur",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="sigma of a Gaussian with a kernel of 25 px",
    maximum=9.0,
    unit="px",
    published_range=(1 / 9, 1.0),
)
def blur(sigma_px: float, rng: np.random.Generator) -> ImageInjector:
    """The lens is out of focus or greasy. Deterministic: nothing is drawn."""

    def inject(frame: Pixels, seconds: float) -> Pixels:
        size = (BLUR_KERNEL_PX, BLUR_KERNEL_PX)
        return np.asarray(cv2.GaussianBlur(frame, size, sigma_px), np.uint8)

    return inject


@fault(
    name="dust",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="opacity of 100 spots with radii about 1 % of the width",
    maximum=0.9,
    published_range=(0.2, 1.0),
)
def dust(opacity: float, rng: np.random.Generator) -> ImageInjector:
    """Dirt lies on the lens: soft grains that stay in place."""
    places = rng.uniform(0, 1, (DUST_SPOTS, 2))
    radii = DUST_RADIUS_SHARE * rng.uniform(0.6, 1.4, DUST_SPOTS)
    colour = tint(rng, 50, 110)

    @lru_cache(maxsize=2)
    def mask(height: int, width: int) -> Mask:
        spots = np.zeros((height, width), np.uint8)
        for (across, down), radius in zip(places, radii, strict=True):
            centre = (int(across * width), int(down * height))
            cv2.circle(spots, centre, max(1, round(radius * width)), 255, cv2.FILLED)
        soft = soften(spots.astype(np.float32) / np.float32(255), 0.3 * DUST_RADIUS_SHARE * width)
        return soft * np.float32(opacity)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        return cover(frame, mask(*frame.shape[:2]), colour)

    return inject


@fault(
    name="scratches",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="opacity of 12 thin curves",
    maximum=0.9,
    published_range=(0.2, 1.0),
)
def scratches(opacity: float, rng: np.random.Generator) -> ImageInjector:
    """The glass was wiped with grit on it: bright scratches that scatter the light, in place."""
    starts = rng.uniform(0, 1, (SCRATCHES, 2))
    wiped = rng.uniform(0, np.pi)
    headings = wiped + rng.normal(0, 0.35, SCRATCHES)
    lengths, bends = rng.uniform(*SCRATCH_SHARES, SCRATCHES), rng.normal(0, 0.4, SCRATCHES)
    depths = rng.uniform(0.5, 1, SCRATCHES)
    colour = tint(rng, 170, 220, SCRATCH_CAST)

    @lru_cache(maxsize=2)
    def mask(height: int, width: int) -> Mask:
        along = np.linspace(0, 1, 24)
        deepest = np.zeros((height, width), np.uint8)
        for at in range(SCRATCHES):
            angle = headings[at] + bends[at] * along
            steps = np.stack([np.cos(angle), np.sin(angle)], axis=1) * lengths[at] * width / 24
            points = starts[at] * (width, height) + np.cumsum(steps, axis=0)
            line = np.zeros_like(deepest)
            thick = max(1, round(width / 300))
            cv2.polylines(
                line, [points.astype(np.int32)], False, 255 * depths[at], thick, cv2.LINE_AA
            )
            deepest = np.maximum(deepest, line)
        core = deepest.astype(np.float32) / np.float32(255)
        scattered = np.minimum(core + 1.2 * soften(core, width / 200), 1)
        return np.asarray(scattered * opacity, np.float32)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        return cover(frame, mask(*frame.shape[:2]), colour)

    return inject


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Wet:
    """Where each pixel behind drops comes from, and what the water does to its light.

    ``across`` and ``down`` (height, width) in pixels; ``kept`` is the share of the dry picture,
    ``passed`` what the drops let through of the bent one, ``shine`` the grey levels they add,
    all (height, width, 3).
    """

    across: Mask
    down: Mask
    kept: Mask
    passed: Mask
    shine: Mask


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drop:
    centre: NDArray[np.float64]
    radius_share: float  # of the largest
    lobes: NDArray[np.float64]
    phases: NDArray[np.float64]


@fault(
    name="water_drops",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="largest radius of 10 drops, in px of 256",
    maximum=100.0,
    unit="px",
    published_range=(0.1, 1.0),
)
def water_drops(largest_px: float, rng: np.random.Generator) -> ImageInjector:
    """Coolant or condensed water hangs on the lens.

    Each drop is a small lens of its own: a blurred picture of what lies behind, upside down, with
    a dark rim and a highlight. Radii are 0.2 to 1 times the largest; small drops are many.
    """
    drops = [_draw_drop(rng) for _ in range(DROPS)]

    @lru_cache(maxsize=2)
    def wet(height: int, width: int) -> _Wet:
        return _wetted(drops, largest_px / AUTHORS_WIDTH_PX * width, height, width)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        glass = wet(*frame.shape[:2])
        sigma_px = max(DROP_BLUR_SHARE * frame.shape[1], 0.3)
        blurred = cv2.GaussianBlur(frame, (0, 0), sigma_px)
        bent = cv2.remap(
            blurred, glass.across, glass.down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        dry = cv2.multiply(frame, glass.kept, dtype=cv2.CV_32F)
        seen = cv2.multiply(bent, glass.passed, dtype=cv2.CV_32F) + glass.shine
        return np.asarray(cv2.add(dry, seen, dtype=cv2.CV_8U), np.uint8)

    return inject


def _draw_drop(rng: np.random.Generator) -> _Drop:
    smallest, largest = DROP_RADII
    return _Drop(
        centre=rng.uniform(0, 1, 2),
        radius_share=float(smallest + (largest - smallest) * rng.uniform(0, 1) ** 2),
        lobes=rng.uniform(-0.12, 0.12, DROP_LOBES),
        phases=rng.uniform(0, 2 * np.pi, DROP_LOBES),
    )


def _wetted(drops: list[_Drop], largest_px: float, height: int, width: int) -> _Wet:
    across, down = pixel_grid(height, width)
    across, down = across - np.float32(0.5), down - np.float32(0.5)  # as remap counts
    kept, passed, shine = np.ones_like(across), np.zeros_like(across), np.zeros_like(across)
    x, y = across.copy(), down.copy()
    for drop in drops:
        radius_px = drop.radius_share * largest_px
        if radius_px < SMALLEST_DROP_PX:
            continue
        distance = lobed_distance(height, width, drop.centre, drop.lobes, drop.phases)
        reach = np.minimum(distance / radius_px, 1.0)
        # The lens looks past the drop: its edge is out of focus too.
        edge_px = 1 + DROP_EDGE * radius_px
        inside = np.clip((radius_px - distance) / edge_px, 0, 1)
        toward_x, toward_y = x - drop.centre[0] * width, y - drop.centre[1] * height
        # The rim of a drop looks farther aside than its middle, and to the other side.
        bend = 1 + 0.7 + 1.0 * reach**2
        across = np.where(inside > 0, x - bend * toward_x, across)
        down = np.where(inside > 0, y - bend * toward_y, down)
        lit = np.clip(-(toward_x + toward_y) / (1.41 * radius_px), -1, 1)
        spot = np.hypot(toward_x / radius_px + 0.4, toward_y / radius_px + 0.4)
        light = 1 - 0.35 * reach**4 * (1 + lit) / 2
        kept = kept * (1 - inside)
        passed = passed * (1 - inside) + inside * light
        glint = 90 * np.exp(-((spot / 0.2) ** 2)) + 30 * reach**4 * (1 - lit) / 2
        shine = shine * (1 - inside) + inside * glint
    return _Wet(
        across=across.astype(np.float32),
        down=down.astype(np.float32),
        kept=_of_all_colours(kept),
        passed=_of_all_colours(passed),
        shine=_of_all_colours(shine),
    )


def _of_all_colours(mask: Mask) -> Mask:
    return np.repeat(mask[:, :, None], 3, axis=2).astype(np.float32)
