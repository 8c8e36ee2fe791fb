"""What a sensor measures while faults act on it, or on what lies before it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from simulators.faults.effect import vector_effect
from simulators.faults.registry import Origin, VectorInjector
from simulators.truth import NS, Injection
from stream.messages import Floats, Samples, TimesNs


@dataclass(slots=True, kw_only=True)
class Measured:
    """One batch of samples as it is measured, and before the sensor, both (n, channels)."""

    times_ns: TimesNs
    values: Floats
    clean: Floats
    quantum: Floats

    @classmethod
    def of(cls, samples: Samples, clean: Samples | None, quantum: Floats) -> Self:
        """Copy both; without ``clean`` what is measured stands for it, unrounded.

        Raises ValueError where the clean samples are not those of the reading.
        """
        if clean is not None and not _alike(samples, clean):
            raise ValueError(
                f"{samples.modality}: the clean samples at {samples.time_ns} ns are not those of "
                "the reading, their times or channels differ"
            )
        return cls(
            times_ns=samples.times_ns,
            values=samples.values.copy(),
            clean=(clean or samples).values.copy(),
            quantum=quantum if clean is not None else np.empty(0),
        )

    def hit(self, injection: Injection, injector: VectorInjector, noise: Floats) -> float:
        """Apply one injection and tell its effect on what is measured, in units of ``noise``."""
        rows = (self.times_ns >= injection.onset_ns) & (self.times_ns < injection.end_ns)
        seconds = (self.times_ns[rows] - injection.onset_ns) / NS
        before = self.values[rows]
        # Recorded garbage, such as an infinity, stays garbage and is no reason to warn.
        with np.errstate(invalid="ignore", over="ignore"):
            if injection.origin is Origin.UPSTREAM:
                changed = injector(self.clean[rows], seconds)
                self.values[rows] = self._measure(before, self.clean[rows], changed)
                self.clean[rows] = changed
            else:
                self.values[rows] = injector(before, seconds)
            return vector_effect(before, self.values[rows], noise)

    def _measure(self, before: Floats, clean: Floats, changed: Floats) -> Floats:
        """What the sensor shows of ``changed``: the same noise, then its quantisation."""
        shown = changed + (before - clean)
        if self.quantum.size:
            step = np.where(self.quantum > 0, self.quantum, 1.0)
            shown = np.where(self.quantum > 0, np.rint(shown / step) * step, shown)
        return np.where(changed == clean, before, shown)


def _alike(samples: Samples, clean: Samples) -> bool:
    return samples.values.shape == clean.values.shape and np.array_equal(
        samples.times_ns, clean.times_ns
    )
