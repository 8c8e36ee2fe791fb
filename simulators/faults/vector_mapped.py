"""Faults that show another value of the same instant: scaled, turned, exchanged, cut, rounded.

Sizes are multiples of each channel's own spread, its standard deviation over the recording. The
authors list these faults without figures; the maxima are ours.
"""

import numpy as np

from simulators.faults.parts import Signal, Struck
from simulators.faults.registry import Origin, VectorInjector, fault
from stream.messages import Floats, Kind

RANGE_SPREADS = 2.0


@fault(
    name="gain",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="factor above or below 1",
    maximum=0.5,
    published_range=(0.1, 1.0),
)
def gain(more: float, rng: np.random.Generator, signal: Signal, struck: Struck) -> VectorInjector:
    """A scale is configured wrongly: a position and its velocity grow or shrink about 0 alike."""
    factor = np.ones_like(signal.spread)
    factor[struck.measured] = 1 + more * rng.choice((-1.0, 1.0), len(struck.places))
    factor[struck.derived] = factor[struck.source]
    return lambda values, seconds: values * factor


@fault(
    name="sign_flip",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="a sign is right or wrong, any severity above 0 turns it",
    maximum=None,
    published_range=(1.0, 1.0),
)
def sign_flip(
    amount: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A direction is configured wrongly: a position and its velocity, or a torque, change sign."""
    sign = np.ones_like(signal.spread)
    sign[struck.columns] = -1.0
    return lambda values, seconds: values * sign


@fault(
    name="channel_swap",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="wires are exchanged or not, any severity above 0 exchanges them",
    maximum=None,
    published_range=(1.0, 1.0),
    fewest=2,
)
def channel_swap(
    amount: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """Two or three plugs are exchanged: each joint shows what the next one measures.

    A derived velocity goes with its encoder.
    """
    order = np.arange(len(signal.spread))
    order[struck.measured] = np.roll(struck.measured, 1)
    if len(struck.derived) == len(struck.measured):
        order[struck.derived] = np.roll(struck.derived, 1)
    return lambda values, seconds: values[:, order]


@fault(
    name="quantisation",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="step between two values",
    maximum=0.5,
    unit="spreads",
    published_range=(0.1, 1.0),
)
def quantisation(
    spreads: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A telegram has too few bits: a position and its velocity are each rounded to their steps."""
    columns = [at for at in struck.columns if signal.spread[at] > 0]
    steps = spreads * signal.spread[columns]

    def inject(values: Floats, seconds: Floats) -> Floats:
        changed = values.copy()
        changed[:, columns] = np.rint(values[:, columns] / steps) * steps
        return changed

    return inject


@fault(
    name="saturation",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="share that is lost of a range of 2 spreads about the value at the onset",
    maximum=0.95,
    published_range=(0.4, 1.0),
)
def saturation(
    lost: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """An amplifier's range has shrunk: values stop at its ends.

    A derived velocity is 0 while its position stands at an end.
    """
    reach = (1 - lost) * RANGE_SPREADS * signal.spread[struck.measured]
    middle = np.full(len(struck.measured), np.nan)

    def inject(values: Floats, seconds: Floats) -> Floats:
        if np.isnan(middle).any() and len(values):
            middle[:] = _first_finite(values[:, struck.measured], middle)
        changed = values.copy()
        measured = values[:, struck.measured]
        # Where nothing finite was seen yet the limits are NaN, and what is compared with it stays.
        stopped = np.where(measured > middle + reach, middle + reach, measured)
        stopped = np.where(measured < middle - reach, middle - reach, stopped)
        changed[:, struck.measured] = stopped
        ends = np.zeros(values.shape, bool)
        ends[:, struck.measured] = stopped != measured
        changed[:, struck.derived] *= ~ends[:, struck.source]
        return changed

    return inject


def _first_finite(values: Floats, known: Floats) -> Floats:
    """The first finite value of each column of (n, columns) where none is known, else NaN."""
    finite = np.isfinite(values)
    first = values[finite.argmax(axis=0), np.arange(values.shape[1])]
    return np.where(np.isnan(known) & finite.any(axis=0), first, known)
