"""Faults that add something to joint and process signals.

Sizes are multiples of each channel's own spread, its standard deviation over the recording, so
that one severity means the same on any robot. What adds to a position adds its slope to the
velocity that the drive derives from it, in the position's unit per second. The authors list these
faults without figures; the maxima are ours.
"""

import numpy as np

from simulators.faults.parts import Part, Signal, Struck
from simulators.faults.registry import Origin, VectorInjector, fault
from stream.messages import Floats, Kind

RUNAWAY_S = 1.0
FARTHEST_SPREADS = 3.0
SHAKE_HZ = (1.0, 5.0)
SPIKE_SIGMA_S = (0.03, 0.05)
SPIKE_INTERVAL_S = (0.4, 0.6)
STEP_S = (0.15, 0.4)


def _added(struck: Struck, signal: Signal, spreads: Floats) -> tuple[Floats, Floats]:
    """Per channel what is added to the measured ones, and its source's share for derived ones.

    ``spreads`` (places,) are the sizes; both results have shape (channels,).
    """
    size, slope = np.zeros_like(signal.spread), np.zeros_like(signal.spread)
    size[struck.measured] = spreads * signal.spread[struck.measured]
    slope[struck.derived] = size[struck.source]
    return size, slope


def _signs(rng: np.random.Generator, struck: Struck) -> Floats:
    return np.asarray(rng.choice((-1.0, 1.0), len(struck.places)), np.float64)


@fault(
    name="drift",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="rate of the error",
    maximum=1.0,
    unit="spread/s",
    published_range=(0.1, 1.0),
)
def drift(
    spreads_per_s: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A sensor runs away linearly, up or down: an encoder loses counts, a torque cell warms up."""
    rates, gained = _added(struck, signal, spreads_per_s * _signs(rng, struck))
    return lambda values, seconds: values + seconds[:, None] * rates + gained


@fault(
    name="exponential_drift",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="size a of an error a (exp(t / 1 s) - 1) that ends at 3 spreads",
    maximum=0.3,
    unit="spreads",
    published_range=(0.1, 1.0),
)
def exponential_drift(
    spreads: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A sensor runs away faster and faster, until its electronics can go no farther.

    Its velocity, where there is one derived, grows along and is right again at the end.
    """
    size, slope = _added(struck, signal, spreads * _signs(rng, struck))
    end_s = float(RUNAWAY_S * np.log1p(FARTHEST_SPREADS / spreads))

    def inject(values: Floats, seconds: Floats) -> Floats:
        grown = np.exp(np.minimum(seconds, end_s) / RUNAWAY_S)[:, None]
        running = (seconds < end_s)[:, None]
        added: Floats = size * (grown - 1) + slope * running * grown / RUNAWAY_S
        return values + added

    return inject


@fault(
    name="offset",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="shift",
    maximum=1.0,
    unit="spread",
    published_range=(0.1, 1.0),
)
def offset(
    spreads: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A sensor lost its reference: an encoder's position is shifted, its velocity is right."""
    shift, _ = _added(struck, signal, spreads * _signs(rng, struck))
    return lambda values, seconds: values + shift


@fault(
    name="step",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="height of the steps",
    maximum=1.0,
    unit="spread",
    published_range=(0.1, 1.0),
)
def step(
    spreads: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A sensor slips and catches again, each for the same 0.15 to 0.4 s as drawn.

    The drive discards the one impossible velocity at the slip, so that the others are right.
    """
    shift, _ = _added(struck, signal, spreads * _signs(rng, struck))
    period_s = 2 * rng.uniform(*STEP_S)

    def inject(values: Floats, seconds: Floats) -> Floats:
        slipped = np.mod(seconds, period_s) < period_s / 2
        return values + slipped[:, None] * shift

    return inject


@fault(
    name="spike",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="height of Gaussian spikes",
    maximum=0.5,
    unit="spreads",
    published_range=(0.1, 1.0),
)
def spike(
    spreads: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A shock or an induced pulse: a Gaussian of sigma 30 to 50 ms, again every 0.4 to 0.6 s.

    Its slope is in a derived velocity.
    """
    height, slope = _added(struck, signal, spreads * _signs(rng, struck))
    sigma_s, interval_s = rng.uniform(*SPIKE_SIGMA_S), rng.uniform(*SPIKE_INTERVAL_S)

    def inject(values: Floats, seconds: Floats) -> Floats:
        away = ((np.mod(seconds, interval_s) - interval_s / 2) / sigma_s)[:, None]
        pulse = np.exp(-(away**2) / 2)
        return values + height * pulse - slope * away / sigma_s * pulse

    return inject


@fault(
    name="noise",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="standard deviation of Gaussian noise",
    maximum=0.5,
    unit="spreads",
    published_range=(0.1, 1.0),
)
def noise(
    spreads: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A shield is broken: independent in each sample, and in a position and its velocity."""
    scale = np.zeros_like(signal.spread)
    scale[struck.columns] = spreads * signal.spread[struck.columns]

    def inject(values: Floats, seconds: Floats) -> Floats:
        return values + rng.standard_normal(values.shape) * scale

    return inject


@fault(
    name="periodic",
    kind=Kind.VECTOR,
    origin=Origin.UPSTREAM,
    scales="amplitude of a sine of 1 to 5 Hz",
    maximum=0.1,
    unit="spreads",
    published_range=(0.1, 1.0),
    parts=(Part.JOINT,),
)
def periodic(
    spreads: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A bearing is worn and the joint shakes: a sine in the position, its slope in the velocity.

    The torque that the shaking would need is left out.
    """
    omega = 2 * np.pi * rng.uniform(*SHAKE_HZ)
    amplitude, slope = _added(struck, signal, np.full(len(struck.places), spreads))

    def inject(values: Floats, seconds: Floats) -> Floats:
        angle = omega * seconds[:, None]
        return values + amplitude * np.sin(angle) + omega * slope * np.cos(angle)

    return inject
