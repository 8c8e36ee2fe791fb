"""Faults that need a memory of the stream: held, cut out, warped in time, filtered.

All are causal and go on sample by sample. The authors give 5 to 25 samples for the cut-out; the
other maxima are ours.
"""

import numpy as np

from simulators.faults.parts import Signal, Struck
from simulators.faults.registry import Origin, VectorInjector, fault
from stream.messages import Floats, Kind

PAUSE_SAMPLES = (10, 30)
WARP_PERIOD_S = (1.5, 2.5)
BAND_HZ = (0.4, 4.0)
BAND_Q = 2 / 3


@fault(
    name="stuck",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="a held value has no degree, any severity above 0 holds it",
    maximum=None,
    published_range=(1.0, 1.0),
)
def stuck(
    amount: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A sensor answers the same for ever: bit-equal values from the onset on.

    The velocity that a drive derives from a stuck encoder is exactly 0; the torque goes on.
    """
    held: list[Floats] = []

    def inject(values: Floats, seconds: Floats) -> Floats:
        if not held and len(values):
            held.append(values[0, struck.measured].copy())
        changed = values.copy()
        if held:
            changed[:, struck.measured] = held[0]
        changed[:, struck.derived] = 0.0
        return changed

    return inject


@fault(
    name="cut_out",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="length of each cut-out",
    maximum=25.0,
    unit="samples",
    published_range=(0.2, 1.0),
)
def cut_out(
    samples: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A contact is loose: zeros for some samples, again after 10 to 30 sound ones as drawn.

    The first begins at the onset; a part of a sample is a whole one. The drive reads zero for the
    velocity too.
    """
    length = int(np.ceil(samples))
    left_cut, left_sound = length, 0

    def lost() -> bool:
        nonlocal left_cut, left_sound
        if not left_cut and not left_sound:
            left_cut = length
        if left_sound:
            left_sound -= 1
            return False
        left_cut -= 1
        if not left_cut:
            left_sound = int(rng.integers(*PAUSE_SAMPLES, endpoint=True))
        return True

    def inject(values: Floats, seconds: Floats) -> Floats:
        changed = values.copy()
        rows = [at for at in range(len(values)) if lost()]
        changed[np.ix_(rows, struck.columns)] = 0.0
        return changed

    return inject


@fault(
    name="time_warp",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="longest time that a value lags behind",
    maximum=0.4,
    unit="s",
    published_range=(0.2, 1.0),
)
def time_warp(
    longest_s: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A sensor's own clock runs slow, then fast: values lag, catch up, and lag again.

    The lag is half of ``longest_s`` (1 - cos(omega t)) with a period of 1.5 to 2.5 s as drawn;
    it never grows as fast as time, so that only what was measured since the onset is shown. A
    derived velocity is that of the warped position.
    """
    omega = 2 * np.pi / rng.uniform(*WARP_PERIOD_S)
    columns = struck.columns
    times, past = np.empty(0), np.empty((0, len(columns)))

    def inject(values: Floats, seconds: Floats) -> Floats:
        nonlocal times, past
        times = np.concatenate([times, seconds])
        past = np.concatenate([past, values[:, columns]])
        changed = values.copy()
        lag_s = longest_s / 2 * (1 - np.cos(omega * seconds))
        changed[:, columns] = _interpolated(times, past, seconds - lag_s)
        pace = 1 - longest_s / 2 * omega * np.sin(omega * seconds)
        changed[:, struck.derived] *= pace[:, None]
        recent = np.searchsorted(times, seconds.max(initial=-np.inf) - longest_s, side="right") - 1
        times, past = times[max(recent, 0) :], past[max(recent, 0) :]
        return changed

    return inject


def _interpolated(times: Floats, values: Floats, wanted: Floats) -> Floats:
    """Values (m, columns) linear between rows of (n, columns), held beyond the ends."""
    if not len(wanted):
        return values[:0]
    right = np.clip(np.searchsorted(times, wanted, side="left"), 0, len(times) - 1)
    left = np.maximum(right - 1, 0)
    apart = np.where(times[right] > times[left], times[right] - times[left], 1.0)
    weight = np.clip((wanted - times[left]) / apart, 0, 1)[:, None]
    return np.where(
        weight >= 1, values[right], values[left] + weight * (values[right] - values[left])
    )


@fault(
    name="frequency_mask",
    kind=Kind.VECTOR,
    origin=Origin.SENSOR,
    scales="share of a band about 0.4 to 4 Hz that is taken away",
    maximum=1.0,
    published_range=(0.4, 1.0),
)
def frequency_mask(
    share: float, rng: np.random.Generator, signal: Signal, struck: Struck
) -> VectorInjector:
    """A filter is configured wrongly: a band two octaves wide about a drawn centre is missing.

    A second-order band-pass of quality 2/3 (bilinear, unit gain at its centre; R. Bristow-Johnson,
    Audio EQ Cookbook) whose output is subtracted. It is linear, so that a derived velocity passes
    through the same. It starts as if the first value had been there for ever.
    """
    centre_hz = min(np.exp(rng.uniform(*np.log(BAND_HZ))), signal.rate_hz / 8)
    omega = 2 * np.pi * centre_hz / signal.rate_hz
    alpha = np.sin(omega) / (2 * BAND_Q)
    b, a1, a2 = alpha / (1 + alpha), -2 * np.cos(omega) / (1 + alpha), (1 - alpha) / (1 + alpha)
    columns = struck.columns
    inputs: list[Floats] = []  # the last two, newest first
    outputs = [np.zeros(len(columns)), np.zeros(len(columns))]

    def inject(values: Floats, seconds: Floats) -> Floats:
        changed = values.copy()
        for row in changed:
            if not inputs:
                inputs[:] = [np.nan_to_num(row[columns], posinf=0.0, neginf=0.0)] * 2
            # Recorded garbage must not ring on for ever.
            now = np.where(np.isfinite(row[columns]), row[columns], inputs[0])
            band = b * (now - inputs[1]) - a1 * outputs[0] - a2 * outputs[1]
            inputs[:], outputs[:] = [now, inputs[0]], [band, outputs[0]]
            row[columns] -= share * band
        return changed

    return inject
