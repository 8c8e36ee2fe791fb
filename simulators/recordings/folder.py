"""A folder as a recording: ``<modality>.csv`` and ``<modality>/<t_ns>.jpg|png``."""

import heapq
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import numpy as np

from simulators.recordings.episodes import EVERY_EPISODE, EpisodeChoice
from simulators.recordings.mapping import NO_MAP, RecordingMap
from simulators.recordings.patterns import IMAGE_SUFFIXES
from simulators.recordings.pictures import shrunk_size
from simulators.recordings.recording import Episode, Modality, Record, RecordingError
from simulators.recordings.stills import still_frame, still_size_px
from simulators.recordings.table import T_NS, Table, modality_of, read_table, table_records
from simulators.recordings.timeline import measured_rate_hz
from stream.messages import Kind, TimesNs

FASTEST_HZ = 1e6  # of pictures whose names can be nanoseconds
NUMBERED = "a map with files reads numbered pictures"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Images:
    """The image files of one modality in the order of time; ``times_ns`` without offset."""

    files: tuple[Path, ...]
    times_ns: TimesNs


class FolderRecording:
    """A folder opened for reading, one episode numbered 0. CSVs are checked at once.

    Raises RecordingError, for an undecodable image when it is reached. Frames come with their
    pixels, since looking whether they can be decoded has cost that already.
    """

    format = "folder of CSV and images"

    def __init__(
        self,
        path: Path,
        recording_map: RecordingMap = NO_MAP,
        choice: EpisodeChoice = EVERY_EPISODE,
    ) -> None:
        self.path = path
        csv_files = {file.stem: file for file in _visible(path) if file.suffix.lower() == ".csv"}
        folders = {one.name: images for one in _visible(path) if (images := _images(one))}
        both = sorted(csv_files.keys() & folders.keys())
        if both:
            raise RecordingError(f"{path}: {both[0]}.csv and {both[0]}/ are the same modality")
        if not csv_files and not folders:
            raise RecordingError(
                f"{path}: holds no <modality>.csv and no <modality>/<t_ns>.jpg|png; {NUMBERED}"
            )
        self._map = recording_map
        self._names = recording_map.names(sorted(csv_files.keys() | folders.keys()), path)
        self._tables = {key: self._table(key, file) for key, file in sorted(csv_files.items())}
        self._images = dict(sorted(folders.items()))
        self.modalities: Mapping[str, Modality] = dict(map(self._describe, self._names))
        self.metadata: Mapping[str, str] = (
            {"note": recording_map.note} if recording_map.note else {}
        )
        self.episodes: tuple[Episode, ...] = choice.pick([self._episode()], path)

    def records(self, only: Kind | None = None) -> Iterator[Record]:
        """Yield rows and images in the order of time."""
        if not self.episodes:
            return
        streams = [
            *(
                table_records(table, self._names[key], self._times(key), 0)
                for key, table in self._tables.items()
                if only is not Kind.IMAGE
            ),
            *(self._image_records(key) for key in self._images if only is not Kind.VECTOR),
        ]
        yield from heapq.merge(*streams, key=attrgetter("log_time_ns"))

    def capture_times(self, episode: Episode) -> Mapping[str, TimesNs]:
        """Capture times of each modality, from the rows and the file names."""
        return {name: self._times(key) for key, name in self._names.items()}

    def _table(self, key: str, file: Path) -> Table:
        table = read_table(file, self._map.of(key))
        if table.times_ns is None:
            raise RecordingError(
                f"{file}: row 1: the first column is {_first_column(file)!r}, not {T_NS!r}; "
                f"rename it or name a time_column in a map"
            )
        return table

    def _times(self, key: str) -> TimesNs:
        table = self._tables.get(key)
        times = self._images[key].times_ns if table is None else table.times_ns
        assert times is not None  # _table refuses a table without times
        return times + self._map.of(key).offset_ns

    def _describe(self, key: str) -> tuple[str, Modality]:
        name, chosen = self._names[key], self._map.of(key)
        rate_hz = chosen.rate_hz or _rate_hz(self._times(key), self.path / key)
        if key in self._tables:
            return name, modality_of(self._tables[key], name, rate_hz)
        first = self._images[key].files[0]
        with_size = shrunk_size(still_size_px(first), chosen.max_size_px)
        return name, Modality(name=name, kind=Kind.IMAGE, rate_hz=rate_hz, size_px=with_size)

    def _episode(self) -> Episode:
        times = [self._times(key) for key in self._names]
        start_ns = min(int(one[0]) for one in times)
        if start_ns < 0:
            raise RecordingError(f"{self.path}: an offset_ms puts the start before 1970")
        return Episode(number=0, start_ns=start_ns, end_ns=max(int(one[-1]) for one in times))

    def _image_records(self, key: str) -> Iterator[Record]:
        name, chosen = self._names[key], self._map.of(key)
        for file, time_ns in zip(self._images[key].files, self._times(key).tolist(), strict=True):
            frame = still_frame(file, name, time_ns, chosen.max_size_px)
            yield Record(log_time_ns=time_ns, episode=0, reading=frame)


def _visible(path: Path) -> list[Path]:
    try:
        return [one for one in path.iterdir() if not one.name.startswith(".")]
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None


def _images(folder: Path) -> _Images | None:
    """The images of a folder; None where it is none or holds none."""
    if not folder.is_dir():
        return None
    files = [file for file in _visible(folder) if file.suffix.lower() in IMAGE_SUFFIXES]
    timed = sorted((_time_ns(file), file) for file in files)
    if not timed:
        return None
    times_ns = np.array([time_ns for time_ns, _ in timed], np.int64)
    if (measured_rate_hz(times_ns) or 0) > FASTEST_HZ:
        raise RecordingError(f"{folder}: its names are no times but numbers; {NUMBERED}")
    return _Images(files=tuple(file for _, file in timed), times_ns=times_ns)


def _time_ns(file: Path) -> int:
    if not (file.stem.isascii() and file.stem.isdigit() and int(file.stem) < 2**62):
        raise RecordingError(
            f"{file}: is not named by its capture time in ns since the epoch; {NUMBERED}"
        )
    return int(file.stem)


def _rate_hz(times_ns: TimesNs, file: Path) -> float:
    rate_hz = measured_rate_hz(times_ns)
    if rate_hz is None:
        raise RecordingError(f"{file}: one time only, no rate to be seen: give rate_hz in a map")
    return rate_hz


def _first_column(file: Path) -> str:
    with file.open(encoding="utf-8-sig") as text:
        return re.split(r"[,;\t]", text.readline().strip())[0]
