"""Patterns that find numbered files: ``{sequence}/images/frame_{frame}.png``."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path, PurePosixPath

SEQUENCE, FRAME = "{sequence}", "{frame}"
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
TABLE_SUFFIX = ".csv"
LARGEST_FRAME = 2**53  # what a number of any CSV still tells exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file that fits a pattern; ``sequence`` is empty and ``frame`` 0 where it names none."""

    file: Path
    sequence: str
    frame: int


def checked_pattern(pattern: str) -> str:
    """The pattern itself; raises ValueError for one that finds neither pictures nor CSVs."""
    suffix = PurePosixPath(pattern).suffix.lower()
    if suffix not in {TABLE_SUFFIX, *IMAGE_SUFFIXES}:
        raise ValueError("must end in .png, .jpg, .jpeg or .csv")
    unknown = set(re.findall(r"\{[^}]*\}?", pattern)) - {SEQUENCE, FRAME}
    if unknown:
        raise ValueError(f"knows {SEQUENCE} and {FRAME}, not {min(unknown)}")
    if (pattern.count(FRAME) == 1) != (suffix != TABLE_SUFFIX) or pattern.count(FRAME) > 1:
        raise ValueError(f"must have {FRAME} once for pictures, and not for a CSV")
    return pattern


def find_files(
    root: Path, patterns: Mapping[str, str]
) -> tuple[dict[str, list[Found]], list[Path]]:
    """The files below ``root`` by pattern's key, and pictures and CSVs that fit none, by name.

    Hidden files and folders are passed over. A file may fit several patterns.
    """
    expressions = {key: _expression(pattern) for key, pattern in patterns.items()}
    found: dict[str, list[Found]] = {key: [] for key in patterns}
    strangers = []
    for file in _data_files(root):
        relative = file.relative_to(root).as_posix()
        matches = [
            (key, match) for key, one in expressions.items() if (match := one.fullmatch(relative))
        ]
        for key, match in matches:
            found[key].append(_found(file, match))
        if not matches:
            strangers.append(file)
    return found, strangers


def whole_number(text: str) -> int | None:
    """A number without a fraction, ``12``, ``012`` or ``12.0``; None for anything else."""
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        return None
    if not number.is_finite() or not 0 <= number < LARGEST_FRAME or number % 1:
        return None
    return int(number)


def sequence_name(text: str) -> str:
    """One name for a sequence, whether a folder calls it ``007`` or a cell ``7``."""
    number = whole_number(text)
    return text.strip() if number is None else str(number)


def natural_order(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts ``weld_2`` before ``weld_10``."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(True, int(one), "") if one.isdecimal() else (False, 0, one) for one in parts]


def _data_files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if file.suffix.lower() in {TABLE_SUFFIX, *IMAGE_SUFFIXES} and not name.startswith("."):
                yield file


def _expression(pattern: str) -> re.Pattern[str]:
    """A sequence may be named twice (``{sequence}/{sequence}_{frame}.png``), then alike."""
    parts = []
    for part in re.split(r"(\{\w+\})", pattern):
        if part == FRAME:
            parts.append("(?P<frame>[0-9]{1,15})")
        elif part == SEQUENCE:
            named = any("<sequence>" in one for one in parts)
            parts.append("(?P=sequence)" if named else "(?P<sequence>[^/]+?)")
        else:
            parts.append(re.escape(part))
    return re.compile("".join(parts))


def _found(file: Path, match: re.Match[str]) -> Found:
    groups = match.groupdict()
    return Found(
        file=file,
        sequence=sequence_name(groups.get("sequence", "")),
        frame=int(groups.get("frame", 0)),
    )
