"""Camera faults of light and colour: what reaches the chip is too much, too little, miscoloured.

The authors list these without figures, except for the flares (about 10 of radius 1 to 15 px); the
other maxima are ours. No camera records its noise-free image, so that faults of upstream origin
act on the recorded frame.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.faults.painting import AUTHORS_WIDTH_PX, pixel_grid, to_pixels
from simulators.faults.registry import ImageInjector, Origin, fault
from stream.messages import Kind, Pixels

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
GREY_AXIS = np.ones(3) / np.sqrt(3)
FLARES = 10
FLARE_RADIUS_PX = (1.0, 15.0)
FLARE_LEVELS = (40.0, 120.0)
GLARE_LEVELS = 230.0
GLARE_SHARE = 0.09  # of the width


@fault(
    name="brightness",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="gain of the light above or below 1",
    maximum=0.7,
    published_range=(0.2, 1.0),
)
def brightness(more: float, rng: np.random.Generator) -> ImageInjector:
    """The light or the exposure changes, brighter or darker as drawn."""
    return toned(1 + rng.choice((-1, 1)) * more, 0.0)


@fault(
    name="contrast",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="gain about mid-grey above or below 1",
    maximum=0.8,
    published_range=(0.2, 1.0),
)
def contrast(more: float, rng: np.random.Generator) -> ImageInjector:
    """The chip's amplifier is set wrongly: flatter or harsher about grey level 128, as drawn."""
    gain = 1 + rng.choice((-1, 1)) * more
    return toned(gain, 128 * (1 - gain))


@fault(
    name="saturation",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="gain of each colour's distance from grey above or below 1",
    maximum=1.0,
    published_range=(0.2, 1.0),
)
def saturation(more: float, rng: np.random.Generator) -> ImageInjector:
    """The colour processing is set wrongly: paler (grey at 1) or gaudier (twice at 1), as drawn.

    The luma stays; a picture without colour is not changed.
    """
    gain = 1 + rng.choice((-1, 1)) * more
    return _mixed(gain * np.eye(3) + (1 - gain) * LUMA)


@fault(
    name="hue",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="angle by which colours turn about the grey axis",
    maximum=90.0,
    unit="degrees",
    published_range=(0.2, 1.0),
)
def hue(degrees: float, rng: np.random.Generator) -> ImageInjector:
    """The white balance has lost its way: all colours turn, one way or the other as drawn.

    A rotation of RGB about (1, 1, 1) by Rodrigues' formula; a picture without colour stays.
    """
    angle = np.radians(degrees) * rng.choice((-1, 1))
    x, y, z = GREY_AXIS
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    parallel = np.outer(GREY_AXIS, GREY_AXIS)
    return _mixed(
        np.cos(angle) * np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * parallel
    )


@fault(
    name="lens_flare",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="strength of a glare and 10 flares of radius 1 to 15 px of 256",
    maximum=1.0,
    published_range=(0.2, 1.0),
)
def lens_flare(strength: float, rng: np.random.Generator) -> ImageInjector:
    """A lamp or the arc shines into the lens: a glare, and discs mirrored between its glasses.

    They lie on the line from the light through the middle of the picture and only add light.
    """
    light = rng.uniform(0.1, 0.9, 2)
    places = rng.uniform(-0.6, 2.0, FLARES)  # 0 at the light, 1 in the middle
    radii = rng.uniform(*FLARE_RADIUS_PX, FLARES) / AUTHORS_WIDTH_PX
    colours = rng.uniform(*FLARE_LEVELS, FLARES)[:, None] * rng.uniform(0.35, 1, (FLARES, 3))

    @lru_cache(maxsize=2)
    def added(height: int, width: int) -> Pixels:
        size = np.array([width, height])
        levels = _glare(height, width, light * size)
        for place, radius, colour in zip(places, radii * width, colours, strict=True):
            centre = (light + place * (0.5 - light)) * size
            levels += _flare(height, width, centre, radius)[:, :, None] * colour
        return to_pixels(levels * strength)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        return np.asarray(cv2.add(frame, added(*frame.shape[:2])), np.uint8)

    return inject


def toned(gain: float, shift: float) -> ImageInjector:
    """Give every grey level v the value gain v + shift."""
    table = to_pixels(np.arange(256) * gain + shift)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        return np.asarray(cv2.LUT(frame, table), np.uint8)

    return inject


def _mixed(matrix: NDArray[np.float64]) -> ImageInjector:
    def inject(frame: Pixels, seconds: float) -> Pixels:
        return np.asarray(cv2.transform(frame, matrix), np.uint8)

    return inject


def _glare(height: int, width: int, centre: NDArray[np.float64]) -> NDArray[np.float32]:
    """A bright spot with a wide halo and six faint rays, (height, width, 3) grey levels."""
    across, down = pixel_grid(height, width)
    across, down = across - np.float32(centre[0]), down - np.float32(centre[1])
    distance = np.hypot(across, down) / (GLARE_SHARE * width)
    rays = np.abs(np.cos(3 * np.arctan2(down, across))) ** 24
    light = np.exp(-((distance / 0.5) ** 2)) + np.exp(-distance) * (0.35 + 0.3 * rays)
    return np.repeat(GLARE_LEVELS * light[:, :, None], 3, axis=2).astype(np.float32)


def _flare(
    height: int, width: int, centre: NDArray[np.float64], radius_px: float
) -> NDArray[np.float64]:
    """A disc with a brighter rim and a soft edge of a pixel, (height, width) in [0, 1]."""
    across, down = pixel_grid(height, width)
    distance = np.hypot(across - centre[0], down - centre[1])
    disc = np.clip(radius_px - distance + 0.5, 0, 1)
    rim = np.minimum(distance / max(radius_px, 1.0), 1) ** 4
    return np.asarray(disc * (0.6 + 0.4 * rim), np.float64)
