"""Where a recording's readings lie in time when they are played again. Pure."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from simulators.faults.registry import Outgoing
from simulators.recordings.recording import Record, Recording
from simulators.recordings.timeline import EPISODE_GAP_NS
from stream.messages import Frame, Reading, Samples


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A reading on the replay's clock, and when it is due there."""

    due_ns: int
    reading: Reading
    clean: Reading | None


class Departures:
    """Messages that wait for their time to be sent; those of one time keep their order."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Outgoing]] = []
        self._number = count()

    def add(self, messages: Iterable[Outgoing]) -> None:
        """Let messages wait."""
        for one in messages:
            heapq.heappush(self._waiting, (one.due_ns, next(self._number), one))

    def until(self, until_ns: int | None) -> Iterator[Outgoing]:
        """Give up those due by then, or all of them, in the order of time."""
        while self._waiting and (until_ns is None or self._waiting[0][0] <= until_ns):
            yield heapq.heappop(self._waiting)[2]


def played(recording: Recording, start_ns: int, loop: bool, keep_times: bool) -> Iterator[Played]:
    """Lay the episodes one after another from ``start_ns``, again and again where looped.

    With ``keep_times`` the readings keep the stamps they were recorded with; only ``due_ns`` runs
    on the replay's clock.
    """
    next_start_ns = start_ns
    while True:
        number, shift_ns, due_ns = None, 0, next_start_ns
        for record in recording.records():
            if record.episode != number:
                gap_ns = EPISODE_GAP_NS if number is not None else 0
                number = record.episode
                shift_ns = due_ns + gap_ns - record.log_time_ns
            due_ns = record.log_time_ns + shift_ns
            yield _played(record, due_ns, 0 if keep_times else shift_ns)
        next_start_ns = due_ns + EPISODE_GAP_NS
        if not loop or number is None:
            return


def _played(record: Record, due_ns: int, shift_ns: int) -> Played:
    clean = None if record.clean is None else shifted(record.clean, shift_ns)
    return Played(due_ns=due_ns, reading=shifted(record.reading, shift_ns), clean=clean)


def shifted(reading: Reading, shift_ns: int) -> Reading:
    """The same reading, captured later."""
    if isinstance(reading, Frame):
        return Frame(
            modality=reading.modality,
            time_ns=reading.time_ns + shift_ns,
            data=reading.data,
            format=reading.format,
        )
    return Samples(
        modality=reading.modality,
        times_ns=reading.times_ns + np.int64(shift_ns),
        values=reading.values,
        names=reading.names,
        units=reading.units,
    )


def duration_s(recording: Recording) -> float:
    """How long the episodes last when they are laid one after another."""
    lengths = [episode.end_ns - episode.start_ns for episode in recording.episodes]
    return (sum(lengths) + EPISODE_GAP_NS * max(len(lengths) - 1, 0)) / 1e9
