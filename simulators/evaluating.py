"""A checkpoint, and others beside it, judged on recordings that none of them saw.

Each runs in the engine that the worker runs, window after window, with the session that builds up
on the way. Thresholds are the checkpoint's own, frozen when it was calibrated.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from model.alarm_figures import Injected as InjectedFault
from model.alarm_figures import Observed, Raised
from model.checkpoint import Loaded, load, read_card
from model.correction_errors import PairErrors, pair_errors
from model.evaluation import CLEAN, Floats
from model.judged import Judged
from model.windows import Batch, Index
from simulators.datasets import Dataset, Progress, open_dataset, records_of
from simulators.injected import LEFT_OUT, Injected, inject
from simulators.raised import raised_alarms
from simulators.recordings.recording import RecordingError
from simulators.windowing import windows_of
from stream.alarms import AlarmRule
from stream.config import ModelSettings
from stream.engine import Engine
from stream.messages import Window

PROTOCOLS = ("A", "B")
AT_ONCE = 16  # windows a call of the engine


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class System:
    """One checkpoint; no ``engine`` where it corrects and detects nothing."""

    name: str
    loaded: Loaded
    engine: Engine | None


@dataclass(slots=True, kw_only=True, eq=False)
class Gathered:
    """What one system said of all episodes, under one protocol or of clean windows."""

    names: tuple[str, ...]
    scores: list[Mapping[str, Floats]] = field(default_factory=list)
    truth: list[Index] = field(default_factory=list)
    episode: list[Index] = field(default_factory=list)
    fault: list[str] = field(default_factory=list)
    severity: list[Floats] = field(default_factory=list)
    effect: list[Floats] = field(default_factory=list)
    errors: list[PairErrors] = field(default_factory=list)
    raised: list[Raised] = field(default_factory=list)
    injected: list[InjectedFault] = field(default_factory=list)
    observed: list[Observed] = field(default_factory=list)
    left_out: int = 0

    def judged(self) -> Judged:
        """All windows together."""
        return Judged(
            scores={
                name: np.concatenate([scores[name] for scores in self.scores])
                for name in self.names
            },
            truth=np.concatenate(self.truth),
            episode=np.concatenate(self.episode),
            fault=tuple(self.fault),
            severity=np.concatenate(self.severity),
            effect=np.concatenate(self.effect),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """``gathered[system][protocol]``, the protocols being "clean", "A" and "B".

    ``samples`` are the first episodes with faults, to be looked at.
    """

    systems: Sequence[System]
    dataset: Dataset
    gathered: Mapping[str, Mapping[str, Gathered]]
    samples: Mapping[str, Injected]

    def one_window(self) -> Batch:
        """A window of the test set, as the model takes it."""
        sample = next(iter(self.samples.values()))
        return sample.clean.windows.take(np.array([len(sample.label) // 2]))


def open_systems(paths: Sequence[Path], dataset: Dataset) -> list[System]:
    """Load checkpoints of the same modalities; raises RecordingError where they differ."""
    systems = []
    for path in paths:
        loaded = load(path)
        if set(loaded.card.model.modalities) != set(dataset.model.modalities):
            raise RecordingError(f"{path}: has other modalities than {paths[0]}")
        engine = None
        if loaded.card.calibration is not None:
            station = dataset.settings.model_copy(update={"model": str(path)})
            engine = Engine([station], ModelSettings())
        systems.append(System(name=path.stem, loaded=loaded, engine=engine))
    return systems


def evaluate_systems(
    paths: Sequence[Path], data: Sequence[str], seed: int, map_path: Path | None, progress: Progress
) -> Evaluated:
    """Judge the episodes of recordings, clean and by protocols A and B."""
    card = read_card(paths[0].with_suffix(".json"))
    spreads = {name: np.array(values) for name, values in card.spreads.items()}
    dataset = open_dataset(data, lambda _: card.model, spreads=spreads, map_path=map_path)
    systems = open_systems(paths, dataset)
    names = card.model.names
    gathered = {
        system.name: {key: Gathered(names=names) for key in ("clean", *PROTOCOLS)}
        for system in systems
    }
    samples: dict[str, Injected] = {}
    episodes = dataset.episodes
    for done, (number, recording, episode) in enumerate(episodes):
        progress("episodes", done, len(episodes))
        records = records_of(dataset, recording, episode)
        windows = list(windows_of(records, dataset.settings, dataset.injections()))
        for system in systems:
            _judge_clean(system, windows, number, gathered[system.name]["clean"])
        for protocol in PROTOCOLS:
            injected = inject(dataset, recording, episode, number, protocol, seed)
            if injected is None:
                continue
            samples.setdefault(protocol, injected)
            for system in systems:
                _judge_faulty(system, injected, number, gathered[system.name][protocol])
    progress("episodes", len(episodes), len(episodes))
    if not samples:
        raise RecordingError("no episode is long enough to inject a fault")
    return Evaluated(systems=systems, dataset=dataset, gathered=gathered, samples=samples)


def _judge_clean(system: System, windows: Sequence[Window], number: int, into: Gathered) -> None:
    if system.engine is None or not windows:
        return
    scores = _scores(system.engine, windows)
    into.scores.append(scores)
    into.truth.append(np.full(len(windows), CLEAN))
    into.episode.append(np.full(len(windows), number))
    into.fault.extend([""] * len(windows))
    into.severity.append(np.zeros(len(windows)))
    into.effect.append(np.zeros(len(windows)))
    _watch_alarms(into, scores, windows, number)


def _judge_faulty(system: System, injected: Injected, number: int, into: Gathered) -> None:
    kept = np.flatnonzero(injected.label != LEFT_OUT)
    hit = [injected.hit(int(at)) for at in kept]
    into.left_out += len(injected.label) - len(kept)
    into.errors.append(pair_errors(system.loaded.fusion, injected.pairs()))
    if system.engine is None:
        return
    scores = _scores(system.engine, injected.windows)
    into.scores.append({name: values[kept] for name, values in scores.items()})
    into.truth.append(injected.label[kept])
    into.episode.append(np.full(len(kept), number))
    into.fault.extend(f"{one.modality}.{one.fault}" if one else "" for one in hit)
    into.severity.append(np.array([one.severity if one else 0.0 for one in hit]))
    into.effect.append(injected.effect[kept])
    _watch_alarms(into, scores, injected.windows, number)
    into.injected.extend(_faults(injected, number))


def _scores(engine: Engine, windows: Sequence[Window]) -> dict[str, Floats]:
    """What the engine says of windows (N,), as a session of its own."""
    engine.forget(windows[0].station)
    verdicts = [verdict for part in _parts(windows) for verdict in engine.infer(part)]
    names = verdicts[0].scores
    return {name: np.array([verdict.scores[name] for verdict in verdicts]) for name in names}


def _parts(windows: Sequence[Window]) -> Iterator[Sequence[Window]]:
    for at in range(0, len(windows), AT_ONCE):
        yield windows[at : at + AT_ONCE]


def _watch_alarms(
    into: Gathered,
    scores: Mapping[str, Floats],
    windows: Sequence[Window],
    number: int,
) -> None:
    """What the worker would have raised, with its default delays."""
    anchors_ns = [window.anchor_ns for window in windows]
    rules = {name: AlarmRule() for name in scores}
    into.raised.extend(raised_alarms(number, anchors_ns, scores, rules))
    begin_s, end_s = anchors_ns[0] / 1e9, anchors_ns[-1] / 1e9
    into.observed.append(Observed(episode=number, start_s=begin_s, end_s=end_s))


def _faults(injected: Injected, number: int) -> Iterator[InjectedFault]:
    for place, one in enumerate(injected.planned):
        effect = injected.effect[injected.injection == place]
        yield InjectedFault(
            episode=number,
            modality=one.modality,
            fault=f"{one.modality}.{one.fault}",
            onset_s=one.onset_ns / 1e9,
            end_s=one.end_ns / 1e9,
            effect=float(effect.max(initial=0.0)),
        )
