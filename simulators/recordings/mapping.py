"""What a recording's files do not say themselves, in a small YAML file (``kind: recording``)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from simulators.recordings.patterns import FRAME, SEQUENCE, checked_pattern
from simulators.recordings.recording import RecordingError
from simulators.recordings.timeline import modality_name
from stream.config import Name, Positive, Settings, parse, read_mapping

TimeUnit = Literal["s", "ms", "us", "ns"]
FOR_PICTURES = frozenset({"first_frame", "max_size_px"})
FOR_TABLES = frozenset(
    {"columns", "units", "header", "time_column", "time_unit", "frame_column", "sequence_column"}
)
NEED_FILES = frozenset({"first_frame", "frame_column", "sequence_column", "incomplete"})


class ModalityMap(Settings):
    """One modality, under the name that the recording itself has for it.

    ``columns`` picks from a CSV, in this order; ``units`` are by column. ``offset_ms`` is
    added to the modality's times. ``max_size_px`` bounds the longer side of an image.
    ``header`` names the columns of a CSV that has no header row.

    ``files`` finds numbered pictures, ``{sequence}/images/frame_{frame}.png``, or CSVs,
    ``{sequence}/joints.csv``, below the recording's folder. ``first_frame`` is the number of the
    picture that belongs to a sequence's first row; ``frame_column`` has for each row the number of
    its picture, ``sequence_column`` the sequence it belongs to. ``incomplete`` says what becomes of
    rows with an empty or NaN cell and of pictures cut short.
    """

    rename: Name | None = None
    files: Annotated[str, AfterValidator(checked_pattern)] | None = None
    first_frame: Annotated[int, Field(ge=0)] = 0
    header: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    frame_column: str | None = None
    sequence_column: str | None = None
    incomplete: Literal["refuse", "leave_out"] = "refuse"
    columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    units: dict[str, str] = Field(default_factory=dict)
    rate_hz: Positive | None = None
    time_column: str | None = None
    time_unit: TimeUnit = "s"
    offset_ms: float = 0.0
    max_size_px: Annotated[int, Field(ge=16)] | None = None

    @property
    def offset_ns(self) -> int:
        """``offset_ms`` in nanoseconds."""
        return round(self.offset_ms * 1e6)

    @property
    def pictures(self) -> bool:
        """Whether ``files`` are pictures, not CSVs."""
        return self.files is not None and FRAME in self.files

    @property
    def sequenced(self) -> bool:
        """Whether its files or its rows tell which sequence they belong to."""
        return SEQUENCE in (self.files or "") or self.sequence_column is not None

    @model_validator(mode="after")
    def _keys_belong_together(self) -> "ModalityMap":
        given = self.model_fields_set
        if self.files is None:
            if misplaced := sorted(given & NEED_FILES):
                raise ValueError(f"{', '.join(misplaced)} may only stand beside files")
            return self
        kind, others = ("pictures", FOR_TABLES) if self.pictures else ("a CSV", FOR_PICTURES)
        if misplaced := sorted(given & others):
            raise ValueError(f"{', '.join(misplaced)} may not stand beside files of {kind}")
        if SEQUENCE in self.files and self.sequence_column is not None:
            raise ValueError(f"has both {SEQUENCE} in files and a sequence_column; keep one")
        return self


class RecordingMap(Settings):
    """How to read a recording; ``note`` is shown by ``weldfusion info``.

    ``episode_s`` cuts the sequences of numbered pictures into episodes of about that length.
    """

    kind: Literal["recording"]
    note: str = ""
    episode_s: Positive | None = None
    modalities: dict[str, ModalityMap] = Field(default_factory=dict)

    @property
    def numbered(self) -> bool:
        """Whether it finds its files by patterns."""
        return any(one.files is not None for one in self.modalities.values())

    @property
    def paired_with(self) -> str | None:
        """The first CSV whose rows give numbered pictures their times; None where none must."""
        tables = {key: one for key, one in self.modalities.items() if not one.pictures}
        by_number = [key for key, one in tables.items() if one.frame_column is not None]
        counted = [one for one in self.modalities.values() if one.pictures and one.rate_hz is None]
        if by_number:
            return by_number[0]
        return next(iter(tables), None) if counted else None

    @model_validator(mode="after")
    def _modalities_fit(self) -> "RecordingMap":
        if not self.numbered:
            if self.episode_s is not None:
                raise ValueError("episode_s needs modalities with files")
            return self
        if without := [key for key, one in self.modalities.items() if one.files is None]:
            raise ValueError(f"modalities.{without[0]} has no files, others have")
        self._check_times()
        self._check_sequences()
        return self

    def _check_times(self) -> None:
        tables = [one for one in self.modalities.values() if not one.pictures]
        by_number = any(one.frame_column is not None for one in tables)
        one_file = len({one.files for one in tables}) == 1
        for key, one in self.modalities.items():
            if by_number and "first_frame" in one.model_fields_set:
                raise ValueError(f"modalities.{key}.first_frame is not for a CSV's frame_column")
            if one.pictures and one.rate_hz is None and not (by_number or one_file):
                raise ValueError(f"modalities.{key} needs rate_hz, or a CSV with a frame_column")

    def _check_sequences(self) -> None:
        paired = self.modalities.get(self.paired_with or "")
        by_row = paired is not None and paired.sequence_column is not None
        split = {one.sequenced for one in self.modalities.values() if not (one.pictures and by_row)}
        if len(split) > 1:
            key = next(key for key, one in self.modalities.items() if not one.sequenced)
            raise ValueError(
                f"modalities.{key} does not tell its sequences, others do: put {SEQUENCE} into its "
                "files, or name a sequence_column"
            )

    def of(self, stored: str) -> ModalityMap:
        """What the map says of the modality that is stored under this name."""
        return self.modalities.get(stored, UNMAPPED)

    def names(self, stored: Iterable[str], path: Path) -> dict[str, str]:
        """Stored name -> modality name; raises RecordingError for a key or a name twice."""
        stored = list(stored)
        for key in self.modalities:
            if key not in stored:
                raise RecordingError(
                    f"{path}: the map's modalities.{key} is not in the recording, "
                    f"which has {', '.join(stored) or 'nothing'}"
                )
        names = {one: self.of(one).rename or modality_name(one) for one in stored}
        taken: dict[str, str] = {}
        for one, name in names.items():
            if name in taken:
                raise RecordingError(
                    f"{path}: {taken[name]!r} and {one!r} would both be modality {name!r}; "
                    "rename one in a map"
                )
            taken[name] = one
        return names

    def with_rate(self, stored: str, rate_hz: float) -> "RecordingMap":
        """The same map with another rate for one modality."""
        changed = self.of(stored).model_copy(update={"rate_hz": rate_hz})
        return self.model_copy(update={"modalities": {**self.modalities, stored: changed}})


UNMAPPED = ModalityMap()
NO_MAP = RecordingMap(kind="recording")


def read_map(path: Path) -> RecordingMap:
    """Read a map file; raises ConfigError naming every wrong key."""
    return parse(read_mapping(path), RecordingMap, str(path))
