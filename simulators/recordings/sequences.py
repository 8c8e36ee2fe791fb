"""A data set of numbered pictures and CSVs as a recording: a map says how its files are named."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulators.recordings.episodes import EVERY_EPISODE, EpisodeChoice
from simulators.recordings.mapping import RecordingMap
from simulators.recordings.pairing import Rows
from simulators.recordings.pictures import shrunk_size
from simulators.recordings.recording import (
    LACKING,
    Episode,
    Modality,
    Record,
    RecordingError,
    several,
)
from simulators.recordings.stills import still_frame, still_size_px, whats_wrong
from simulators.recordings.table import modality_of, table_records
from simulators.recordings.takes import Pictures, Take, listed, read_takes
from simulators.recordings.timeline import ABSOLUTE_NS, EPISODE_GAP_NS, START_NS, measured_rate_hz
from stream.messages import Kind, TimesNs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Span:
    """An episode: a stretch of one take, whose times are moved by ``shift_ns``."""

    take: Take
    shift_ns: int
    episode: Episode

    def rows(self, key: str) -> Rows:
        """Its rows of one CSV, at their own times."""
        rows = self.take.rows[key]
        at = self._inside(rows.times_ns)
        return replace(rows, places=rows.places[at], times_ns=rows.times_ns[at])

    def pictures(self, key: str) -> Pictures:
        """Its pictures, at their own times."""
        return _at(self.take.pictures[key], self._inside(self.take.pictures[key].times_ns))

    def _inside(self, times_ns: TimesNs) -> NDArray[np.intp]:
        moved = times_ns + self.shift_ns
        return np.flatnonzero((self.episode.start_ns <= moved) & (moved <= self.episode.end_ns))


class SequenceRecording:
    """A folder read by a map with ``files``; each sequence is an episode.

    Episodes have their sequences' own numbers where all have one, else they count from 0. Clocks
    that name no day lie one after another from 2000-01-01 on. ``metadata["lacking"]`` tells and
    counts what was not read. Raises RecordingError, for a picture damaged inside when it is
    reached.
    """

    format = "numbered pictures and CSV"

    def __init__(
        self, path: Path, recording_map: RecordingMap, choice: EpisodeChoice = EVERY_EPISODE
    ) -> None:
        self.path = path
        self._map = recording_map
        self._names = recording_map.names(recording_map.modalities, path)
        takes, told = read_takes(path, recording_map)
        spans = _spans(path, takes, recording_map.episode_s)
        self.episodes: tuple[Episode, ...] = choice.pick([one.episode for one in spans], path)
        numbers = {episode.number for episode in self.episodes}
        self._spans = {one.episode.number: one for one in spans if one.episode.number in numbers}
        self._unreadable, damaged = self._look_at_pictures()
        self.modalities: Mapping[str, Modality] = dict(
            self._describe(key, takes) for key in self._names
        )
        self.metadata: Mapping[str, str] = _facts(takes, [*told, *damaged], recording_map.note)

    def records(self, only: Kind | None = None) -> Iterator[Record]:
        """Yield rows and pictures in the order of time, episode after episode."""
        for episode in self.episodes:
            span = self._spans[episode.number]
            streams: list[Iterator[Record]] = []
            if only is not Kind.IMAGE:
                streams += [self._row_records(key, span) for key in span.take.rows]
            if only is not Kind.VECTOR:
                streams += [self._picture_records(key, span) for key in span.take.pictures]
            yield from heapq.merge(*streams, key=attrgetter("log_time_ns"))

    def capture_times(self, episode: Episode) -> Mapping[str, TimesNs]:
        """Capture times of each modality, from the rows and the pictures' numbers."""
        span = self._spans[episode.number]
        rows = {key: span.rows(key).times_ns for key in span.take.rows}
        pictures = {key: self._pictures(key, span).times_ns for key in span.take.pictures}
        return {self._names[key]: one + span.shift_ns for key, one in (rows | pictures).items()}

    def _row_records(self, key: str, span: _Span) -> Iterator[Record]:
        rows = span.rows(key)
        table = replace(rows.table, values=rows.table.values[rows.places])
        times_ns = rows.times_ns + span.shift_ns
        return table_records(table, self._names[key], times_ns, span.episode.number)

    def _picture_records(self, key: str, span: _Span) -> Iterator[Record]:
        name, max_size_px = self._names[key], self._map.of(key).max_size_px
        pictures = self._pictures(key, span)
        times = (pictures.times_ns + span.shift_ns).tolist()
        for file, time_ns in zip(pictures.files, times, strict=True):
            frame = still_frame(file, name, time_ns, max_size_px)
            yield Record(log_time_ns=time_ns, episode=span.episode.number, reading=frame)

    def _pictures(self, key: str, span: _Span) -> Pictures:
        pictures = span.pictures(key)
        kept = [at for at, one in enumerate(pictures.files) if one not in self._unreadable]
        return _at(pictures, np.array(kept, np.intp))

    def _look_at_pictures(self) -> tuple[frozenset[Path], list[str]]:
        """The chosen episodes' pictures that are cut short or none; refused, or left out."""
        unreadable, told = set(), []
        for key, chosen in self._map.modalities.items():
            files = [
                file
                for span in self._spans.values()
                if chosen.pictures
                for file in span.pictures(key).files
            ]
            wrong = {file: reason for file in files if (reason := whats_wrong(file))}
            if not wrong:
                continue
            first, reason = next(iter(wrong.items()))
            facts = f"{len(wrong)} of {several(len(files), 'picture')} cannot be read, as {first}"
            if chosen.incomplete == "refuse":
                raise RecordingError(
                    f"{facts}: {reason}; modalities.{key}.incomplete: leave_out leaves them out"
                )
            unreadable |= set(wrong)
            told.append(f"{facts}: {reason}")
        return frozenset(unreadable), told

    def _describe(self, key: str, takes: list[Take]) -> tuple[str, Modality]:
        name, chosen = self._names[key], self._map.of(key)
        rates = (measured_rate_hz(take.times_ns[key]) for take in takes)
        rate_hz = chosen.rate_hz or next((one for one in rates if one), None)
        if rate_hz is None:
            raise RecordingError(f"{self.path}: one time only: give modalities.{key}.rate_hz")
        if not chosen.pictures:
            return name, modality_of(takes[0].rows[key].table, name, rate_hz)
        files = (file for span in self._spans.values() for file in self._pictures(key, span).files)
        first = next(files, None)
        size_px = None if first is None else shrunk_size(still_size_px(first), chosen.max_size_px)
        return name, Modality(name=name, kind=Kind.IMAGE, rate_hz=rate_hz, size_px=size_px)


def _spans(path: Path, takes: list[Take], episode_s: float | None) -> list[_Span]:
    """The takes one after another, cut where asked for, and numbered."""
    laid_out = sorted(_shifts(takes), key=lambda one: one[0].bounds_ns[0] + one[1])
    for (before, before_ns), (after, after_ns) in pairwise(laid_out):
        if after.bounds_ns[0] + after_ns <= before.bounds_ns[1] + before_ns:
            raise RecordingError(
                f"{path}: sequence {after.name!r} begins before {before.name!r} ends"
            )
    own = episode_s is None and all(take.name.isdecimal() for take in takes)
    bounds = [
        (take, shift_ns, one)
        for take, shift_ns in laid_out
        for one in (_cuts(take, episode_s) if episode_s else [take.bounds_ns])
    ]
    return [
        _Span(
            take=take,
            shift_ns=shift_ns,
            episode=Episode(
                number=int(take.name) if own else count,
                start_ns=first_ns + shift_ns,
                end_ns=last_ns + shift_ns,
            ),
        )
        for count, (take, shift_ns, (first_ns, last_ns)) in enumerate(bounds)
    ]


def _shifts(takes: list[Take]) -> Iterator[tuple[Take, int]]:
    """What moves each take onto one timeline: nothing where its clock names a day."""
    free_ns = START_NS
    for take in takes:
        first_ns, last_ns = take.bounds_ns
        if first_ns >= ABSOLUTE_NS:
            yield take, 0
            continue
        yield take, free_ns - first_ns
        free_ns += last_ns - first_ns + EPISODE_GAP_NS


def _cuts(take: Take, episode_s: float) -> list[tuple[int, int]]:
    """First and last time of each of the equal pieces that come nearest to ``episode_s``."""
    times = np.unique(np.concatenate(list(take.times_ns.values())))
    length_ns = int(times[-1] - times[0])
    pieces = max(1, round(length_ns / 1e9 / episode_s))
    piece = np.minimum((times - times[0]) * pieces // max(1, length_ns), pieces - 1)
    return [
        (int(inside[0]), int(inside[-1]))
        for number in range(pieces)
        if len(inside := times[piece == number])
    ]


def _at(pictures: Pictures, places: NDArray[np.intp]) -> Pictures:
    files = tuple(pictures.files[one] for one in places.tolist())
    return Pictures(files=files, times_ns=pictures.times_ns[places])


def _facts(takes: list[Take], told: list[str], note: str) -> dict[str, str]:
    facts = {
        "sequences": listed([take.name for take in takes if take.name]),
        LACKING: "; ".join(told),
        "note": note,
    }
    return {key: text for key, text in facts.items() if text}
