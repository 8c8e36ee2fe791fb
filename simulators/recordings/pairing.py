"""Which row of a CSV belongs to which numbered picture, and what that says of its time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulators.recordings.mapping import ModalityMap
from simulators.recordings.patterns import Found
from simulators.recordings.recording import RecordingError, several
from simulators.recordings.table import NO_FRAME, Table
from simulators.recordings.timeline import grid_ns
from stream.messages import TimesNs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """One sequence's rows of a CSV: their ``places`` (n,) in the table and times (n,)."""

    table: Table
    places: NDArray[np.intp]
    times_ns: TimesNs


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A numbered picture with its sequence and time."""

    found: Found
    sequence: str
    time_ns: int


def row_times(
    table: Table, places: NDArray[np.intp], chosen: ModalityMap, key: str, start_ns: int
) -> TimesNs:
    """Times (n,) of one sequence's rows: as written, by picture number, or by counting rows.

    What is counted begins at ``start_ns``. Raises RecordingError where nothing tells the time.
    """
    if table.times_ns is not None:
        return table.times_ns[places]
    if chosen.rate_hz is None:
        raise RecordingError(
            f"{table.path}: no time: name modalities.{key}.time_column, or give its rate_hz"
        )
    if table.frames is None:
        return start_ns + grid_ns(np.arange(len(places)), chosen.rate_hz)
    numbers = table.frames[places]
    _refuse_unclear_numbers(table, places, numbers)
    return start_ns + grid_ns(numbers, chosen.rate_hz)


class Pairing:
    """The rows of one CSV by picture number.

    Without a ``frame_column`` rows are counted from 0, in each sequence where ``by_sequence``,
    else over the whole file.
    """

    def __init__(self, rows: Mapping[str, Rows], chosen: ModalityMap, by_sequence: bool) -> None:
        self._by_sequence = by_sequence
        self.counted = chosen.frame_column is None
        self._row: dict[tuple[str, int], tuple[str, int, int]] = {}
        self._rows: Counter[tuple[str, int]] = Counter()
        for sequence, one in rows.items():
            self._add(sequence, one)

    def place(
        self, pictures: Sequence[Found], key: str, first_frame: int
    ) -> tuple[list[Placed], list[str]]:
        """The pictures that have a row, with its time, and what there is to tell of the rest."""
        placed, alone, used = [], [], set()
        for picture in pictures:
            number = picture.frame - (first_frame if self.counted else 0)
            at = (picture.sequence if self._by_sequence else "", number)
            if at not in self._row:
                alone.append(picture)
                continue
            sequence, time_ns, _ = self._row[at]
            placed.append(Placed(found=picture, sequence=sequence, time_ns=time_ns))
            used.add(at)
        return placed, [*self._told(key, alone, used)]

    def _add(self, sequence: str, rows: Rows) -> None:
        table, owner = rows.table, sequence if self._by_sequence else ""
        if table.frames is not None:
            numbers = table.frames[rows.places]
        else:
            numbers = np.arange(len(rows.places)) if self._by_sequence else rows.places
        lines = table.rows[rows.places]
        for number, time_ns, line in zip(
            numbers.tolist(), rows.times_ns.tolist(), lines.tolist(), strict=True
        ):
            if number == NO_FRAME:
                continue
            there = self._row.setdefault((owner, number), (sequence, time_ns, line))
            if there[0] != sequence:
                raise RecordingError(
                    f"{table.path}: row {line}: picture {number} belongs to sequence {there[0]!r} "
                    f"by row {there[2]}; put {{sequence}} into the pictures' files"
                )
            self._rows[owner, number] += 1

    def _told(self, key: str, alone: list[Found], used: set[tuple[str, int]]) -> list[str]:
        told = []
        if alone:
            hint = "; is first_frame right?" if self.counted else ""
            count = several(len(alone), "picture")
            told.append(f"{key}: {count} without a row left out, the first {alone[0].file}{hint}")
        bare = [at for at in self._row if at not in used]
        if bare:
            count = several(sum(self._rows[at] for at in bare), "row")
            told.append(f"{key}: no picture for {count}, the first row {self._row[bare[0]][2]}")
        shared = sum(rows > 1 for rows in self._rows.values())
        if shared:
            count = several(shared, "picture number")
            told.append(f"{key}: {count} in more than one row, the first row's time is taken")
        return told


def counted_pictures(
    pictures: Sequence[Found], chosen: ModalityMap, starts_ns: Mapping[str, int]
) -> list[Placed]:
    """Pictures at ``rate_hz`` from their sequence's start on, whatever the rows say."""
    assert chosen.rate_hz is not None  # the map is checked for it
    early = [one for one in pictures if one.frame < chosen.first_frame]
    if early:
        raise RecordingError(
            f"{early[0].file}: numbered below first_frame, {chosen.first_frame} "
            f"({several(len(early), 'such file')})"
        )
    numbers = np.array([one.frame - chosen.first_frame for one in pictures], np.int64)
    times = grid_ns(numbers, chosen.rate_hz).tolist()
    return [
        Placed(found=one, sequence=one.sequence, time_ns=starts_ns.get(one.sequence, 0) + time_ns)
        for one, time_ns in zip(pictures, times, strict=True)
    ]


def _refuse_unclear_numbers(
    table: Table, places: NDArray[np.intp], numbers: NDArray[np.int64]
) -> None:
    """Where numbers are the clock, each row needs one of its own."""
    advice = (
        "where rows come faster than pictures, name a time_column, or leave frame_column out and "
        "give the pictures a rate_hz"
    )
    without = np.flatnonzero(numbers == NO_FRAME)
    if len(without):
        raise RecordingError(
            f"{table.path}: row {table.rows[places[without[0]]]}: no picture's number "
            f"({several(len(without), 'such row')}); {advice}"
        )
    order = np.argsort(numbers, kind="stable")
    twice = np.flatnonzero(np.diff(numbers[order]) == 0)
    if len(twice):
        one, other = table.rows[places[order[twice[0] : twice[0] + 2]]]
        raise RecordingError(
            f"{table.path}: rows {one} and {other}: both are of picture {numbers[order[twice[0]]]} "
            f"({several(len(twice), 'such pair')}); {advice}"
        )
