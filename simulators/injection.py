"""Faults applied to a stream while it is replayed.

Every frame, clean or faulty, is decoded, perhaps changed, and encoded again, so that nobody can
tell a fault by its second JPEG compression. Vectors pass as they are until a fault hits them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from simulators.faults.effect import image_effect, signal_noise, vector_effect
from simulators.faults.registry import (
    FaultError,
    ImageInjector,
    Injector,
    Origin,
    Signal,
    VectorInjector,
    start,
)
from simulators.recordings.recording import Modality
from simulators.truth import NS, Change, Injection, Transition
from stream.images import DEFAULT_MAX_PIXELS, decode, encode_jpeg
from stream.messages import Floats, Frame, Kind, Malformed, Reading, Samples

# How long readings that come after later ones may still belong to an injection that is over.
REMEMBER_NS = 10 * NS


@dataclass(slots=True, kw_only=True)
class _Running:
    injection: Injection
    injector: Injector
    told: set[Transition] = field(default_factory=set)
    effect: float | None = None

    def felt(self, effect: float) -> None:
        self.effect = effect if self.effect is None else max(self.effect, effect)


class Injections:
    """The injections of one station, applied to its readings in the order they are replayed.

    ``spreads`` gives each vector modality's standard deviation by channel. ``passed`` counts, by
    modality, readings that no fault can act on (undecodable images, a wrong number of channels):
    they go on unchanged, for garbage has to reach the worker.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        spreads: Mapping[str, Floats],
        *,
        jpeg_quality: int = 90,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> None:
        self.passed: Counter[str] = Counter()
        self._modalities = dict(modalities)
        self._signals = {
            name: _signal(modality, spreads)
            for name, modality in modalities.items()
            if modality.kind is Kind.VECTOR
        }
        self._jpeg_quality = jpeg_quality
        self._max_pixels = max_pixels
        self._running: list[_Running] = []

    def add(self, injection: Injection) -> None:
        """Begin to apply an injection, now or when its time comes.

        Raises FaultError for a modality that is not there, UnknownFault for a fault.
        """
        modality = self._modalities.get(injection.modality)
        if modality is None:
            known = ", ".join(self._modalities)
            raise FaultError(f"no modality is named {injection.modality!r}; there are: {known}")
        injector = start(
            modality.kind,
            injection.fault,
            injection.severity,
            injection.seed,
            self._signals.get(injection.modality),
        )
        self._running.append(_Running(injection=injection, injector=injector))
        # Upstream faults come first: the sensor sees what they left.
        self._running.sort(key=lambda running: running.injection.origin is not Origin.UPSTREAM)

    def active(self, time_ns: int) -> tuple[Injection, ...]:
        """The injections that hit this event time."""
        return tuple(one.injection for one in self._running if one.injection.hits(time_ns))

    def due(self, now_ns: int) -> list[Change]:
        """Every beginning and end up to ``now_ns`` not told yet, in the order of time."""
        changes = [
            change
            for running in self._running
            for change in _changes(running)
            if change.time_ns <= now_ns and change.transition not in running.told
        ]
        for running in self._running:
            running.told |= {
                change.transition for change in changes if change.injection is running.injection
            }
        self._running = [
            running
            for running in self._running
            if running.told != set(Transition) or running.injection.end_ns + REMEMBER_NS > now_ns
        ]
        return sorted(changes, key=lambda change: change.time_ns)

    def apply(self, reading: Reading, clean: Reading | None = None) -> Reading:
        """Change a reading by the faults that hit it; never writes into its arguments.

        ``clean`` holds the same samples without the sensor's noise: upstream faults act there,
        and the noise and the quantisation follow. Without it they act on the reading itself.
        """
        if isinstance(reading, Frame):
            return self._frame(reading)
        return self._samples(reading, clean if isinstance(clean, Samples) else None)

    def _frame(self, frame: Frame) -> Frame:
        try:
            pixels = decode(frame.data, self._max_pixels)
        except Malformed:
            self.passed[frame.modality] += 1
            return frame
        modality = self._modalities.get(frame.modality)
        for running in self._of(frame.modality):
            if running.injection.hits(frame.time_ns):
                injector = cast(ImageInjector, running.injector)
                changed = injector(pixels, (frame.time_ns - running.injection.onset_ns) / NS)
                running.felt(image_effect(pixels, changed, modality.noise_sd if modality else ()))
                pixels = changed
        return Frame(
            modality=frame.modality,
            time_ns=frame.time_ns,
            data=encode_jpeg(pixels, self._jpeg_quality),
            format="jpeg",
        )

    def _samples(self, samples: Samples, clean: Samples | None) -> Samples:
        hitting = [
            running
            for running in self._of(samples.modality)
            if any(running.injection.hits(time_ns) for time_ns in samples.times_ns.tolist())
        ]
        if not hitting:
            return samples
        signal = self._signals[samples.modality]
        if samples.values.shape[1] != len(signal.spread):
            self.passed[samples.modality] += 1
            return samples
        quantum = self._modalities[samples.modality].quantum
        values = _Values.of(samples, clean, np.asarray(quantum, np.float64))
        for running in hitting:
            running.felt(values.hit(running, samples.times_ns, signal_noise(signal)))
        return Samples(
            modality=samples.modality,
            times_ns=samples.times_ns,
            values=values.measured,
            names=samples.names,
            units=samples.units,
        )

    def _of(self, modality: str) -> list[_Running]:
        return [running for running in self._running if running.injection.modality == modality]


@dataclass(slots=True, kw_only=True)
class _Values:
    """What the sensor measures and what lies before it, both (n, channels)."""

    measured: Floats
    clean: Floats
    quantum: Floats

    @classmethod
    def of(cls, samples: Samples, clean: Samples | None, quantum: Floats) -> "_Values":
        if clean is not None and not _alike(samples, clean):
            raise ValueError(
                f"{samples.modality}: the clean samples at {samples.time_ns} ns are not those of "
                "the reading, their times or channels differ"
            )
        measured = samples.values.copy()
        return cls(
            measured=measured,
            clean=(clean or samples).values.copy(),
            quantum=quantum if clean is not None else np.empty(0),
        )

    def hit(self, running: _Running, times_ns: np.ndarray, noise: Floats) -> float:
        """Apply one injection and tell its effect on what is measured."""
        injection = running.injection
        injector = cast(VectorInjector, running.injector)
        rows = (times_ns >= injection.onset_ns) & (times_ns < injection.end_ns)
        seconds = (times_ns[rows] - injection.onset_ns) / NS
        before = self.measured[rows]
        # Recorded garbage, such as an infinity, stays garbage and is no reason to warn.
        with np.errstate(invalid="ignore", over="ignore"):
            if injection.origin is Origin.UPSTREAM:
                changed = injector(self.clean[rows], seconds)
                self.measured[rows] = self._measure(before, self.clean[rows], changed)
                self.clean[rows] = changed
            else:
                self.measured[rows] = injector(before, seconds)
            return vector_effect(before, self.measured[rows], noise)

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


def _signal(modality: Modality, spreads: Mapping[str, Floats]) -> Signal:
    if modality.name not in spreads:
        raise ValueError(f"no spread is given for the vector modality {modality.name!r}")
    spread = np.asarray(spreads[modality.name], np.float64)
    noise_sd = np.asarray(modality.noise_sd or np.zeros_like(spread), np.float64)
    return Signal(rate_hz=modality.rate_hz, spread=spread, noise_sd=noise_sd, names=modality.names)


def _changes(running: _Running) -> Iterator[Change]:
    for transition in Transition:
        yield Change(injection=running.injection, transition=transition, effect=running.effect)
