"""Procedural disturbances of vector windows, on which a detector teaches itself.

A disturbance hits random channels over a random part of the window with a random operation. None
imitates a fault of the catalogue on purpose: what is learnt is what clean windows look like.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from model.frame_masks import drawn, log_uniform

Signal: TypeAlias = NDArray[np.float64]
"""(T,), or a window (T, C), in physical units."""

LEAST_CHANGE = 0.7  # of a channel's noise, below which it does not count as hit
DERIVATIVE_KEEPS = 0.67  # of its last value, as a drive smooths the speed that it derives
JOINT_SHARE = 0.5
TRIES = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Channels:
    """What a disturbance has to know of a modality's channels, C of them.

    ``noise`` (C,) is what clean samples scatter by; ``derivative`` (C,) the channel that is each
    one's rate of change, -1 for none; ``unit`` (C,) numbers channels of one unit alike.
    """

    noise: Signal
    derivative: NDArray[np.int64]
    unit: NDArray[np.int64]
    rate_hz: float


def describe(units: Sequence[str], noise: Signal, rate_hz: float) -> Channels:
    """Pair the k-th channel of a unit with the k-th of its unit per second.

    Without units every channel stands alone.
    """
    named = list(units) or [""] * len(noise)
    members = {unit: [at for at, one in enumerate(named) if one == unit] for unit in named}
    derivative = np.full(len(noise), -1)
    for unit, columns in members.items():
        rates = members.get(f"{unit}/s", [])
        if unit and len(rates) == len(columns):
            derivative[columns] = rates
    numbers = {unit: number for number, unit in enumerate(members)}
    return Channels(
        noise=noise,
        derivative=derivative,
        unit=np.array([numbers[unit] for unit in named]),
        rate_hz=rate_hz,
    )


def disturb(
    random: Generator, window: Signal, other: Signal, channels: Channels
) -> tuple[Signal, NDArray[np.bool_]]:
    """Return a disturbed copy of ``window`` (T, C) and which channels are visibly hit (C,).

    ``other`` (T, C) is a window of another time. What changes nothing visible is drawn again.
    """
    for _ in range(TRIES):
        changed = _disturbed(random, window, other, channels)
        change = np.abs(changed - window).max(0)
        if (change > channels.noise).any():
            break
    return changed, change > LEAST_CHANGE * channels.noise


def _disturbed(random: Generator, window: Signal, other: Signal, channels: Channels) -> Signal:
    changed = window.copy()
    during = _during(random, len(window))
    operation = drawn(random, OPERATIONS)
    hit_by = log_uniform(random, 0.5, 400)
    count = min(int(random.choice((1, 1, 1, 2, 2, 3, 4, 6))), window.shape[1])
    joint = random.random() < JOINT_SHARE
    for column in random.choice(window.shape[1], count, replace=False):
        rate = channels.derivative[column] if joint else -1
        target = Target(column=int(column), rate=int(rate), size=hit_by * channels.noise[column])
        values = operation(random, window, other, channels, target)
        for at, value in values.items():
            changed[:, at] = np.where(during, value, window[:, at])
    return changed


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """One channel, with its rate of change where that is to follow (else -1), and how much."""

    column: int
    rate: int
    size: float

    @property
    def columns(self) -> list[int]:
        """The channel, and its rate of change where that follows."""
        return [self.column] if self.rate < 0 else [self.column, self.rate]


Operation: TypeAlias = Callable[[Generator, Signal, Signal, Channels, Target], dict[int, Signal]]
"""(random, window, other, channels, target) -> new values (T,) by channel."""


def _during(random: Generator, samples: int) -> NDArray[np.bool_]:
    """When a disturbance acts: mostly all the time, else from some sample on, or for a while."""
    during = np.ones(samples, np.bool_)
    if random.random() < 0.35:
        begin = int(random.integers(0, max(samples - 3, 1)))
        during[:begin] = False
        if random.random() < 0.4:
            during[begin + int(random.integers(3, 26)) :] = False
    return during


def _shape(random: Generator, samples: int) -> Signal:
    """Draw a function of time (T,) of about unit size."""
    time = np.arange(samples) / samples
    begin = random.uniform(-0.3, 1)
    kind = random.integers(7)
    if kind == 0:
        walk = np.cumsum(random.standard_normal(samples))
        return np.asarray(walk / (np.abs(walk).max() + 1e-9))
    if kind == 1:
        return np.sin(2 * np.pi * (log_uniform(random, 0.15, 14) * time + random.random()))
    if kind == 2:
        return (time >= begin).astype(np.float64)
    if kind == 3:
        return np.clip(time - begin, 0, None) / max(1 - begin, 0.1)
    if kind == 4:
        width = log_uniform(random, 0.01, 0.3)
        return np.exp(-np.square((time - random.random()) / width) / 2)
    if kind == 5:
        return (np.exp(np.clip(time - begin, 0, None) * random.uniform(1, 5)) - 1) / 10
    return np.ones(samples)


def _add(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    added = target.size * random.choice((-1, 1)) * _shape(random, len(window))
    values = {target.column: window[:, target.column] + added}
    if target.rate >= 0:
        slope = _smoothed(np.gradient(added) * channels.rate_hz, DERIVATIVE_KEEPS)
        values[target.rate] = window[:, target.rate] + slope
    return values


def _multiply(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    shape = _shape(random, len(window)) if random.random() < 0.5 else 1.0
    gain = 1 + log_uniform(random, 0.01, 1.0) * random.choice((-1, 1)) * shape
    return {at: window[:, at] * gain for at in target.columns}


def _noise(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    relative = target.size / channels.noise[target.column]
    drawn_noise = random.standard_normal((len(window), len(target.columns)))
    scale = 0.7 * relative * channels.noise[target.columns]
    return dict(
        zip(target.columns, (window[:, target.columns] + drawn_noise * scale).T, strict=True)
    )


def _replace(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    return {at: other[:, at] for at in target.columns}


def _smooth(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    keep = random.uniform(0.5, 0.97)
    return {at: _smoothed(window[:, at], keep) for at in target.columns}


def _hold(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    held = window[int(random.integers(len(window))), target.column]
    if random.random() < 0.3:
        held = held + target.size * random.standard_normal()
    values = {target.column: np.full(len(window), held)}
    if target.rate >= 0:
        values[target.rate] = np.zeros(len(window))
    return values


def _sample_rarely(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    every = int(random.integers(2, 9))
    at_s = np.arange(len(window)) // every * every
    return {at: window[at_s, at] for at in target.columns}


def _round(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    step = max(target.size, 1e-12)
    return {target.column: np.round(window[:, target.column] / step) * step}


def _clip(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    values = window[:, target.column]
    low, high = np.quantile(values, np.sort(random.random(2)))
    return {target.column: np.clip(values, low if random.random() < 0.5 else None, high)}


def _shift_time(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    order = np.arange(len(window))
    back = np.abs(random.normal(0, 4)) * np.clip(_shape(random, len(window)), -1, 1)
    moved = np.clip(order - back, 0, len(window) - 1)
    return {at: np.interp(moved, order, window[:, at]) for at in target.columns}


def _swap(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    alike = np.flatnonzero(channels.unit == channels.unit[target.column])
    source = int(random.choice(alike))
    values = {target.column: window[:, source]}
    if target.rate >= 0:
        values[target.rate] = window[:, channels.derivative[source]]
    return values


def _flip(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    return {at: -window[:, at] for at in target.columns}


def _lose(
    random: Generator, window: Signal, other: Signal, channels: Channels, target: Target
) -> dict[int, Signal]:
    return {at: np.zeros(len(window)) for at in target.columns}


OPERATIONS: dict[Operation, float] = {
    _add: 0.30,
    _multiply: 0.12,
    _noise: 0.10,
    _smooth: 0.08,
    _replace: 0.07,
    _shift_time: 0.06,
    _round: 0.06,
    _hold: 0.05,
    _clip: 0.05,
    _swap: 0.04,
    _sample_rarely: 0.03,
    _flip: 0.03,
    _lose: 0.03,
}


def _smoothed(values: Signal, keep: float) -> Signal:
    """First-order low pass that keeps the share ``keep`` of its last value."""
    smooth = np.empty_like(values)
    state = values[0]
    for at, value in enumerate(values):
        state = keep * state + (1 - keep) * value
        smooth[at] = state
    return smooth
