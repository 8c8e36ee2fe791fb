"""A CSV of vector samples, read whole and checked cell by cell."""

import csv
import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np

from simulators.recordings.mapping import ModalityMap
from simulators.recordings.recording import Modality, Record, RecordingError
from stream.messages import Floats, Kind, Samples, TimesNs

UNIT_NS: Mapping[str, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
T_NS = "t_ns"
LARGEST_NS = 2**62  # in the year 2116; leaves room for adding offsets


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """``values`` (n, channels); ``times_ns`` (n,) as written, None where no column holds time."""

    path: Path
    names: tuple[str, ...]
    units: tuple[str, ...]
    times_ns: TimesNs | None
    values: Floats


def read_table(path: Path, chosen: ModalityMap) -> Table:
    """Read a CSV with a header row.

    Time is ``chosen.time_column``, else a first column named ``t_ns``. Raises RecordingError
    with file, row (the header is row 1) and column; times may repeat but not run backwards.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            header = [cell.strip() for cell in next(rows, [])]
            return _read(path, header, _numbered(path, rows, len(header)), chosen)
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


def _read(
    path: Path, header: list[str], rows: Iterator[tuple[int, list[str]]], chosen: ModalityMap
) -> Table:
    _check_header(path, header)
    time_at, unit_ns = _time_column(path, header, chosen)
    columns = _value_columns(path, header, time_at, chosen)
    times, values = array("q"), array("d")
    for row, cells in rows:
        if time_at is not None:
            times.append(_time(cells[time_at], unit_ns, _place(path, row, header[time_at])))
            if len(times) > 1 and times[-1] < times[-2]:
                raise RecordingError(
                    f"{path}: row {row}: time runs backwards by {times[-2] - times[-1]} ns"
                )
        for column in columns:
            values.append(_number(cells[column], _place(path, row, header[column])))
    if not values:
        raise RecordingError(f"{path}: empty, no row below the header")
    names = tuple(header[column] for column in columns)
    return Table(
        path=path,
        names=names,
        units=_units(path, names, chosen),
        times_ns=None if time_at is None else np.array(times, np.int64),
        values=np.array(values, np.float64).reshape(-1, len(columns)),
    )


def _numbered(path: Path, rows: Iterator[list[str]], width: int) -> Iterator[tuple[int, list[str]]]:
    """Rows with their numbers, blank ones left out."""
    for row, cells in enumerate(rows, start=2):
        if not cells:
            continue
        if len(cells) != width:
            raise RecordingError(f"{path}: row {row}: {len(cells)} cells, the header has {width}")
        yield row, cells


def _check_header(path: Path, header: Sequence[str]) -> None:
    if not header:
        raise RecordingError(f"{path}: empty, not even a header row")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise RecordingError(f"{path}: row 1: column {', '.join(map(repr, twice))} comes twice")
    if all(_is_number(cell) for cell in header):
        raise RecordingError(f"{path}: row 1: holds numbers where the column names should be")


def _time_column(path: Path, header: Sequence[str], chosen: ModalityMap) -> tuple[int | None, int]:
    """Where time stands, and its unit in ns."""
    if chosen.time_column is not None:
        return _find(path, header, chosen.time_column), UNIT_NS[chosen.time_unit]
    return (0, 1) if header[0] == T_NS else (None, 1)


def _value_columns(
    path: Path, header: Sequence[str], time_at: int | None, chosen: ModalityMap
) -> list[int]:
    if chosen.columns is not None:
        return [_find(path, header, name) for name in chosen.columns]
    columns = [column for column in range(len(header)) if column != time_at]
    if not columns:
        raise RecordingError(f"{path}: row 1: no column besides {header[0]!r}")
    return columns


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


def _number(cell: str, place: Callable[[], str]) -> float:
    try:
        value = float(cell)
    except ValueError:
        raise RecordingError(f"{place()}: {cell!r} is not a number") from None
    if not math.isfinite(value):
        raise RecordingError(f"{place()}: {cell!r} is not a finite number")
    return value


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
