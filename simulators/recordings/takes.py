"""Numbered pictures and CSVs of a folder, found by a map's patterns and laid out in sequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simulators.recordings.mapping import ModalityMap, RecordingMap
from simulators.recordings.pairing import Pairing, Placed, Rows, counted_pictures, row_times
from simulators.recordings.patterns import Found, find_files, natural_order
from simulators.recordings.recording import RecordingError, several
from simulators.recordings.table import read_table, rows_by_sequence
from stream.messages import TimesNs

LISTED = 8  # names that a message shows before it only counts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pictures:
    """One sequence's pictures of a modality in the order of their times (n,)."""

    files: tuple[Path, ...]
    times_ns: TimesNs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Take:
    """One sequence, its times as its own clock has them, offsets included."""

    name: str
    rows: Mapping[str, Rows]
    pictures: Mapping[str, Pictures]

    @property
    def times_ns(self) -> dict[str, TimesNs]:
        """Times (n,) by the map's keys; none is empty."""
        streams: dict[str, Rows | Pictures] = {**self.rows, **self.pictures}
        return {key: one.times_ns for key, one in streams.items()}

    @property
    def bounds_ns(self) -> tuple[int, int]:
        """The first and the last time."""
        times = self.times_ns.values()
        return min(int(one[0]) for one in times), max(int(one[-1]) for one in times)


def read_takes(path: Path, recording_map: RecordingMap) -> tuple[list[Take], list[str]]:
    """Every sequence that has all modalities, by name, and what was left out; no picture is read.

    Raises RecordingError.
    """
    chosen = recording_map.modalities
    found, strangers = find_files(path, {key: one.files or "" for key, one in chosen.items()})
    for key, files in found.items():
        if not files:
            there = f", but {strangers[0].relative_to(path)}" if strangers else ""
            raise RecordingError(
                f"{path}: nothing fits modalities.{key}.files, {chosen[key].files}{there}"
            )
    told = []
    if strangers:
        told.append(f"{several(len(strangers), 'other file')} left out, the first {strangers[0]}")
    tables = {key: one for key, one in chosen.items() if not one.pictures}
    rows = _rows({key: found[key] for key in tables}, tables)
    placed, unpaired = _placed(found, rows, recording_map)
    whole = {}
    for key, one in tables.items():
        whole[key], incomplete = _complete(rows[key], one)
        told += incomplete
    takes, lacking = _takes(whole, placed, chosen)
    if not takes:
        raise RecordingError(f"{path}: no sequence has every modality; {'; '.join(lacking)}")
    return takes, [*told, *unpaired, *lacking]


def _rows(
    found: Mapping[str, list[Found]], chosen: Mapping[str, ModalityMap]
) -> dict[str, dict[str, Rows]]:
    """By modality and sequence, without offsets."""
    read: dict[str, dict[str, Rows]] = {key: {} for key in found}
    for key, files in found.items():
        for one in files:
            table = read_table(one.file, chosen[key])
            for sequence, places in rows_by_sequence(table).items():
                name = one.sequence if table.sequences is None else sequence
                if name in read[key]:
                    other = read[key][name].table.path
                    raise RecordingError(f"{one.file}: sequence {name!r} again, as {other}")
                read[key][name] = Rows(table=table, places=places, times_ns=np.empty(0, np.int64))
        _refuse_other_columns(list(read[key].values()))
    starts = _written_starts(read)
    return {
        key: {
            name: _timed(one, chosen[key], key, starts.get(name, 0)) for name, one in named.items()
        }
        for key, named in read.items()
    }


def _timed(rows: Rows, chosen: ModalityMap, key: str, start_ns: int) -> Rows:
    times_ns = row_times(rows.table, rows.places, chosen, key, start_ns)
    order = np.argsort(times_ns, kind="stable")
    return Rows(table=rows.table, places=rows.places[order], times_ns=times_ns[order])


def _written_starts(read: Mapping[str, Mapping[str, Rows]]) -> dict[str, int]:
    """Where each sequence begins whose CSVs have times; what is only counted begins there too."""
    starts: dict[str, int] = {}
    for named in read.values():
        for sequence, one in named.items():
            if one.table.times_ns is not None:
                first_ns = int(one.table.times_ns[one.places[0]])
                starts[sequence] = min(first_ns, starts.get(sequence, first_ns))
    return starts


def _refuse_other_columns(rows: Sequence[Rows]) -> None:
    for one in rows[1:]:
        if one.table.names != rows[0].table.names:
            raise RecordingError(
                f"{one.table.path}: row 1: other columns than {rows[0].table.path}; "
                "a map may list under columns those that both have"
            )


def _placed(
    found: Mapping[str, list[Found]], rows: Mapping[str, Mapping[str, Rows]], map: RecordingMap
) -> tuple[dict[str, list[Placed]], list[str]]:
    """Pictures by modality, with the times of their rows or counted; and what was left out."""
    placed: dict[str, list[Placed]] = {}
    told: list[str] = []
    starts = _written_starts(rows)
    for key, chosen in map.modalities.items():
        if not chosen.pictures:
            continue
        _refuse_doubled(found[key])
        paired = map.paired_with
        by_number = paired is not None and map.of(paired).frame_column is not None
        if paired is None or not (by_number or chosen.rate_hz is None):
            placed[key] = counted_pictures(found[key], chosen, starts)
            continue
        pairing = Pairing(rows[paired], map.of(paired), chosen.sequenced)
        placed[key], unpaired = pairing.place(found[key], key, chosen.first_frame)
        told += unpaired
    return placed, told


def _refuse_doubled(pictures: Sequence[Found]) -> None:
    seen: dict[tuple[str, int], Found] = {}
    doubled = [
        (before, one)
        for one in pictures
        if (before := seen.setdefault((one.sequence, one.frame), one)) is not one
    ]
    if doubled:
        before, one = doubled[0]
        raise RecordingError(
            f"{one.file}: picture {one.frame} again, as {before.file.name} "
            f"({several(len(doubled), 'such file')}); keep one of each"
        )


def _complete(rows: Mapping[str, Rows], chosen: ModalityMap) -> tuple[dict[str, Rows], list[str]]:
    """Offsets added and rows with an empty or NaN cell left out; and what there is to tell."""
    kept, count, first = {}, 0, ""
    for sequence, one in rows.items():
        finite = np.isfinite(one.table.values[one.places])
        whole = finite.all(axis=1)
        if not whole.all():
            at = int(np.argmin(whole))
            column = one.table.names[int(np.argmin(finite[at]))]
            row = one.table.rows[one.places[at]]
            first = first or f"{one.table.path}: row {row}, column {column!r}"
            count += int((~whole).sum())
        if whole.any():
            times_ns = one.times_ns[whole] + chosen.offset_ns
            kept[sequence] = Rows(table=one.table, places=one.places[whole], times_ns=times_ns)
    told = f"{several(count, 'row')} with an empty or NaN cell left out, the first {first}"
    return kept, [told] if count else []


def _takes(
    rows: Mapping[str, Mapping[str, Rows]],
    placed: Mapping[str, Sequence[Placed]],
    chosen: Mapping[str, ModalityMap],
) -> tuple[list[Take], list[str]]:
    pictures = {key: _by_sequence(one, chosen[key].offset_ns) for key, one in placed.items()}
    streams: dict[str, Mapping[str, object]] = {**rows, **pictures}
    names = sorted({name for one in streams.values() for name in one}, key=natural_order)
    told = []
    for key, one in streams.items():
        lacking = [name for name in names if name not in one]
        if lacking:
            told.append(
                f"{several(len(lacking), 'sequence')} without {key} left out: {listed(lacking)}"
            )
    takes = [
        Take(
            name=name,
            rows={key: one[name] for key, one in rows.items()},
            pictures={key: one[name] for key, one in pictures.items()},
        )
        for name in names
        if all(name in one for one in streams.values())
    ]
    return takes, told


def _by_sequence(placed: Sequence[Placed], offset_ns: int) -> dict[str, Pictures]:
    ordered = sorted(placed, key=lambda one: (one.sequence, one.time_ns, one.found.frame))
    grouped: dict[str, list[Placed]] = {}
    for one in ordered:
        grouped.setdefault(one.sequence, []).append(one)
    return {
        sequence: Pictures(
            files=tuple(one.found.file for one in some),
            times_ns=np.array([one.time_ns for one in some], np.int64) + offset_ns,
        )
        for sequence, some in grouped.items()
    }


def listed(names: Sequence[str]) -> str:
    """Some names and, where there are more, how many."""
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
