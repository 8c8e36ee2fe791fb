"""Camera faults of the chip and its bytes: noise, dead exposures, old pictures, swapped colours.

The authors list these without figures; the maxima are ours.
"""

from collections import deque
from itertools import permutations

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.faults.effect import IMAGE_NOISE_LEVELS
from simulators.faults.image_light import toned
from simulators.faults.painting import gaussian
from simulators.faults.registry import ImageInjector, Origin, fault
from stream.messages import Kind, Pixels

LATEST_S = 3.0


@fault(
    name="noise",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="standard deviation of Gaussian noise",
    maximum=50.0,
    unit="grey levels",
    published_range=(0.1, 1.0),
)
def noise(levels: float, rng: np.random.Generator) -> ImageInjector:
    """The chip's amplifier is noisy: additive, independent in each pixel, channel and frame."""

    def inject(frame: Pixels, seconds: float) -> Pixels:
        return _added(frame, gaussian(rng, frame.shape) * np.float32(levels))

    return inject


@fault(
    name="speckle",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="standard deviation of a Gaussian factor about 1",
    maximum=0.6,
    published_range=(0.1, 1.0),
)
def speckle(deviation: float, rng: np.random.Generator) -> ImageInjector:
    """The chip's gain flickers: multiplicative, independent in each pixel, channel and frame."""

    def inject(frame: Pixels, seconds: float) -> Pixels:
        factor = gaussian(rng, frame.shape) * np.float32(deviation) + np.float32(1)
        return np.asarray(cv2.multiply(frame, factor, dtype=cv2.CV_8U), np.uint8)

    return inject


@fault(
    name="salt_and_pepper",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="share of pixels that are wholly black or white",
    maximum=0.2,
    published_range=(0.1, 1.0),
)
def salt_and_pepper(share: float, rng: np.random.Generator) -> ImageInjector:
    """Pixels fail to convert, black or white, other ones in each frame."""

    def inject(frame: Pixels, seconds: float) -> Pixels:
        drawn = rng.random(frame.shape[:2], np.float32)
        speckled = frame.copy()
        speckled[drawn < share / 2] = 0
        speckled[drawn > 1 - share / 2] = 255
        return speckled

    return inject


@fault(
    name="noise_frame",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="share of the picture that gives way to uniform noise",
    maximum=1.0,
    published_range=(1.0, 1.0),
)
def noise_frame(share: float, rng: np.random.Generator) -> ImageInjector:
    """The chip's link has lost its sync: every frame is mixed with noise, wholly noise at 1."""

    def inject(frame: Pixels, seconds: float) -> Pixels:
        drawn = rng.integers(0, 256, frame.shape, np.uint8)
        return np.asarray(cv2.addWeighted(frame, 1 - share, drawn, share, 0), np.uint8)

    return inject


@fault(
    name="black",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="share of the light lost",
    maximum=1.0,
    published_range=(1.0, 1.0),
)
def black(share: float, rng: np.random.Generator) -> ImageInjector:
    """The exposure fails: the frame is mixed towards constant black."""
    return toned(1 - share, 0.0)


@fault(
    name="white",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="share of the range drowned in light",
    maximum=1.0,
    published_range=(1.0, 1.0),
)
def white(share: float, rng: np.random.Generator) -> ImageInjector:
    """The shutter stays open: the frame is mixed towards constant white."""
    return toned(1 - share, 255 * share)


@fault(
    name="colour_swap",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="channels are exchanged or not, any severity above 0 exchanges them",
    maximum=None,
    published_range=(1.0, 1.0),
)
def colour_swap(amount: float, rng: np.random.Generator) -> ImageInjector:
    """A driver takes BGR for RGB or the like: one of the five wrong orders of the channels."""
    wrong = list(permutations(range(3)))[1:]
    order = list(wrong[int(rng.integers(len(wrong)))])

    def inject(frame: Pixels, seconds: float) -> Pixels:
        return np.ascontiguousarray(frame[:, :, order])

    return inject


@fault(
    name="frozen",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="a held frame has no degree, any severity above 0 holds it",
    maximum=None,
    published_range=(1.0, 1.0),
)
def frozen(amount: float, rng: np.random.Generator) -> ImageInjector:
    """The camera's buffer is no longer filled: the first frame comes again, bit by bit."""
    held: list[Pixels] = []

    def inject(frame: Pixels, seconds: float) -> Pixels:
        if not held:
            held.append(frame.copy())
        return held[0]

    return inject


@fault(
    name="frozen_noisy",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="a held frame has no degree, any severity above 0 holds it",
    maximum=None,
    published_range=(1.0, 1.0),
)
def frozen_noisy(amount: float, rng: np.random.Generator) -> ImageInjector:
    """The first frame is held, with new noise of 2 grey levels each time: no two are equal."""
    held: list[Pixels] = []

    def inject(frame: Pixels, seconds: float) -> Pixels:
        if not held:
            held.append(frame.copy())
        return _added(held[0], gaussian(rng, frame.shape) * np.float32(IMAGE_NOISE_LEVELS))

    return inject


@fault(
    name="replayed",
    kind=Kind.IMAGE,
    origin=Origin.SENSOR,
    scales="age of the pictures",
    maximum=LATEST_S,
    unit="s",
    published_range=(0.1, 1.0),
    memory_s=LATEST_S,
)
def replayed(age_s: float, rng: np.random.Generator) -> ImageInjector:
    """A ring buffer is read at the wrong place: old pictures come again, with stamps of now.

    Shown is the remembered frame nearest to ``age_s`` ago, the oldest where none is as old.
    """
    past: deque[tuple[float, Pixels]] = deque()

    def inject(frame: Pixels, seconds: float) -> Pixels:
        past.append((seconds, frame.copy()))
        wanted = seconds - age_s
        while len(past) > 1 and abs(past[1][0] - wanted) <= abs(past[0][0] - wanted):
            past.popleft()
        return past[0][1]

    return inject


def _added(frame: Pixels, levels: NDArray[np.float32]) -> Pixels:
    """Add to grey levels, rounded and cut at 0 and 255."""
    return np.asarray(cv2.add(frame, levels, dtype=cv2.CV_8U), np.uint8)
