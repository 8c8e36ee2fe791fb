"""Sensors: each with a clock of its own, a lag, noise and a quantisation step."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from stream.messages import Floats, TimesNs

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """When a sensor samples, and how long its readings travel.

    It samples every 1/``rate_hz``, from a phase of its own, with an oscillator that is off by up
    to ``rate_error`` (a share) and a jitter whose standard deviation is ``jitter_s``. A reading is
    logged ``delay_s`` (least, mean) after it was taken; the rest above the least is exponential.
    """

    rate_hz: float
    rate_error: float
    jitter_s: float
    delay_s: tuple[float, float]

    def draw(self, random: Generator, seconds: float) -> tuple[TimesNs, TimesNs]:
        """Capture and log times (n,) in nanoseconds since the begin, both rising, n by chance."""
        period_s = (1 + random.uniform(-self.rate_error, self.rate_error)) / self.rate_hz
        phase_s = random.uniform(0.25, 1.0) * period_s
        count = max(0, int(np.ceil((seconds - 0.25 * period_s - phase_s) / period_s)))
        jitter_s = np.clip(random.normal(0, self.jitter_s, count), -0.24 * period_s, None)
        jitter_s = np.minimum(jitter_s, 0.24 * period_s)
        times_s = phase_s + period_s * np.arange(count) + jitter_s
        least_s, mean_s = self.delay_s
        delays_s = least_s + random.exponential(mean_s - least_s, count)
        times_ns = np.round(times_s * NS_PER_S).astype(np.int64)
        logged_ns = times_ns + np.round(delays_s * NS_PER_S).astype(np.int64)
        # One cable: a reading never overtakes the one before it.
        return times_ns, np.maximum.accumulate(logged_ns)


def lagged(values: Floats, rate_hz: float, lag_s: float) -> Floats:
    """First-order low pass, time constant ``lag_s``, of evenly sampled ``values`` (n, channels)."""
    keep = np.exp(-1 / (rate_hz * lag_s))
    result = np.empty_like(values)
    state = values[0].copy()
    for row in range(len(values)):
        state = keep * state + (1 - keep) * values[row]
        result[row] = state
    return result


def measured(clean: Floats, noise_sd: Floats, quantum: Floats, random: Generator) -> Floats:
    """What the sensor reports of ``clean`` (n, channels): noise added, then rounded to steps."""
    noisy = clean + noise_sd * random.standard_normal(clean.shape)
    result: Floats = np.round(noisy / quantum) * quantum
    return result
