"""A checkpoint, and others beside it, judged on recordings that none of them saw.

Each runs in the engine that the worker runs, window after window, with the session that builds up
on the way. Thresholds are the checkpoint's own, frozen when it was calibrated.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.checkpoint import load, read_card
from model.windows import Batch
from simulators.datasets import Dataset, Progress, open_dataset, records_of
from simulators.injected import Injected, inject
from simulators.judging import Gathered, System, judge_clean, judge_faulty
from simulators.recordings.recording import Episode, RecordingError
from simulators.windowing import windows_of
from stream.checkpoints import mismatches
from stream.config import ConfigError, ModelSettings
from stream.engine import Engine
from stream.messages import Window

PROTOCOLS = ("A", "B")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """``gathered[system][protocol]``, the protocols being "clean", "A" and "B".

    ``clean[system][file name]`` is of further recordings, into which nothing is injected;
    ``samples`` are the first episodes with faults, to be looked at.
    """

    systems: Sequence[System]
    dataset: Dataset
    gathered: Mapping[str, Mapping[str, Gathered]]
    clean: Mapping[str, Mapping[str, Gathered]]
    samples: Mapping[str, Injected]

    def one_window(self) -> Batch:
        """A window of the test set, as the model takes it."""
        sample = next(iter(self.samples.values()))
        return sample.clean.windows.take(np.array([len(sample.label) // 2]))


def evaluate_systems(
    paths: Sequence[Path],
    data: Sequence[str],
    seed: int,
    map_path: Path | None,
    progress: Progress,
    clean: Sequence[str] = (),
) -> Evaluated:
    """Judge the episodes of recordings, clean and by protocols A and B, and ``clean`` ones as is.

    Raises RecordingError, ConfigError or CheckpointError for what cannot be judged.
    """
    card = read_card(paths[0].with_suffix(".json"))
    spreads = {name: np.array(values) for name, values in card.spreads.items()}
    dataset = open_dataset(data, lambda _: card.model, spreads=spreads, map_path=map_path)
    systems = open_systems(paths, dataset)
    further = open_clean(clean, dataset, systems)
    protocols = ("clean", *PROTOCOLS)
    gathered = {key: _nothing_yet(systems, dataset) for key in protocols}
    samples = _judge_episodes(dataset, systems, seed, gathered, progress)
    heard = {name: _judge_clean(name, one, systems, progress) for name, one in further.items()}
    return Evaluated(
        systems=systems,
        dataset=dataset,
        gathered={one.name: {key: gathered[key][one.name] for key in protocols} for one in systems},
        clean={one.name: {name: heard[name][one.name] for name in heard} for one in systems},
        samples=samples,
    )


def open_systems(paths: Sequence[Path], dataset: Dataset) -> list[System]:
    """Load checkpoints of the same modalities; raises RecordingError where they differ."""
    _check_names([path.stem for path in paths], "checkpoints")
    systems = []
    for path in paths:
        card = read_card(path.with_suffix(".json"))
        if set(card.model.modalities) != set(dataset.model.modalities):
            raise RecordingError(f"{path}: has other modalities than {paths[0]}")
        engine, loaded = None, None
        if card.calibration is not None:
            station = dataset.settings.model_copy(update={"model": str(path)})
            engine = Engine([station], ModelSettings())
            loaded = engine.loaded(station.id)
        systems.append(System(name=path.stem, loaded=loaded or load(path), engine=engine))
    return systems


def open_clean(
    specs: Sequence[str], dataset: Dataset, systems: Sequence[System]
) -> dict[str, Dataset]:
    """Open recordings that nothing is injected into, by file name.

    Raises RecordingError where two share a name, and ConfigError where a system cannot judge one.
    """
    names = [Path(spec).name for spec in specs]
    _check_names(names, "clean recordings")
    opened = {}
    for name, spec in zip(names, specs, strict=True):
        found = open_dataset([spec], lambda _: dataset.model, dataset.spreads, dataset.map_path)
        cards = [system.loaded.card for system in systems if system.engine is not None]
        problems = [problem for card in cards for problem in mismatches(found.settings, card)]
        if problems:
            raise ConfigError(f"{spec}: the checkpoint does not fit the recording", problems)
        opened[name] = found
    return opened


def _check_names(names: Sequence[str], what: str) -> None:
    """Figures are told by name: of two of one name the first would be lost."""
    for name in names:
        if names.count(name) > 1:
            raise RecordingError(f"{name}: {names.count(name)} {what} of this name, rename one")


def _nothing_yet(systems: Sequence[System], dataset: Dataset) -> dict[str, Gathered]:
    return {system.name: Gathered(names=dataset.model.names) for system in systems}


def _judge_episodes(
    dataset: Dataset,
    systems: Sequence[System],
    seed: int,
    gathered: Mapping[str, Mapping[str, Gathered]],
    progress: Progress,
) -> dict[str, Injected]:
    """Judge every episode by every protocol; return the first one of each with faults."""
    samples: dict[str, Injected] = {}
    episodes = dataset.episodes
    for done, (number, recording, episode) in enumerate(episodes):
        progress("episodes", done, len(episodes))
        records = records_of(dataset, recording, episode)
        windows = windows_of(records, dataset.settings, dataset.injections())
        judge_clean(systems, windows, number, gathered["clean"])
        for protocol in PROTOCOLS:
            injected = inject(dataset, recording, episode, number, protocol, seed)
            if injected is None:
                continue
            samples.setdefault(protocol, injected)
            for system in systems:
                judge_faulty(system, injected, number, gathered[protocol][system.name])
    progress("episodes", len(episodes), len(episodes))
    if not samples:
        raise RecordingError("no episode is long enough to inject a fault")
    return samples


def _judge_clean(
    name: str, dataset: Dataset, systems: Sequence[System], progress: Progress
) -> dict[str, Gathered]:
    """What each system says of a recording without faults; progress is in recorded seconds."""
    found = _nothing_yet(systems, dataset)
    total_s = sum(_seconds(episode) for _, _, episode in dataset.episodes)
    before_s = 0.0

    def tell(done_s: float) -> None:
        progress(f"clean {name}", round(done_s), round(total_s))

    for number, recording, episode in dataset.episodes:
        records = records_of(dataset, recording, episode)
        windows = windows_of(records, dataset.settings, dataset.injections())
        counted_ns = episode.start_ns - round(before_s * 1e9)
        judge_clean(systems, _telling(windows, counted_ns, tell), number, found)
        before_s += _seconds(episode)
    tell(total_s)
    if any(system.engine and not found[system.name].scores for system in systems):
        raise RecordingError(f"{name}: no window in this recording")
    return found


def _telling(
    windows: Iterable[Window], since_ns: int, tell: Callable[[float], None]
) -> Iterator[Window]:
    for window in windows:
        tell((window.anchor_ns - since_ns) / 1e9)
        yield window


def _seconds(episode: Episode) -> float:
    return (episode.end_ns - episode.start_ns) / 1e9
