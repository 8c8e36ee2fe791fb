"""Faults of joint and process signals, in multiples of each channel's own spread.

The spread is the channel's standard deviation over the recording, so that one severity means the
same on any robot. Channels called ``position_k``, ``velocity_k`` and ``torque_k`` form joint k;
any other channel stands alone. A fault hits one to three joints that move in the recording, as
drawn. The catalogue lists these faults without figures; the maxima are ours.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from simulators.faults.registry import Origin, Signal, VectorInjector, fault
from stream.messages import Floats, Kind

MOST_JOINTS = 3
DRIFT_SPREADS_PER_S = 1.0
NOISE_SPREADS = 0.5
OFFSET_SPREADS = 1.0
GAIN = 0.5
SHAKE_SPREADS = 0.1
SHAKE_HZ = (1.0, 5.0)

_OF_A_JOINT = re.compile(r"(position|velocity|torque)_(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """Column numbers of what belongs together; ``other`` is what needs no derivative.

    A joint with a position has its encoder there: the drive derives the velocity from it.
    """

    position: list[int] = field(default_factory=list)
    velocity: list[int] = field(default_factory=list)
    other: list[int] = field(default_factory=list)

    @property
    def columns(self) -> list[int]:
        """Every column of the joint."""
        return [*self.position, *self.velocity, *self.other]

    @property
    def measured(self) -> list[int]:
        """What an encoder fault shifts: the position, or every column where there is none."""
        return self.position or self.columns


def joints(names: Iterable[str], channels: int) -> list[Joint]:
    """Group channels into joints by name; a channel without a known name stands alone."""
    groups: dict[str, dict[str, list[int]]] = {}
    named = list(names) or [""] * channels
    for column, name in enumerate(named):
        match = _OF_A_JOINT.fullmatch(name)
        joint = match[2] if match else f"channel {column}"
        quantity = match[1] if match and match[1] != "torque" else "other"
        groups.setdefault(joint, {}).setdefault(quantity, []).append(column)
    return [Joint(**columns) for columns in groups.values()]


def draw_joints(rng: np.random.Generator, signal: Signal) -> list[Joint]:
    """Draw one to three joints among those that move, or among all where none does."""
    every = joints(signal.names, len(signal.spread))
    moving = [joint for joint in every if np.any(signal.spread[joint.measured] > 0)] or every
    count = min(int(rng.integers(1, MOST_JOINTS + 1)), len(moving))
    return [moving[at] for at in rng.choice(len(moving), count, replace=False)]


@fault(
    name="drift",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    parameter="rate of the encoder's error, 1 spread a second at 1",
    published_range=(0.1, 1.0),
)
def drift(severity: float, rng: np.random.Generator, signal: Signal) -> VectorInjector:
    """An encoder loses counts: its position runs away linearly, up or down as drawn.

    The drive derives the velocity from the same encoder, so that the joint's velocity gains the
    rate (in the position's unit per second); the torque does not know of it.
    """
    rates = np.zeros_like(signal.spread)
    gained = np.zeros_like(signal.spread)
    for joint in draw_joints(rng, signal):
        sign = rng.choice((-1, 1))
        measured = joint.measured
        rates[measured] = sign * DRIFT_SPREADS_PER_S * severity * signal.spread[measured]
        if joint.position:
            gained[joint.velocity] = rates[joint.position[0]]
    return lambda values, seconds: values + seconds[:, None] * rates + gained


@fault(
    name="stuck",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    parameter="nothing: a held value has no degree, any severity above 0 holds it",
    published_range=(1.0, 1.0),
)
def stuck(severity: float, rng: np.random.Generator, signal: Signal) -> VectorInjector:
    """An encoder answers the same count for ever: bit-equal values from the onset on.

    The velocity that the drive derives from it is exactly 0; the torque goes on.
    """
    hit = draw_joints(rng, signal)
    measured = [column for joint in hit for column in joint.measured]
    derived = [column for joint in hit if joint.position for column in joint.velocity]
    held: list[Floats] = []

    def inject(values: Floats, seconds: Floats) -> Floats:
        if not held and len(values):
            held.append(values[0, measured].copy())
        changed = values.copy()
        if held:
            changed[:, measured] = held[0]
        changed[:, derived] = 0.0
        return changed

    return inject


@fault(
    name="noise",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    parameter="standard deviation of Gaussian noise, 0.5 spreads at 1",
    published_range=(0.1, 1.0),
)
def noise(severity: float, rng: np.random.Generator, signal: Signal) -> VectorInjector:
    """A shield is broken: additive noise on every channel of a joint, independent by sample."""
    scale = np.zeros_like(signal.spread)
    for joint in draw_joints(rng, signal):
        scale[joint.columns] = NOISE_SPREADS * severity * signal.spread[joint.columns]

    def inject(values: Floats, seconds: Floats) -> Floats:
        return values + rng.standard_normal(values.shape) * scale

    return inject


@fault(
    name="offset",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    parameter="shift, 1 spread at 1",
    published_range=(0.1, 1.0),
)
def offset(severity: float, rng: np.random.Generator, signal: Signal) -> VectorInjector:
    """An encoder lost its reference: its position is shifted, its velocity is right."""
    shift = np.zeros_like(signal.spread)
    for joint in draw_joints(rng, signal):
        sign = rng.choice((-1, 1))
        shift[joint.measured] = sign * OFFSET_SPREADS * severity * signal.spread[joint.measured]
    return lambda values, seconds: values + shift


@fault(
    name="gain",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    parameter="factor above or below 1, 0.5 at 1",
    published_range=(0.1, 1.0),
)
def gain(severity: float, rng: np.random.Generator, signal: Signal) -> VectorInjector:
    """A scale is configured wrongly: position and derived velocity grow or shrink about 0."""
    factor = np.ones_like(signal.spread)
    for joint in draw_joints(rng, signal):
        hit = [*joint.measured, *joint.velocity]
        factor[hit] = 1 + rng.choice((-1, 1)) * GAIN * severity
    return lambda values, seconds: values * factor


@fault(
    name="periodic",
    kind=Kind.VECTOR,
    origin=Origin.UPSTREAM,
    parameter="amplitude of a sine of 1 to 5 Hz, 0.1 spreads at 1",
    published_range=(0.1, 1.0),
)
def periodic(severity: float, rng: np.random.Generator, signal: Signal) -> VectorInjector:
    """A bearing is worn and the joint shakes: a sine in the position, its slope in the velocity.

    The torque that the shaking would need is left out.
    """
    amplitude = np.zeros_like(signal.spread)
    slope = np.zeros_like(signal.spread)
    omega = 2 * np.pi * rng.uniform(*SHAKE_HZ)
    for joint in draw_joints(rng, signal):
        measured = joint.measured
        amplitude[measured] = SHAKE_SPREADS * severity * signal.spread[measured]
        if joint.position:
            slope[joint.velocity] = omega * amplitude[joint.position[0]]

    def inject(values: Floats, seconds: Floats) -> Floats:
        angle = omega * seconds[:, None]
        return values + amplitude * np.sin(angle) + slope * np.cos(angle)

    return inject
