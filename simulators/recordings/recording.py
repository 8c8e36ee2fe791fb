"""What a recording is, whatever it is stored in."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from stream.messages import Kind, Reading

LACKING = "lacking"  # the metadata that tells what of a recording was not read or has no partner


class RecordingError(Exception):
    """A recording that cannot be read: names the file, the row and what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Modality:
    """One recorded modality. ``rate_hz`` is nominal; ``size_px`` is (height, width) of an image.

    ``noise_sd`` and ``quantum`` are per channel and may be empty: the sensor's own noise and
    quantisation step, known for simulated recordings.
    """

    name: str
    kind: Kind
    rate_hz: float
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    size_px: tuple[int, int] | None = None
    noise_sd: tuple[float, ...] = ()
    quantum: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A stretch of a recording with one draw of its surroundings; bounds in event time."""

    number: int
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One recorded reading: what the wire carried, and when it was logged.

    ``clean`` holds the same samples without the sensor's noise where a simulation knows them.
    """

    log_time_ns: int
    episode: int
    reading: Reading
    clean: Reading | None = None


class Recording(Protocol):
    """A recording opened for reading. ``records`` come in the order of their log times."""

    path: Path
    modalities: Mapping[str, Modality]
    episodes: tuple[Episode, ...]
    metadata: Mapping[str, str]

    def records(self, only: Kind | None = None) -> Iterator[Record]:
        """Yield every record of ``episodes``, episode after episode, or those of one kind."""
        ...


def several(count: int, one: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"
