"""What a recording's files do not say themselves, in a small YAML file (``kind: recording``)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from simulators.recordings.recording import RecordingError
from simulators.recordings.timeline import modality_name
from stream.config import Name, Positive, Settings, parse, read_mapping

TimeUnit = Literal["s", "ms", "us", "ns"]


class ModalityMap(Settings):
    """One modality, under the name that the recording itself has for it.

    ``columns`` picks from a CSV, in this order; ``units`` are by column. ``offset_ms`` is
    added to the modality's times. ``max_size_px`` bounds the longer side of an image.
    """

    rename: Name | None = None
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


class RecordingMap(Settings):
    """How to read a recording; ``note`` is shown by ``weldfusion info``."""

    kind: Literal["recording"]
    note: str = ""
    modalities: dict[str, ModalityMap] = Field(default_factory=dict)

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
