"""Episodes twice: as they were, and with faults of the catalogue injected one after another."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.config import ModelConfig
from model.evaluation import CLEAN
from model.windows import Pairs
from simulators.datasets import Dataset, Progress, records_of
from simulators.faults.effect import image_effect, signal_noise
from simulators.faults.parts import Signal
from simulators.faults.registry import fault_names, lookup
from simulators.recordings.recording import Episode, Record, Recording, RecordingError
from simulators.scenario import Planned
from simulators.truth import Injection, place
from simulators.windowing import Stretch, joined, select, stretch_of, windows_of
from stream.config import StationSettings
from stream.messages import Kind, Window

LEFT_OUT = -2
FAULTY_SHARE = 0.25  # of a window's samples that must be hit to make it faulty
FAULT_S = 1.0
GAP_S = 2.0  # an alarm that clears after a second has cleared before the next fault
FIRST_S = 2.0  # clean windows for the session's baseline before the first fault
LEAST_EFFECT = 1.0  # sensor noises, below which a draw of protocol A is drawn again
REDRAWS = 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Injected:
    """One episode's windows with faults, beside the clean ones, N each.

    ``label`` (N,): which modality is at fault, among the sorted names, -1 for none, `LEFT_OUT` for
    windows that are hit by too little; ``planned[injection[k]]`` hits window k; ``effect`` (N,) is
    what it changed in that window, in standard deviations of the sensor's noise.
    """

    clean: Stretch
    faulty: Stretch
    windows: Sequence[Window]
    planned: Sequence[Injection]
    label: np.ndarray
    injection: np.ndarray
    effect: np.ndarray

    def hit(self, at: int) -> Injection | None:
        """What hits window ``at``."""
        return self.planned[self.injection[at]] if self.injection[at] >= 0 else None

    def pairs(self) -> Pairs:
        """The windows that are clearly faulty or clearly clean."""
        kept = np.flatnonzero(self.label != LEFT_OUT)
        hit = [self.hit(int(at)) for at in kept]
        return Pairs(
            clean=select(self.clean.windows, kept),
            faulty=select(self.faulty.windows, kept),
            faulty_modality=self.label[kept],
            fault=tuple(f"{one.modality}.{one.fault}" if one else "" for one in hit),
            severity=np.array([one.severity if one else 0.0 for one in hit]),
            effect=self.effect[kept],
        )


def faulty_pairs(
    dataset: Dataset,
    protocol: str,
    seed: int,
    progress: Progress,
    episodes: Sequence[int] | None = None,
    without: frozenset[str] = frozenset(),
) -> Pairs:
    """Windows with and without faults of the catalogue, one modality at a time.

    ``protocol`` A draws severities over the authors' ranges, and again where a vector fault leaves
    no trace (a joint stuck at rest); B draws them from U(0.02, 1), once. Windows of which
    less than a quarter of the samples is hit are left out, and those that see two modalities hit.
    Faults named in ``without`` are never drawn.
    """
    chosen = [one for one in dataset.episodes if episodes is None or one[0] in episodes]
    parts = []
    for done, (number, recording, episode) in enumerate(chosen):
        progress(f"protocol {protocol}", done, len(chosen))
        injected = inject(dataset, recording, episode, number, protocol, seed, without)
        if injected is not None:
            parts.append(injected.pairs())
    progress(f"protocol {protocol}", len(chosen), len(chosen))
    if not parts:
        raise RecordingError("no episode is long enough to inject a fault")
    return Pairs(
        clean=joined([part.clean for part in parts]),
        faulty=joined([part.faulty for part in parts]),
        faulty_modality=np.concatenate([part.faulty_modality for part in parts]),
        fault=tuple(fault for part in parts for fault in part.fault),
        severity=np.concatenate([part.severity for part in parts]),
        effect=np.concatenate([part.effect for part in parts]),
    )


def inject(
    dataset: Dataset,
    recording: Recording,
    episode: Episode,
    number: int,
    protocol: str,
    seed: int,
    without: frozenset[str] = frozenset(),
) -> Injected | None:
    """Inject faults into episode ``number``; None where it is too short for any.

    Raises RecordingError where the faults changed which windows there are.
    """
    random = np.random.default_rng([seed, number, ord(protocol[0])])
    records = list(records_of(dataset, recording, episode))
    duration_s = (episode.end_ns - episode.start_ns) / 1e9
    drawn = draw_faults(dataset.model, duration_s, protocol, random, without)
    planned = [_placed(dataset, one, episode) for one in drawn]
    if protocol == "A":
        planned = [
            _leaving_a_trace(dataset, records, episode, one, random, without) for one in planned
        ]
    injections = dataset.injections()
    for one in planned:
        injections.add(one)
    clean = list(windows_of(records, dataset.settings, dataset.injections()))
    faulty = list(windows_of(records, dataset.settings, injections))
    if not planned or not clean:
        return None
    if len(clean) != len(faulty):
        raise RecordingError(
            f"{recording.path}#{episode.number}: {len(clean)} windows, {len(faulty)} with faults"
        )
    before = stretch_of(clean, dataset.model, number)
    after = stretch_of(faulty, dataset.model, number)
    truth = _truth(dataset, before.anchors_ns, planned)
    return Injected(
        clean=before,
        faulty=after,
        windows=faulty,
        planned=planned,
        label=truth.label,
        injection=truth.injection,
        effect=_effects(dataset, before, after, truth.label),
    )


def _effects(dataset: Dataset, before: Stretch, after: Stretch, label: np.ndarray) -> np.ndarray:
    """What was changed in each window (N,) of the modality at fault, in the sensor's noise."""
    effect = np.zeros(len(label))
    for number, name in enumerate(sorted(dataset.model.modalities)):
        modality = dataset.recordings[0].modalities[name]
        at = np.flatnonzero(label == number)
        if modality.kind is Kind.IMAGE:
            clean, faulty = before.windows.images[name], after.windows.images[name]
            noise = modality.noise_sd
            effect[at] = [image_effect(clean[one], faulty[one], noise) for one in at]
            continue
        signal = Signal(
            rate_hz=modality.rate_hz,
            spread=np.asarray(dataset.spreads[name], np.float64),
            noise_sd=np.asarray(modality.noise_sd or np.zeros(len(modality.names)), np.float64),
            names=modality.names,
        )
        change = np.abs(after.windows.vectors[name][at] - before.windows.vectors[name][at])
        finite = np.nan_to_num(change / signal_noise(signal), nan=0.0, posinf=0.0)
        effect[at] = finite.max((1, 2), initial=0.0)
    return effect


def draw_faults(
    model: ModelConfig,
    duration_s: float,
    protocol: str,
    rng: np.random.Generator,
    without: frozenset[str] = frozenset(),
) -> list[Planned]:
    """Faults of a second each with clean seconds between; modality, fault and severity drawn."""
    names = sorted(model.modalities)
    count = int((duration_s - FIRST_S) / (FAULT_S + GAP_S))
    drawn = []
    for at in range(count):
        modality = names[(at + int(rng.integers(len(names)))) % len(names)]
        kind = Kind(model.modalities[modality].kind)
        at_s = FIRST_S + at * (FAULT_S + GAP_S)
        drawn.append(_draw_fault(modality, kind, at_s, protocol, rng, without))
    return drawn


def _draw_fault(
    modality: str,
    kind: Kind,
    at_s: float,
    protocol: str,
    rng: np.random.Generator,
    without: frozenset[str],
) -> Planned:
    known = [one for one in fault_names(kind) if f"{kind}.{one}" not in without]
    fault = str(rng.choice(known))
    low, high = lookup(kind, fault).published_range if protocol == "A" else (0.02, 1.0)
    return Planned(
        at_s=at_s,
        modality=modality,
        fault=fault,
        severity=float(rng.uniform(low, high)),
        seconds=FAULT_S,
        seed=int(rng.integers(1 << 31)),
    )


def _placed(dataset: Dataset, planned: Planned, episode: Episode) -> Injection:
    kind = dataset.settings.modalities[planned.modality].kind
    return place(planned, episode.start_ns, kind)


def _leaving_a_trace(
    dataset: Dataset,
    records: Sequence[Record],
    episode: Episode,
    one: Injection,
    rng: np.random.Generator,
    without: frozenset[str],
) -> Injection:
    """Return the injection, or what is drawn in its place until it changes what is measured.

    Pictures are taken as drawn: hardly any fault leaves them as they were.
    """
    kind = dataset.settings.modalities[one.modality].kind
    at_s = (one.onset_ns - episode.start_ns) / 1e9
    for _ in range(REDRAWS):
        if kind is Kind.IMAGE or _vector_effect(dataset, records, one) >= LEAST_EFFECT:
            break
        drawn = _draw_fault(one.modality, kind, at_s, "A", rng, without)
        one = _placed(dataset, drawn, episode)
    return one


def _vector_effect(dataset: Dataset, records: Sequence[Record], one: Injection) -> float:
    injections = dataset.injections()
    injections.add(one)
    for record in records:
        if record.reading.modality == one.modality and one.hits(record.reading.time_ns):
            injections.apply(record.reading, record.clean)
    return max((change.effect or 0.0 for change in injections.due(one.end_ns)), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Truth:
    """For each window its class and which injection it is hit by (-1 none), both (N,)."""

    label: np.ndarray
    injection: np.ndarray


def _truth(dataset: Dataset, anchors_ns: np.ndarray, planned: Sequence[Injection]) -> _Truth:
    names = sorted(dataset.model.modalities)
    by_injection = np.stack([_hit_share(dataset.settings, anchors_ns, one) for one in planned])
    owner = np.array([names.index(one.modality) for one in planned])
    by_modality = np.stack([by_injection[owner == at].sum(0) for at in range(len(names))])
    label = by_modality.argmax(0)
    clear = ((by_modality > 0).sum(0) == 1) & (by_modality.max(0) >= FAULTY_SHARE)
    label[~clear] = LEFT_OUT  # hit by too little, or, in a long window, by two faults
    untouched = by_modality.max(0) == 0
    label[untouched] = CLEAN
    return _Truth(label=label, injection=np.where(untouched, -1, by_injection.argmax(0)))


def _hit_share(settings: StationSettings, anchors_ns: np.ndarray, one: Injection) -> np.ndarray:
    """Share of each window's samples of the faulty modality that the injection hits."""
    modality = settings.modalities[one.modality]
    if modality.kind is Kind.IMAGE:
        period_ns = 1e9 / modality.rate_hz
        now = (anchors_ns >= one.onset_ns) & (anchors_ns < one.end_ns)
        # the frame after the last faulty one still has it as its previous frame
        after = (anchors_ns >= one.end_ns) & (anchors_ns < one.end_ns + 1.5 * period_ns)
        return np.where(now, 1.0, np.where(after, 0.01, 0.0))
    grid = -np.arange(modality.samples) * round(1e9 / modality.rate_hz)
    times = anchors_ns[:, None] + grid[None, :]
    return np.asarray(((times >= one.onset_ns) & (times < one.end_ns)).mean(1))
