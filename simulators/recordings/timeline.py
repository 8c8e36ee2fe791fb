"""Event time in recordings: one timeline, whatever clocks the files had."""

import re
from collections.abc import Iterable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simulators.recordings.recording import Episode, Record, Recording
from stream.messages import Frame, Reading, TimesNs

NS = 1_000_000_000
START_NS = 946_684_800 * NS  # 2000-01-01 UTC, for recordings whose clocks name no day
EPISODE_GAP_NS = 3 * NS  # between episodes that are laid one after another
ABSOLUTE_NS = 10**9 * NS  # times from 2001 on name a day; smaller ones count from some start


class TimedRecording(Recording, Protocol):
    """A recording that also knows its capture times without decoding a picture."""

    format: str  # what it is stored in, for people

    def capture_times(self, episode: Episode) -> Mapping[str, TimesNs]:
        """Capture times of each modality in one episode, in the order of the records."""
        ...


def first_time_ns(reading: Reading) -> int:
    """Capture time of the oldest sample of a reading."""
    return reading.time_ns if isinstance(reading, Frame) else int(reading.times_ns.min())


def times_of(records: Iterable[Record]) -> dict[str, TimesNs]:
    """Collect the capture times of every modality from its records."""
    parts: dict[str, list[TimesNs]] = {}
    for record in records:
        reading = record.reading
        times = (
            np.array([reading.time_ns], np.int64)
            if isinstance(reading, Frame)
            else reading.times_ns
        )
        parts.setdefault(reading.modality, []).append(times)
    return {name: np.concatenate(times) for name, times in parts.items()}


def measured_rate_hz(times_ns: TimesNs) -> float | None:
    """Readings a second by the median gap of ``times_ns`` (n,), None for one time only."""
    gaps = np.diff(times_ns)
    if not (gaps > 0).any():
        return None
    return round(NS / float(np.median(gaps[gaps > 0])), 3)


def grid_ns(numbers: NDArray[np.int64], rate_hz: float) -> TimesNs:
    """When what is counted by ``numbers`` (n,) happens, from 0 on."""
    return np.array([round(one * NS / rate_hz) for one in numbers.tolist()], np.int64)


def modality_name(text: str) -> str:
    """A name that fits a topic segment, made from a file's or a channel's own name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_") or "modality"
