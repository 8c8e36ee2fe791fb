"""Camera faults of what stands or drifts between the lens and the work: cables, fog, smoke.

The authors list these without figures; the maxima are ours. Fog and smoke move on with the seconds
since the onset, and their patterns are drawn once. They act on the recorded frame, for no camera
records its noise-free image.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.faults.painting import (
    Mask,
    clouds,
    cover,
    draw_gradients,
    lobed_distance,
    moved,
    pixel_grid,
    soften,
    tint,
)
from simulators.faults.registry import ImageInjector, Origin, fault
from stream.messages import Kind, Pixels

OCCLUDER_LOBES = 4
SWAY_SHARE = 0.02
SWAY_HZ = 0.2
PERLIN_CELLS = 4
FRACTAL_CELLS = (3, 6, 12, 24, 48)
THINNEST_FOG = 0.35  # of the densest
FOG_CAST = 0.03
FOG_SPEED = 0.03  # widths a second
SMOKE_CELLS = (4, 8, 16, 32)
SMOKE_SPEED = 0.25  # widths a second, upwards


@fault(
    name="occlusion",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="share of the frame covered",
    maximum=0.5,
    published_range=(0.2, 1.0),
)
def occlusion(share: float, rng: np.random.Generator) -> ImageInjector:
    """Something opaque stands before the lens: a cable, a sleeve, a part left behind.

    One blob with a soft edge and one dark colour that sways by 2 % of the width at 0.2 Hz.
    """
    centre = rng.uniform(0.25, 0.75, 2)
    lobes = rng.uniform(-0.25, 0.25, OCCLUDER_LOBES) / np.arange(1, OCCLUDER_LOBES + 1)
    phases = rng.uniform(0, 2 * np.pi, OCCLUDER_LOBES + 1)
    heading = rng.uniform(0, 2 * np.pi)
    colour = tint(rng, 15, 90)

    @lru_cache(maxsize=2)
    def mask(height: int, width: int) -> Mask:
        distance = lobed_distance(height, width, centre, lobes, phases[1:])
        covered = int(share * distance.size)
        edge = np.partition(distance.ravel(), covered)[covered]
        return soften((distance < edge).astype(np.float32), 0.01 * width)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        height, width = frame.shape[:2]
        sway = np.sin(2 * np.pi * SWAY_HZ * seconds + phases[0]) - np.sin(phases[0])
        reach = SWAY_SHARE * width * sway
        shift = np.array([[1, 0, reach * np.cos(heading)], [0, 1, reach * np.sin(heading)]])
        moved = cv2.warpAffine(
            mask(height, width), shift, (width, height), borderMode=cv2.BORDER_REPLICATE
        )
        return cover(frame, np.asarray(moved, np.float32), colour)

    return inject


@fault(
    name="perlin_fog",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="opacity of the fog where it is densest",
    maximum=0.9,
    published_range=(0.2, 1.0),
)
def perlin_fog(opacity: float, rng: np.random.Generator) -> ImageInjector:
    """Coolant mist in broad soft banks: one octave of Perlin's noise, drifting by 3 % a second."""
    return _fog(opacity, [draw_gradients(rng, PERLIN_CELLS)], rng)


@fault(
    name="fractal_fog",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="opacity of the fog where it is densest",
    maximum=0.9,
    published_range=(0.2, 1.0),
)
def fractal_fog(opacity: float, rng: np.random.Generator) -> ImageInjector:
    """Mist in wisps: five octaves of Perlin's noise, drifting by 3 % of the width a second."""
    return _fog(opacity, [draw_gradients(rng, cells) for cells in FRACTAL_CELLS], rng)


def _fog(
    opacity: float, octaves: list[NDArray[np.float32]], rng: np.random.Generator
) -> ImageInjector:
    """Mix the picture with a light grey; the light that the air scatters grows with density."""
    colour = tint(rng, 190, 220, FOG_CAST)
    heading = rng.uniform(0, 2 * np.pi)

    @lru_cache(maxsize=2)
    def density(side_px: int) -> Mask:
        tile = THINNEST_FOG + (1 - THINNEST_FOG) * clouds(octaves, side_px)
        return np.asarray(tile * opacity, np.float32)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        height, width = frame.shape[:2]
        way = FOG_SPEED * width * seconds
        tile = density(max(height, width))
        across, down = way * np.cos(heading), way * np.sin(heading)
        return cover(frame, moved(tile, across, down, height, width), colour)

    return inject


@fault(
    name="smoke",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="opacity of the smoke where it is densest",
    maximum=0.95,
    published_range=(0.2, 1.0),
)
def smoke(opacity: float, rng: np.random.Generator) -> ImageInjector:
    """Welding fume rises from a place in the lower half and spreads as it goes up.

    Two patterns of Perlin's noise rise at a quarter of a width a second and a half more, so that
    the plume changes its shape as it moves.
    """
    first, second = ([draw_gradients(rng, cells) for cells in SMOKE_CELLS] for _ in range(2))
    source = (rng.uniform(0.25, 0.75), rng.uniform(0.6, 0.95))
    lean = rng.uniform(-0.25, 0.25)
    colour = tint(rng, 140, 190, FOG_CAST)

    @lru_cache(maxsize=2)
    def patterns(side_px: int) -> tuple[Mask, Mask]:
        return clouds(first, side_px), clouds(second, side_px)

    @lru_cache(maxsize=2)
    def plume(height: int, width: int) -> Mask:
        return _plume(height, width, source, lean) * np.float32(opacity)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        height, width = frame.shape[:2]
        slow, fast = patterns(max(height, width))
        risen = -SMOKE_SPEED * width * seconds
        billows = moved(slow, lean * risen, risen, height, width) + moved(
            fast, 0.0, 1.5 * risen, height, width
        )
        density = np.clip(billows - 0.45, 0, 1) * plume(height, width)
        return cover(frame, density, colour)

    return inject


def _plume(height: int, width: int, source: tuple[float, float], lean: float) -> Mask:
    """How much smoke there is at most, (height, width) in [0, 1]: a column that widens upwards."""
    across, down = pixel_grid(height, width)
    above = source[1] - down / height
    aside = across / width - source[0] - lean * above
    spread = 0.05 + 0.32 * np.maximum(above, 0)
    rising = np.clip(above / 0.12 + 0.3, 0, 1)
    return np.asarray(np.exp(-((aside / spread) ** 2)) * rising, np.float32)
