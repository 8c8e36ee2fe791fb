"""Recordings as what a model is trained and tested on: clean windows, and pairs with faults."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.config import ModalityConfig, ModelConfig
from model.evaluation import CLEAN
from model.windows import Pairs, Windows
from simulators.faults.effect import measure_spread
from simulators.faults.registry import fault_names, lookup
from simulators.injection import Injections
from simulators.recordings.open import open_recording, tell_lacking
from simulators.recordings.recording import Episode, Record, Recording, RecordingError
from simulators.scenario import Planned
from simulators.truth import Injection, place
from simulators.windowing import joined, select, settings_for, stretch_of, windows_of
from stream.config import StationSettings
from stream.messages import Floats, Kind

LEFT_OUT = -2
FAULTY_SHARE = 0.25  # of a window's samples that must be hit to make it faulty
FAULT_S = 1.0
GAP_S = 1.0
FIRST_S = 2.0  # clean windows for the session's baseline before the first fault

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Recordings opened together; ``spreads`` are of all of them."""

    recordings: Sequence[Recording]
    model: ModelConfig
    settings: StationSettings
    spreads: Mapping[str, Floats]
    map_path: Path | None = None

    @property
    def episodes(self) -> list[tuple[int, Recording, Episode]]:
        """All episodes, numbered through."""
        pairs = [(recording, one) for recording in self.recordings for one in recording.episodes]
        return [(number, *pair) for number, pair in enumerate(pairs)]

    def injections(self) -> Injections:
        """Nothing injected yet; every reading takes the same path all the same."""
        return Injections(self.recordings[0].modalities, self.spreads)


def open_dataset(
    specs: Sequence[str],
    model_for: Callable[[Recording], ModelConfig],
    spreads: Mapping[str, Floats] | None = None,
    map_path: Path | None = None,
) -> Dataset:
    """Open recordings that share their modalities; raises RecordingError where they do not."""
    recordings = [open_recording(spec, map_path) for spec in specs]
    for recording in recordings:
        tell_lacking(recording)
    model = model_for(recordings[0])
    for recording in recordings:
        missing = set(model.modalities) - set(recording.modalities)
        if missing:
            known = ", ".join(recording.modalities)
            raise RecordingError(f"{recording.path}: no modality {missing.pop()!r} (has {known})")
    if spreads is None:
        spreads = measure_spread(
            record.reading for recording in recordings for record in recording.records(Kind.VECTOR)
        )
    settings = settings_for(model, recordings[0].modalities)
    return Dataset(
        recordings=recordings,
        model=model,
        settings=settings,
        spreads=spreads,
        map_path=map_path,
    )


def completed_modalities(
    wanted: Mapping[str, ModalityConfig], recording: Recording
) -> dict[str, ModalityConfig]:
    """The model's modalities, with channels, units and rate as the recording has them."""
    names = wanted or dict.fromkeys(recording.modalities)
    found = {}
    for name in names:
        if name not in recording.modalities:
            known = ", ".join(recording.modalities)
            raise RecordingError(f"{recording.path}: no modality {name!r} (has {known})")
        there = recording.modalities[name]
        given = wanted[name].model_dump(exclude_unset=True) if name in wanted else {}
        facts: dict[str, object] = {"kind": str(there.kind), "rate_hz": there.rate_hz}
        if there.kind is Kind.VECTOR:
            facts |= {"channels": len(there.names), "names": there.names, "units": there.units}
        found[name] = ModalityConfig.model_validate({**facts, **given})
    return found


def clean_windows(dataset: Dataset, progress: Progress) -> Windows:
    """Every window of every episode, nothing injected."""
    parts = []
    episodes = dataset.episodes
    for number, recording, episode in episodes:
        progress("windows", number, len(episodes))
        windows = list(
            windows_of(
                _records(dataset, recording, episode), dataset.settings, dataset.injections()
            )
        )
        if windows:
            parts.append(stretch_of(windows, dataset.model, number).windows)
    progress("windows", len(episodes), len(episodes))
    if not parts:
        raise RecordingError("no window in any of these recordings")
    return joined(parts)


def faulty_pairs(
    dataset: Dataset,
    protocol: str,
    seed: int,
    progress: Progress,
    episodes: Sequence[int] | None = None,
) -> Pairs:
    """Windows with and without faults of the catalogue, one modality at a time.

    ``protocol`` A draws severities over the authors' ranges, B from U(0.02, 1). Windows of which
    less than a quarter of the samples is hit are left out, and those that see two modalities hit.
    """
    chosen = [one for one in dataset.episodes if episodes is None or one[0] in episodes]
    parts = []
    for done, (number, recording, episode) in enumerate(chosen):
        progress(f"protocol {protocol}", done, len(chosen))
        rng = np.random.default_rng([seed, number, ord(protocol[0])])
        pairs = _episode_pairs(dataset, recording, episode, number, protocol, rng)
        if pairs is not None:
            parts.append(pairs)
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


def _episode_pairs(
    dataset: Dataset,
    recording: Recording,
    episode: Episode,
    number: int,
    protocol: str,
    rng: np.random.Generator,
) -> Pairs | None:
    records = list(_records(dataset, recording, episode))
    injections = dataset.injections()
    planned = [
        place(one, episode.start_ns, dataset.settings.modalities[one.modality].kind)
        for one in draw_faults(
            dataset.model, (episode.end_ns - episode.start_ns) / 1e9, protocol, rng
        )
    ]
    if not planned:
        return None
    for one in planned:
        injections.add(one)
    clean = list(windows_of(records, dataset.settings, dataset.injections()))
    faulty = list(windows_of(records, dataset.settings, injections))
    if not clean or len(clean) != len(faulty):
        return None
    before = stretch_of(clean, dataset.model, number)
    after = stretch_of(faulty, dataset.model, number)
    effects = {change.injection.id: change.effect or 0.0 for change in injections.due(1 << 62)}
    truth = _truth(dataset, before.anchors_ns, planned)
    kept = np.flatnonzero(truth.label != LEFT_OUT)
    hit = [planned[at] if at >= 0 else None for at in truth.injection[kept]]
    return Pairs(
        clean=select(before.windows, kept),
        faulty=select(after.windows, kept),
        faulty_modality=truth.label[kept],
        fault=tuple(f"{one.modality}.{one.fault}" if one else "" for one in hit),
        severity=np.array([one.severity if one else 0.0 for one in hit]),
        effect=np.array([effects.get(one.id, 0.0) if one else 0.0 for one in hit]),
    )


def draw_faults(
    model: ModelConfig, duration_s: float, protocol: str, rng: np.random.Generator
) -> list[Planned]:
    """Faults of a second each with a clean second between; modality, fault and severity drawn."""
    drawn = []
    names = sorted(model.modalities)
    count = int((duration_s - FIRST_S) / (FAULT_S + GAP_S))
    for at in range(count):
        modality = names[(at + int(rng.integers(len(names)))) % len(names)]
        kind = Kind(model.modalities[modality].kind)
        fault = str(rng.choice(fault_names(kind)))
        low, high = lookup(kind, fault).published_range if protocol == "A" else (0.02, 1.0)
        drawn.append(
            Planned(
                at_s=FIRST_S + at * (FAULT_S + GAP_S),
                modality=modality,
                fault=fault,
                severity=float(rng.uniform(low, high)),
                seconds=FAULT_S,
                seed=int(rng.integers(1 << 31)),
            )
        )
    return drawn


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


def _records(dataset: Dataset, recording: Recording, episode: Episode) -> Iterator[Record]:
    return open_recording(f"{recording.path}#{episode.number}", dataset.map_path).records()
