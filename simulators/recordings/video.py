"""Video files with a CSV beside each: the camera and the process of one weld."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

import numpy as np

from simulators.recordings.episodes import EVERY_EPISODE, EpisodeChoice
from simulators.recordings.mapping import NO_MAP, RecordingMap
from simulators.recordings.pictures import Video, jpeg_frame, pictures, probe, shrunk_size
from simulators.recordings.recording import Episode, Modality, Record, RecordingError
from simulators.recordings.table import Table, modality_of, read_table, table_records
from simulators.recordings.timeline import (
    ABSOLUTE_NS,
    EPISODE_GAP_NS,
    NS,
    START_NS,
    grid_ns,
    measured_rate_hz,
)
from stream.messages import Kind, TimesNs

VIDEO_SUFFIXES = frozenset({".avi", ".mp4", ".m4v", ".mkv", ".mov"})
CAMERA, SIGNALS = "camera", "signals"  # what a map calls the video and the CSV


class UnknownRate(RecordingError):
    """A CSV without times. ``spread_hz`` is the rate if its rows spanned just the video."""

    def __init__(self, file: Path, spread_hz: float) -> None:
        super().__init__(
            f"{file}: no time column: give modalities.{SIGNALS}.rate_hz or "
            f"modalities.{SIGNALS}.time_column in a map (--map)"
        )
        self.spread_hz = spread_hz


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Take:
    """One video, its CSV and their times relative to ``day_ns``, offsets included."""

    video: Video
    table: Table | None
    day_ns: int | None  # None where no clock names a day
    camera_ns: TimesNs
    signals_ns: TimesNs

    @property
    def bounds_ns(self) -> tuple[int, int]:
        """The first and the last relative time."""
        times = [one for one in (self.camera_ns, self.signals_ns) if len(one)]
        return min(int(one[0]) for one in times), max(int(one[-1]) for one in times)


class VideoRecording:
    """One video, or each video of a folder that has a CSV of its name as an episode, from 0.

    A CSV without a time column needs ``rate_hz`` in a map. Times below 1e9 s count from the
    video's start; later ones are since the epoch, and the video starts with the first row.
    Where no clock names a day, episodes lie one after another from 2000-01-01 on.
    """

    format = "video and CSV"

    def __init__(
        self,
        path: Path,
        recording_map: RecordingMap = NO_MAP,
        choice: EpisodeChoice = EVERY_EPISODE,
    ) -> None:
        self.path = path
        self._map = recording_map
        pairs = _pairs(path)
        stored = [CAMERA, SIGNALS] if any(table for _, table in pairs) else [CAMERA]
        self._names = recording_map.names(stored, path)
        self._takes = [self._take(video, table) for video, table in pairs]
        self._starts_ns = _starts_ns(self._takes)
        self.episodes: tuple[Episode, ...] = choice.pick(self._episodes(), path)
        self.modalities: Mapping[str, Modality] = self._describe()
        self.metadata: Mapping[str, str] = {"note": "; ".join(self._notes())}

    def records(self, only: Kind | None = None) -> Iterator[Record]:
        """Yield frames as JPEG and rows one by one in the order of time, decoding as it goes."""
        for episode in self.episodes:
            streams = [] if only is Kind.VECTOR else [self._frames(episode.number)]
            take, times = self._takes[episode.number], self.capture_times(episode)
            if take.table is not None and only is not Kind.IMAGE:
                name = self._names[SIGNALS]
                streams.append(table_records(take.table, name, times[name], episode.number))
            yield from heapq.merge(*streams, key=attrgetter("log_time_ns"))

    def capture_times(self, episode: Episode) -> Mapping[str, TimesNs]:
        """Capture times of each modality; frames as many as the container promises."""
        take, start_ns = self._takes[episode.number], self._starts_ns[episode.number]
        times = {self._names[CAMERA]: take.camera_ns + start_ns}
        if take.table is not None:
            times[self._names[SIGNALS]] = take.signals_ns + start_ns
        return times

    def _take(self, video_file: Path, csv_file: Path | None) -> _Take:
        camera, signals = self._map.of(CAMERA), self._map.of(SIGNALS)
        video = probe(video_file)
        rate_hz = camera.rate_hz or video.rate_hz
        if not 0 < rate_hz < 1e6:
            raise RecordingError(f"{video_file}: names no frame rate: give rate_hz in a map")
        table = None if csv_file is None else read_table(csv_file, signals)
        relative = (
            np.empty(0, np.int64)
            if table is None
            else (self._relative_ns(table, video.frames / rate_hz))
        )
        day_ns = int(relative[0]) if len(relative) and relative[0] >= ABSOLUTE_NS else None
        return _Take(
            video=video,
            table=table,
            day_ns=day_ns,
            camera_ns=grid_ns(np.arange(video.frames), rate_hz) + camera.offset_ns,
            signals_ns=relative - (day_ns or 0) + signals.offset_ns,
        )

    def _relative_ns(self, table: Table, video_s: float) -> TimesNs:
        if table.times_ns is not None:
            return table.times_ns
        rate_hz = self._map.of(SIGNALS).rate_hz
        if rate_hz is None:
            raise UnknownRate(table.path, len(table.values) / video_s)
        return grid_ns(np.arange(len(table.values)), rate_hz)

    def _episodes(self) -> list[Episode]:
        episodes = []
        for number, (take, start_ns) in enumerate(zip(self._takes, self._starts_ns, strict=True)):
            first, last = (start_ns + bound for bound in take.bounds_ns)
            episodes.append(Episode(number=number, start_ns=first, end_ns=last))
        episodes.sort(key=attrgetter("start_ns"))
        for before, after in pairwise(episodes):
            if after.start_ns <= before.end_ns:
                raise RecordingError(
                    f"{self.path}: {self._takes[after.number].video.path.name} begins before "
                    f"{self._takes[before.number].video.path.name} ends"
                )
        return episodes

    def _describe(self) -> dict[str, Modality]:
        name, camera = self._names[CAMERA], self._map.of(CAMERA)
        video = self._takes[self.episodes[0].number].video
        image = Modality(
            name=name,
            kind=Kind.IMAGE,
            rate_hz=camera.rate_hz or video.rate_hz,
            size_px=shrunk_size(video.size_px, camera.max_size_px),
        )
        if SIGNALS not in self._names:
            return {name: image}
        return {name: image, self._names[SIGNALS]: self._describe_signals()}

    def _describe_signals(self) -> Modality:
        take, *others = (take for take in self._takes if take.table is not None)
        assert take.table is not None  # the line above asked for it
        for other in others:
            if other.table is not None and other.table.names != take.table.names:
                raise RecordingError(
                    f"{other.table.path}: row 1: other columns than {take.table.path.name}"
                )
        rate_hz = self._map.of(SIGNALS).rate_hz or _signals_rate_hz(take)
        return modality_of(take.table, self._names[SIGNALS], rate_hz)

    def _frames(self, number: int) -> Iterator[Record]:
        take, name, chosen = self._takes[number], self._names[CAMERA], self._map.of(CAMERA)
        rate_hz = chosen.rate_hz or take.video.rate_hz
        first_ns = chosen.offset_ns + self._starts_ns[number]
        size_px = shrunk_size(take.video.size_px, chosen.max_size_px)
        for index, pixels in enumerate(pictures(take.video)):
            time_ns = first_ns + round(index * NS / rate_hz)
            frame = jpeg_frame(name, time_ns, pixels, size_px)
            yield Record(log_time_ns=time_ns, episode=number, reading=frame)

    def _notes(self) -> Iterator[str]:
        if self._map.note:
            yield self._map.note
        yield "video frames are encoded again as JPEG"
        tables = [take.table for take in self._takes if take.table is not None]
        if any(table.times_ns is None for table in tables):
            yield "the CSV has no time column, its times come from rate_hz"
        if all(take.day_ns is None for take in self._takes):
            yield "no clock names a day, times start at 2000-01-01"


def video_files(folder: Path) -> list[Path]:
    """The videos of a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in VIDEO_SUFFIXES)


def _pairs(path: Path) -> list[tuple[Path, Path | None]]:
    """Each video with its CSV; a folder's videos without one are left out."""
    if not path.is_dir():
        return [(path, _csv_beside(path))]
    pairs = [(file, table) for file in video_files(path) if (table := _csv_beside(file))]
    if not pairs:
        raise RecordingError(f"{path}: no video has a CSV of the same name beside it")
    return [*pairs]


def _csv_beside(video_file: Path) -> Path | None:
    beside = (video_file.with_suffix(suffix) for suffix in (".csv", ".CSV"))
    return next((file for file in beside if file.is_file()), None)


def _signals_rate_hz(take: _Take) -> float:
    rate_hz = measured_rate_hz(take.signals_ns)
    if rate_hz is None:
        raise RecordingError(f"{take.video.path}: its CSV has one time only: give rate_hz in a map")
    return rate_hz


def _starts_ns(takes: list[_Take]) -> list[int]:
    """Where each take's relative times begin: its own day, or behind the take before."""
    starts: list[int] = []
    free_ns = START_NS
    for take in takes:
        first_ns, last_ns = take.bounds_ns
        start_ns = free_ns - min(0, first_ns) if take.day_ns is None else take.day_ns
        starts.append(start_ns)
        if take.day_ns is None:
            free_ns = start_ns + last_ns + EPISODE_GAP_NS
    return starts
