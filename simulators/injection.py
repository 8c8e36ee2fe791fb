"""Faults applied to a stream while it is replayed.

Every frame, clean or faulty, is decoded, perhaps changed, and encoded again, so that nobody can
tell a fault by its second JPEG compression. Vectors pass as they are until a fault hits them. What
happens to messages on their way comes last.
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np

from simulators.faults.effect import image_effect, signal_noise, stream_effect
from simulators.faults.parts import Part, Signal
from simulators.faults.registry import (
    Fault,
    FaultError,
    ImageInjector,
    Injector,
    Origin,
    Outgoing,
    StreamInjector,
    VectorInjector,
    lookup,
    start,
)
from simulators.measured import Measured
from simulators.recordings.recording import Modality
from simulators.truth import NS, Change, Injection, Transition
from stream.images import DEFAULT_MAX_PIXELS, decode, encode_jpeg
from stream.messages import Floats, Frame, Kind, Malformed, Reading, Samples

# How long readings that come after later ones may still belong to an injection that is over.
REMEMBER_NS = 10 * NS
# Frames of before an onset that faults with a memory may want to see; no fault wants older ones.
RECENT_NS = 3 * NS


@dataclass(slots=True, kw_only=True)
class _Running:
    injection: Injection
    injector: Injector
    part: Part | None
    memory_ns: int  # of frames before the onset; 0 once they were shown
    told: set[Transition] = field(default_factory=set)
    effect: float | None = None

    @property
    def on_its_way(self) -> bool:
        """Whether it acts on messages rather than on what they say."""
        return self.injection.origin is Origin.TRANSPORT

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
        self._recent: defaultdict[str, deque[Frame]] = defaultdict(deque)

    def add(self, injection: Injection) -> None:
        """Begin to apply an injection, now or when its time comes.

        Raises FaultError for a modality that is not there, UnknownFault for a fault.
        """
        modality = self._modalities.get(injection.modality)
        if modality is None:
            known = ", ".join(self._modalities)
            raise FaultError(f"no modality is named {injection.modality!r}; there are: {known}")
        entry = lookup(modality.kind, injection.fault)
        signal = self._signals.get(injection.modality)
        running = _Running(
            injection=injection,
            injector=start(entry.kind, entry.name, injection.severity, injection.seed, signal),
            part=_part(entry, injection.seed, signal),
            memory_ns=round(entry.memory_s * NS),
        )
        self._running.append(running)
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

    def send(self, outgoing: Outgoing) -> list[Outgoing]:
        """What is sent instead of a reading that ``apply`` gave, each not before its time."""
        time_ns = outgoing.reading.time_ns
        sent = [outgoing]
        for running in self._running:
            hit = running.injection.modality == outgoing.reading.modality
            if not (hit and running.on_its_way and running.injection.hits(time_ns)):
                continue
            rate_hz = self._modalities[running.injection.modality].rate_hz
            injector = cast(StreamInjector, running.injector)
            seconds = (time_ns - running.injection.onset_ns) / NS
            instead = [(one, injector(one, seconds)) for one in sent]
            for one, others in instead:
                running.felt(stream_effect(one, others, rate_hz))
            sent = [other for _, others in instead for other in others]
        return sent

    def _frame(self, frame: Frame) -> Frame:
        try:
            pixels = decode(frame.data, self._max_pixels)
        except Malformed:
            self.passed[frame.modality] += 1
            return frame
        modality = self._modalities.get(frame.modality)
        for running in self._of(frame.modality):
            if running.injection.hits(frame.time_ns):
                self._remind(running)
                injector = cast(ImageInjector, running.injector)
                changed = injector(pixels, (frame.time_ns - running.injection.onset_ns) / NS)
                running.felt(image_effect(pixels, changed, modality.noise_sd if modality else ()))
                pixels = changed
        self._remember(frame)
        return Frame(
            modality=frame.modality,
            time_ns=frame.time_ns,
            data=encode_jpeg(pixels, self._jpeg_quality),
            format="jpeg",
        )

    def _remember(self, frame: Frame) -> None:
        recent = self._recent[frame.modality]
        recent.append(frame)
        while frame.time_ns - recent[0].time_ns > RECENT_NS:
            recent.popleft()

    def _remind(self, running: _Running) -> None:
        """Show a fault with a memory, once, what came before its onset."""
        injection, injector = running.injection, cast(ImageInjector, running.injector)
        for frame in self._recent[injection.modality] if running.memory_ns else ():
            if injection.onset_ns - running.memory_ns <= frame.time_ns < injection.onset_ns:
                pixels = decode(frame.data, self._max_pixels)
                injector(pixels, (frame.time_ns - injection.onset_ns) / NS)
        running.memory_ns = 0

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
        measured = Measured.of(samples, clean, np.asarray(quantum, np.float64))
        for running in hitting:
            injector = cast(VectorInjector, running.injector)
            running.felt(measured.hit(running.injection, injector, signal_noise(signal)))
        return Samples(
            modality=samples.modality,
            times_ns=samples.times_ns,
            values=measured.values,
            names=samples.names,
            units=samples.units,
        )

    def _of(self, modality: str) -> list[_Running]:
        return [
            running
            for running in self._running
            if running.injection.modality == modality and not running.on_its_way
        ]


def _part(entry: Fault, seed: int, signal: Signal | None) -> Part | None:
    if signal is None or entry.kind is not Kind.VECTOR:
        return None
    return entry.struck(seed, signal).part


def _signal(modality: Modality, spreads: Mapping[str, Floats]) -> Signal:
    if modality.name not in spreads:
        raise ValueError(f"no spread is given for the vector modality {modality.name!r}")
    spread = np.asarray(spreads[modality.name], np.float64)
    noise_sd = np.asarray(modality.noise_sd or np.zeros_like(spread), np.float64)
    return Signal(rate_hz=modality.rate_hz, spread=spread, noise_sd=noise_sd, names=modality.names)


def _changes(running: _Running) -> Iterator[Change]:
    for transition in Transition:
        yield Change(
            injection=running.injection,
            transition=transition,
            effect=running.effect,
            part=running.part,
        )
