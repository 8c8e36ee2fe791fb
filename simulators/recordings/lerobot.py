"""LeRobot data sets, version 2.1: parquet and video, read without the lerobot package.

Layout: https://github.com/huggingface/lerobot, release 0.3, ``meta/info.json`` and the paths
it gives. Commands (``action``) are no sensors and are left out.
"""

import heapq
from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from simulators.recordings.episodes import EVERY_EPISODE, EpisodeChoice
from simulators.recordings.lerobot_meta import Feature, LeRobotMeta, read_meta
from simulators.recordings.mapping import NO_MAP, RecordingMap
from simulators.recordings.pictures import jpeg_frame, pictures, probe_with_av, shrunk_size
from simulators.recordings.recording import Episode, Modality, Record, RecordingError
from simulators.recordings.timeline import EPISODE_GAP_NS, NS, START_NS
from stream.images import decode, sniff
from stream.messages import Floats, Frame, Kind, Malformed, Samples, TimesNs

TOLERANCE_S = 1e-4  # stamps are float32; LeRobot itself lets them stray this far from the grid
IMAGE_ROWS = 32  # rows of stored images held at a time


class LeRobotRecording:
    """A data set opened for reading; episodes keep its own numbers.

    Its stamps begin at 0 in each episode and name no day: episodes lie one after another from
    2000-01-01 on, each where it would lie if all were read. Raises RecordingError.
    """

    format = "LeRobot v2.1"

    def __init__(
        self,
        path: Path,
        recording_map: RecordingMap = NO_MAP,
        choice: EpisodeChoice = EVERY_EPISODE,
    ) -> None:
        self.path = path
        self._map = recording_map
        self._meta = read_meta(path)
        stored = {feature.short_name: feature for feature in self._meta.features}
        names = recording_map.names(stored, path)
        self._features = {names[short]: feature for short, feature in stored.items()}
        self.modalities: Mapping[str, Modality] = {
            name: self._describe(name, feature) for name, feature in self._features.items()
        }
        self.episodes: tuple[Episode, ...] = choice.pick(_laid_out(self._meta), path)
        for episode in self.episodes:
            self._check_files(episode.number)
        self.metadata: Mapping[str, str] = {"note": "; ".join(self._notes())}

    def records(self, only: Kind | None = None) -> Iterator[Record]:
        """Yield rows and frames (JPEG) in the order of time, decoding video as it goes."""
        for episode in self.episodes:
            yield from heapq.merge(*self._streams(episode, only), key=attrgetter("log_time_ns"))

    def capture_times(self, episode: Episode) -> Mapping[str, TimesNs]:
        """Capture times of each modality, offsets included; all are the rows' stamps."""
        times = self._times(episode)
        return {
            name: times + self._map.of(feature.short_name).offset_ns
            for name, feature in self._features.items()
        }

    def _streams(self, episode: Episode, only: Kind | None) -> list[Iterator[Record]]:
        times = self.capture_times(episode)
        readers = {"video": self._video, "image": self._stored_images}
        return [
            readers.get(feature.dtype, self._rows)(name, feature, episode, times[name])
            for name, feature in self._features.items()
            if only in (None, self.modalities[name].kind)
        ]

    def _rows(
        self, name: str, feature: Feature, episode: Episode, times_ns: TimesNs
    ) -> Iterator[Record]:
        file = self._meta.data_file(episode.number)
        values = _matrix(file, _column(file, feature.key), feature)
        modality = self.modalities[name]
        for row, time_ns in enumerate(times_ns.tolist()):
            samples = Samples(
                modality=name,
                times_ns=times_ns[row : row + 1],
                values=values[row : row + 1],
                names=modality.names,
                units=modality.units,
            )
            yield Record(log_time_ns=time_ns, episode=episode.number, reading=samples)

    def _video(
        self, name: str, feature: Feature, episode: Episode, times_ns: TimesNs
    ) -> Iterator[Record]:
        video = probe_with_av(self._meta.video_file(episode.number, feature.key))
        if video.frames != len(times_ns):
            raise RecordingError(
                f"{video.path}: {video.frames} frames for the {len(times_ns)} rows of "
                f"{self._meta.data_file(episode.number)}"
            )
        size_px = shrunk_size(video.size_px, self._map.of(feature.short_name).max_size_px)
        # Not strict: a decoder may keep the last frames that the container counts.
        for time_ns, pixels in zip(times_ns.tolist(), pictures(video), strict=False):
            frame = jpeg_frame(name, time_ns, pixels, size_px)
            yield Record(log_time_ns=time_ns, episode=episode.number, reading=frame)

    def _stored_images(
        self, name: str, feature: Feature, episode: Episode, times_ns: TimesNs
    ) -> Iterator[Record]:
        file = self._meta.data_file(episode.number)
        max_size_px = self._map.of(feature.short_name).max_size_px
        cells = _image_cells(file, feature.key)
        for row, (time_ns, data) in enumerate(zip(times_ns.tolist(), cells, strict=True)):
            try:
                pixels = decode(data)
                size_px = shrunk_size((pixels.shape[0], pixels.shape[1]), max_size_px)
                frame = (
                    Frame(
                        modality=name,
                        time_ns=time_ns,
                        data=data,
                        format=sniff(data),
                        pixels=pixels,
                    )
                    if size_px == pixels.shape[:2]
                    else jpeg_frame(name, time_ns, pixels, size_px)
                )
            except Malformed as error:
                raise RecordingError(f"{file}: row {row}, {feature.key}: {error}") from None
            yield Record(log_time_ns=time_ns, episode=episode.number, reading=frame)

    def _times(self, episode: Episode) -> TimesNs:
        file, length = self._meta.data_file(episode.number), self._meta.lengths[episode.number]
        seconds = np.asarray(_column(file, "timestamp"), np.float64).ravel()
        if len(seconds) != length:
            raise RecordingError(f"{file}: {len(seconds)} rows, meta/episodes.jsonl says {length}")
        grid = np.arange(length) / self._meta.fps
        seconds = np.where(np.abs(seconds - grid) < TOLERANCE_S, grid, seconds)
        if not np.isfinite(seconds).all() or (np.diff(seconds) < 0).any():
            row = int(np.argmax(~np.isfinite(seconds) | (np.diff(seconds, prepend=0.0) < 0)))
            raise RecordingError(f"{file}: row {row}: timestamp {seconds[row]} runs backwards")
        return np.rint(seconds * NS).astype(np.int64) + episode.start_ns

    def _describe(self, name: str, feature: Feature) -> Modality:
        chosen = self._map.of(feature.short_name)
        rate_hz = chosen.rate_hz or self._meta.fps
        if feature.kind is Kind.IMAGE:
            size_px = shrunk_size((feature.shape[0], feature.shape[1]), chosen.max_size_px)
            return Modality(name=name, kind=Kind.IMAGE, rate_hz=rate_hz, size_px=size_px)
        units = tuple(chosen.units.get(one, "") for one in feature.names) if chosen.units else ()
        return Modality(
            name=name, kind=Kind.VECTOR, rate_hz=rate_hz, names=feature.names, units=units
        )

    def _check_files(self, number: int) -> None:
        videos = [feature.key for feature in self._meta.features if feature.dtype == "video"]
        wanted = [
            self._meta.data_file(number),
            *(self._meta.video_file(number, key) for key in videos),
        ]
        for file in wanted:
            if not file.is_file():
                raise RecordingError(f"{file}: missing, meta/episodes.jsonl lists episode {number}")

    def _notes(self) -> Iterator[str]:
        if self._map.note:
            yield self._map.note
        yield "all modalities share the rows' stamps: one clock"
        if any(feature.dtype == "video" for feature in self._meta.features):
            yield "video frames are encoded again as JPEG"
        yield "no clock names a day, times start at 2000-01-01"


def _laid_out(meta: LeRobotMeta) -> list[Episode]:
    episodes = []
    start_ns = START_NS
    for number, length in sorted(meta.lengths.items()):
        end_ns = start_ns + round((length - 1) * NS / meta.fps)
        episodes.append(Episode(number=number, start_ns=start_ns, end_ns=end_ns))
        start_ns = end_ns + EPISODE_GAP_NS
    return episodes


def _matrix(file: Path, column: Any, feature: Feature) -> Floats:
    """Rows of lists as (rows, channels); raises RecordingError for ragged, NaN and infinity."""
    try:
        values = np.array(column, np.float64).reshape(len(column), -1)
    except (ValueError, TypeError) as error:
        raise RecordingError(f"{file}: column {feature.key!r}: {error}") from None
    if values.shape[1] != feature.shape[0]:
        raise RecordingError(
            f"{file}: column {feature.key!r} has {values.shape[1]} values a row, "
            f"meta/info.json says {feature.shape[0]}"
        )
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        raise RecordingError(f"{file}: row {row}, column {feature.key!r}: not a finite number")
    return values


def _parquet(file: Path, key: str) -> Any:
    """A parquet file that has this column; raises RecordingError."""
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    try:
        opened = parquet.ParquetFile(file)
    except (OSError, arrow.ArrowException) as error:
        raise RecordingError(f"{file}: is no readable parquet file: {error}") from None
    if key not in opened.schema_arrow.names:
        raise RecordingError(
            f"{file}: no column {key!r}, there are {', '.join(opened.schema_arrow.names)}"
        )
    return opened


def _column(file: Path, key: str) -> list[Any]:
    import pyarrow as arrow

    try:
        column: list[Any] = _parquet(file, key).read(columns=[key])[key].to_pylist()
    except (OSError, arrow.ArrowException) as error:
        raise RecordingError(f"{file}: column {key!r} cannot be read: {error}") from None
    return column


def _image_cells(file: Path, key: str) -> Iterator[bytes]:
    """The encoded images of a column, a few rows at a time."""
    for batch in _parquet(file, key).iter_batches(batch_size=IMAGE_ROWS, columns=[key]):
        for row, cell in enumerate(batch.column(key).to_pylist()):
            if not isinstance(cell, dict) or not cell.get("bytes"):
                raise RecordingError(f"{file}: column {key!r}: no image bytes in row {row}")
            yield cell["bytes"]
