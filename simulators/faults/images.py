"""Camera faults on decoded frames: uint8 (height, width, 3) RGB of any size.

The catalogue is the one of the self-supervised multimodal work that this project follows (blur:
Gaussian kernel 25, sigma 1 to 9; dust: about 100 spots of 1 % of the width; the rest is listed
there without figures, so that the maxima are ours). What lasts over an injection, such as an
occluder's outline, is drawn once. No camera records its noise-free image, so that faults of
upstream origin act on the recorded frame here: blur takes the chip's noise with it.
"""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.faults.registry import ImageInjector, Origin, fault
from stream.messages import Kind, Pixels

BLUR_KERNEL_PX = 25
BLUR_SIGMA_PX = 9.0
OCCLUDED_SHARE = 0.5
OCCLUDER_LOBES = 4
SWAY_SHARE = 0.02
SWAY_HZ = 0.2
BRIGHTNESS_GAIN = 0.7
CONTRAST_GAIN = 0.8
NOISE_LEVELS = 50.0
DUST_SPOTS = 100
DUST_RADIUS_SHARE = 0.01
DUST_OPACITY = 0.9
SPECKLED_SHARE = 0.2

Mask = NDArray[np.float32]
Colour = NDArray[np.float32]


@fault(
    name="occlusion",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    parameter="share of the frame covered, 0.5 at 1",
    published_range=(0.2, 1.0),
)
def occlusion(severity: float, rng: np.random.Generator, signal: None) -> ImageInjector:
    """Something opaque stands before the lens: a cable, a sleeve, a part left behind.

    One blob with a soft edge and one dark colour that sways by 2 % of the width at 0.2 Hz.
    """
    centre = rng.uniform(0.25, 0.75, 2)
    lobes = rng.uniform(-0.25, 0.25, OCCLUDER_LOBES) / np.arange(1, OCCLUDER_LOBES + 1)
    phases = rng.uniform(0, 2 * np.pi, OCCLUDER_LOBES + 1)
    heading = rng.uniform(0, 2 * np.pi)
    colour = _tint(rng, 15, 90)

    @lru_cache(maxsize=2)
    def mask(height: int, width: int) -> Mask:
        distance = _lobed_distance(height, width, centre, lobes, phases[1:])
        covered = int(OCCLUDED_SHARE * severity * distance.size)
        edge = np.partition(distance.ravel(), covered)[covered]
        return _soften((distance < edge).astype(np.float32), 0.01 * width)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        height, width = frame.shape[:2]
        sway = np.sin(2 * np.pi * SWAY_HZ * seconds + phases[0]) - np.sin(phases[0])
        reach = SWAY_SHARE * width * sway
        shift = np.array([[1, 0, reach * np.cos(heading)], [0, 1, reach * np.sin(heading)]])
        moved = cv2.warpAffine(
            mask(height, width), shift, (width, height), borderMode=cv2.BORDER_REPLICATE
        )
        return _cover(frame, np.asarray(moved, np.float32), colour)

    return inject


@fault(
    name="blur",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    parameter="sigma of a Gaussian with a kernel of 25 px, 9 px at 1",
    published_range=(1 / BLUR_SIGMA_PX, 1.0),
)
def blur(severity: float, rng: np.random.Generator, signal: None) -> ImageInjector:
    """The lens is out of focus or greasy. Deterministic: nothing is drawn."""
    sigma_px = BLUR_SIGMA_PX * severity

    def inject(frame: Pixels, seconds: float) -> Pixels:
        size = (BLUR_KERNEL_PX, BLUR_KERNEL_PX)
        return np.asarray(cv2.GaussianBlur(frame, size, sigma_px), np.uint8)

    return inject


@fault(
    name="frozen",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    parameter="nothing: a held frame has no degree, any severity above 0 holds it",
    published_range=(1.0, 1.0),
)
def frozen(severity: float, rng: np.random.Generator, signal: None) -> ImageInjector:
    """The camera's buffer is no longer filled: the first frame comes again, bit by bit."""
    held: list[Pixels] = []

    def inject(frame: Pixels, seconds: float) -> Pixels:
        if not held:
            held.append(frame.copy())
        return held[0]

    return inject


@fault(
    name="black",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    parameter="share of the light lost, 1 (wholly black) at 1",
    published_range=(1.0, 1.0),
)
def black(severity: float, rng: np.random.Generator, signal: None) -> ImageInjector:
    """The exposure fails: the frame is mixed towards constant black."""
    return _toned(1 - severity, 0.0)


@fault(
    name="brightness",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    parameter="gain of the light above or below 1, 0.7 at 1",
    published_range=(0.2, 1.0),
)
def brightness(severity: float, rng: np.random.Generator, signal: None) -> ImageInjector:
    """The light or the exposure changes, brighter or darker as drawn."""
    return _toned(1 + rng.choice((-1, 1)) * BRIGHTNESS_GAIN * severity, 0.0)


@fault(
    name="contrast",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    parameter="gain about mid-grey above or below 1, 0.8 at 1",
    published_range=(0.2, 1.0),
)
def contrast(severity: float, rng: np.random.Generator, signal: None) -> ImageInjector:
    """The chip's amplifier is set wrongly: flatter or harsher about grey level 128, as drawn."""
    gain = 1 + rng.choice((-1, 1)) * CONTRAST_GAIN * severity
    return _toned(gain, 128 * (1 - gain))


@fault(
    name="noise",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    parameter="standard deviation of Gaussian noise, 50 grey levels at 1",
    published_range=(0.1, 1.0),
)
def noise(severity: float, rng: np.random.Generator, signal: None) -> ImageInjector:
    """The chip's amplifier is noisy: additive, independent in each pixel, channel and frame."""
    scale = np.float32(NOISE_LEVELS * severity)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        added = rng.standard_normal(frame.shape, np.float32) * scale
        return _to_pixels(added + frame)

    return inject


@fault(
    name="dust",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    parameter="opacity of 100 spots with radii about 1 % of the width, 0.9 at 1",
    published_range=(0.2, 1.0),
)
def dust(severity: float, rng: np.random.Generator, signal: None) -> ImageInjector:
    """Dirt lies on the lens: soft grains that stay in place."""
    places = rng.uniform(0, 1, (DUST_SPOTS, 2))
    radii = DUST_RADIUS_SHARE * rng.uniform(0.6, 1.4, DUST_SPOTS)
    colour = _tint(rng, 50, 110)

    @lru_cache(maxsize=2)
    def mask(height: int, width: int) -> Mask:
        spots = np.zeros((height, width), np.uint8)
        for (across, down), radius in zip(places, radii, strict=True):
            centre = (int(across * width), int(down * height))
            cv2.circle(spots, centre, max(1, round(radius * width)), 255, cv2.FILLED)
        soft = _soften(spots.astype(np.float32) / np.float32(255), 0.3 * DUST_RADIUS_SHARE * width)
        return soft * np.float32(DUST_OPACITY * severity)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        height, width = frame.shape[:2]
        return _cover(frame, mask(height, width), colour)

    return inject


@fault(
    name="salt_and_pepper",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    parameter="share of pixels that are wholly black or white, 0.2 at 1",
    published_range=(0.1, 1.0),
)
def salt_and_pepper(severity: float, rng: np.random.Generator, signal: None) -> ImageInjector:
    """Pixels fail to convert, black or white, other ones in each frame."""
    half_share = SPECKLED_SHARE * severity / 2

    def inject(frame: Pixels, seconds: float) -> Pixels:
        drawn = rng.random(frame.shape[:2], np.float32)
        speckled = frame.copy()
        speckled[drawn < half_share] = 0
        speckled[drawn > 1 - half_share] = 255
        return speckled

    return inject


def _toned(gain: float, shift: float) -> ImageInjector:
    table = _to_pixels(np.arange(256) * gain + shift)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        return np.asarray(cv2.LUT(frame, table), np.uint8)

    return inject


def _tint(rng: np.random.Generator, darkest: float, brightest: float) -> Colour:
    """Draw a colour close to grey, shape (3,)."""
    grey = rng.uniform(darkest, brightest)
    return (grey * rng.uniform(0.85, 1.15, 3)).astype(np.float32)


def _lobed_distance(
    height: int,
    width: int,
    centre: NDArray[np.float64],
    lobes: NDArray[np.float64],
    phases: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Distance from ``centre`` (x, y in shares), stretched by direction so that lobes form."""
    down = (np.arange(height)[:, None] + 0.5) - centre[1] * height
    across = (np.arange(width)[None, :] + 0.5) - centre[0] * width
    direction = np.arctan2(down, across)
    radius = np.ones_like(direction)
    for order, (lobe, phase) in enumerate(zip(lobes, phases, strict=True), start=1):
        radius += lobe * np.cos(order * direction + phase)
    return np.asarray(np.hypot(down, across) / radius, np.float64)


def _soften(mask: Mask, sigma_px: float) -> Mask:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(sigma_px, 0.3)), np.float32)


def _cover(frame: Pixels, opacity: Mask, colour: Colour) -> Pixels:
    """Lay one colour over the frame, ``opacity`` (height, width) in [0, 1]."""
    levels = frame.astype(np.float32)
    return _to_pixels(levels + opacity[:, :, None] * (colour - levels))


def _to_pixels(levels: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(np.rint(levels), 0, 255), np.uint8)
