"""A CSV of vector samples, read whole and checked cell by cell."""

import csv
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulators.recordings.mapping import ModalityMap
from simulators.recordings.patterns import sequence_name, whole_number
from simulators.recordings.recording import Modality, Record, RecordingError
from stream.messages import Floats, Kind, Samples, TimesNs

UNIT_NS: Mapping[str, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
T_NS = "t_ns"
NO_FRAME = -1  # the picture's number where a row names none
LARGEST_NS = 2**62  # in the year 2116; leaves room for adding offsets


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """``values`` (n, channels); ``times_ns`` (n,) as written, None where no column holds time.

    ``rows`` (n,) are the rows' numbers in the file. ``frames`` (n,) and ``sequences`` (n) are what
    the map's columns hold, ``NO_FRAME`` for an empty cell. NaN only where the map leaves out what
    is incomplete.
    """

    path: Path
    names: tuple[str, ...]
    units: tuple[str, ...]
    times_ns: TimesNs | None
    values: Floats
    rows: NDArray[np.int64]
    frames: NDArray[np.int64] | None = None
    sequences: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where what stands in a row, counted from 0; None for what no column holds."""

    header: tuple[str, ...]
    values: tuple[int, ...]
    time: int | None
    unit_ns: int
    frame: int | None
    sequence: int | None


def read_table(path: Path, chosen: ModalityMap) -> Table:
    """Read a CSV separated by commas, semicolons or tabs.

    Time is ``chosen.time_column``, else a first column named ``t_ns``. Raises RecordingError
    with file, row (the first is row 1) and column; times may repeat but not run backwards, unless
    another sequence begins.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            rows = _cells(csv.reader(file, delimiter=delimiter), delimiter)
            header = _header(path, rows, chosen)
            layout = _layout(path, header, chosen)
            return _read(path, layout, _checked(path, rows, len(header)), chosen)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path}: is not a CSV in UTF-8: {error}") from None


def modality_of(table: Table, name: str, rate_hz: float) -> Modality:
    """What a table says of its modality."""
    return Modality(
        name=name, kind=Kind.VECTOR, rate_hz=rate_hz, names=table.names, units=table.units
    )


def table_records(table: Table, modality: str, times_ns: TimesNs, episode: int) -> Iterator[Record]:
    """One record for each row, logged when it was captured; ``times_ns`` (n,)."""
    for row, time_ns in enumerate(times_ns.tolist()):
        samples = Samples(
            modality=modality,
            times_ns=times_ns[row : row + 1],
            values=table.values[row : row + 1],
            names=table.names,
            units=table.units,
        )
        yield Record(log_time_ns=time_ns, episode=episode, reading=samples)


def _delimiter(first_line: str) -> str:
    return next((one for one in "\t;" if one in first_line), ",")


def _cells(rows: Iterable[list[str]], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows with their numbers; where semicolons separate, a comma is a decimal point."""
    for row, cells in enumerate(rows, start=1):
        yield row, [cell.replace(",", ".") for cell in cells] if delimiter == ";" else cells


def _header(path: Path, rows: Iterator[tuple[int, list[str]]], chosen: ModalityMap) -> list[str]:
    if chosen.header is not None:
        header = list(chosen.header)
    else:
        header = [cell.strip() for cell in next(rows, (1, []))[1]]
        if not header:
            raise RecordingError(f"{path}: empty, not even a header row")
        named = {*(chosen.columns or ()), chosen.time_column, chosen.frame_column}
        if all(_is_number(cell) for cell in header) and named.isdisjoint(header):
            raise RecordingError(
                f"{path}: row 1: holds numbers where the column names should be; give the names "
                "under header in a map, or name these numbers under columns"
            )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise RecordingError(f"{path}: row 1: column {', '.join(map(repr, twice))} comes twice")
    return header


def _checked(
    path: Path, rows: Iterator[tuple[int, list[str]]], width: int
) -> Iterator[tuple[int, list[str]]]:
    """Rows of the right width, blank ones passed over."""
    for row, cells in rows:
        if not cells:
            continue
        if len(cells) != width:
            raise RecordingError(f"{path}: row {row}: {len(cells)} cells, the header has {width}")
        yield row, cells


def _layout(path: Path, header: Sequence[str], chosen: ModalityMap) -> _Layout:
    def at(name: str | None) -> int | None:
        return None if name is None else _find(path, header, name)

    time, unit_ns = at(chosen.time_column), UNIT_NS[chosen.time_unit]
    if time is None and header[0] == T_NS:
        time, unit_ns = 0, 1
    frame, sequence = at(chosen.frame_column), at(chosen.sequence_column)
    if chosen.columns is not None:
        values = [_find(path, header, name) for name in chosen.columns]
    else:
        values = [one for one in range(len(header)) if one not in (time, frame, sequence)]
    if not values:
        raise RecordingError(f"{path}: row 1: no column besides {', '.join(map(repr, header))}")
    return _Layout(
        header=tuple(header),
        values=tuple(values),
        time=time,
        unit_ns=unit_ns,
        frame=frame,
        sequence=sequence,
    )


def _read(
    path: Path, layout: _Layout, rows: Iterator[tuple[int, list[str]]], chosen: ModalityMap
) -> Table:
    times, frames, numbers, values = array("q"), array("q"), array("q"), array("d")
    sequences: list[str] = []
    for row, cells in rows:
        places = [_place(path, row, name) for name in layout.header]
        numbers.append(row)
        if (at := layout.time) is not None:
            times.append(_time(cells[at], layout.unit_ns, places[at]))
        if (at := layout.frame) is not None:
            frames.append(_frame_number(cells[at], places[at]))
        if (at := layout.sequence) is not None:
            sequences.append(_sequence(cells[at], places[at]))
        values.extend(_number(cells[at], places[at], chosen) for at in layout.values)
    if not numbers:
        raise RecordingError(f"{path}: empty, no row below the header")
    names = tuple(layout.header[column] for column in layout.values)
    table = Table(
        path=path,
        names=names,
        units=_units(path, names, chosen),
        times_ns=None if layout.time is None else np.array(times, np.int64),
        values=np.array(values, np.float64).reshape(-1, len(names)),
        rows=np.array(numbers, np.int64),
        frames=None if layout.frame is None else np.array(frames, np.int64),
        sequences=None if layout.sequence is None else tuple(sequences),
    )
    _check_times(table)
    return table


def rows_by_sequence(table: Table) -> dict[str, NDArray[np.intp]]:
    """Which rows (their places in the table) belong to which sequence, in the file's order."""
    if table.sequences is None:
        return {"": np.arange(len(table.rows))}
    places: dict[str, list[int]] = {}
    for place, sequence in enumerate(table.sequences):
        places.setdefault(sequence, []).append(place)
    return {sequence: np.array(one) for sequence, one in places.items()}


def _check_times(table: Table) -> None:
    if table.times_ns is None:
        return
    for places in rows_by_sequence(table).values():
        steps = np.diff(table.times_ns[places])
        if (steps < 0).any():
            first = int(np.argmax(steps < 0))
            raise RecordingError(
                f"{table.path}: row {table.rows[places[first + 1]]}: time runs backwards by "
                f"{-steps[first]} ns"
            )


def _find(path: Path, header: Sequence[str], name: str) -> int:
    if name not in header:
        raise RecordingError(f"{path}: row 1: no column {name!r}, there are {', '.join(header)}")
    return header.index(name)


def _units(path: Path, names: tuple[str, ...], chosen: ModalityMap) -> tuple[str, ...]:
    for name in chosen.units:
        _find(path, names, name)
    return tuple(chosen.units.get(name, "") for name in names) if chosen.units else ()


def _place(path: Path, row: int, column: str) -> Callable[[], str]:
    # A function, because the text is needed for one cell in a million.
    return lambda: f"{path}: row {row}, column {column!r}"


def _number(cell: str, place: Callable[[], str], chosen: ModalityMap) -> float:
    """The cell's value; NaN for a cell that holds none, where the map leaves such rows out."""
    try:
        value = float(cell.strip() or "nan")
    except ValueError:
        raise RecordingError(
            f"{place()}: {cell!r} is not a number; a map may list under columns those that are read"
        ) from None
    if math.isfinite(value) or (math.isnan(value) and chosen.incomplete == "leave_out"):
        return value
    problem = f"{cell!r} is not a finite number" if cell else "'' is not a number"
    advice = "; incomplete: leave_out leaves such rows out" if chosen.files else ""
    raise RecordingError(f"{place()}: {problem}{advice}")


def _frame_number(cell: str, place: Callable[[], str]) -> int:
    if not cell.strip() or cell.strip().lower() == "nan":
        return NO_FRAME
    number = whole_number(cell)
    if number is None:
        raise RecordingError(f"{place()}: {cell!r} is not a picture's number")
    return number


def _sequence(cell: str, place: Callable[[], str]) -> str:
    if not cell.strip():
        raise RecordingError(f"{place()}: empty, the row belongs to no sequence")
    return sequence_name(cell)


def _time(cell: str, unit_ns: int, place: Callable[[], str]) -> int:
    # Decimal, because a float holds today's nanoseconds only to the nearest 256.
    try:
        time_ns = int((Decimal(cell.strip()) * unit_ns).to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        raise RecordingError(f"{place()}: {cell!r} is not a time") from None
    if not 0 <= time_ns < LARGEST_NS:
        raise RecordingError(f"{place()}: {cell!r} lies outside 1970 to 2116")
    return time_ns


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
