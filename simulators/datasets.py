"""Recordings as what a model is trained and tested on: clean windows, and pairs with faults."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.config import ModalityConfig, ModelConfig
from model.windows import Windows
from simulators.faults.effect import measure_spread
from simulators.injection import Injections
from simulators.recordings.open import open_recording, tell_lacking
from simulators.recordings.recording import Episode, Record, Recording, RecordingError
from simulators.window_files import WindowFiles, origin_of
from simulators.windowing import joined, settings_for, stretch_of, windows_of
from stream.config import StationSettings
from stream.messages import Floats, Kind

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


def clean_windows(dataset: Dataset, progress: Progress, keep: Path | None = None) -> Windows:
    """Every window of every episode, nothing injected.

    With ``keep`` they go to files in that directory, and stay there: the next call finds them.
    """
    if keep is None:
        return joined(list(_by_episode(dataset, progress)))
    origin = origin_of(dataset.recordings, dataset.map_path, dataset.settings.model_dump_json())
    files = WindowFiles(keep, origin)
    windows = files.recalled()
    if windows is None:
        files.begin()
        parts = [files.keep(part) for part in _by_episode(dataset, progress)]
        windows = joined(parts, files.frames())
        files.finish(windows)
    return windows


def _by_episode(dataset: Dataset, progress: Progress) -> Iterator[Windows]:
    """The windows of each episode that has any. Raises RecordingError where none has."""
    episodes, found = dataset.episodes, False
    for number, recording, episode in episodes:
        progress("windows", number, len(episodes))
        records = records_of(dataset, recording, episode)
        windows = list(windows_of(records, dataset.settings, dataset.injections()))
        if windows:
            found = True
            yield stretch_of(windows, dataset.model, number).windows
    progress("windows", len(episodes), len(episodes))
    if not found:
        raise RecordingError("no window in any of these recordings")


def records_of(dataset: Dataset, recording: Recording, episode: Episode) -> Iterator[Record]:
    """Every record of one episode."""
    return open_recording(f"{recording.path}#{episode.number}", dataset.map_path).records()
