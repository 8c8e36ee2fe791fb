"""Which episodes of a recording: ``1-21,25`` in the data set's own numbers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulators.recordings.recording import Episode, RecordingError


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeChoice:
    """Inclusive ranges of episode numbers; a range of one is a number that must exist."""

    ranges: tuple[tuple[int, int], ...] = ()

    def pick(self, episodes: Sequence[Episode], path: Path) -> tuple[Episode, ...]:
        """Those of ``episodes`` that were asked for, in their own order; raises RecordingError."""
        if not self.ranges:
            return tuple(episodes)
        there = {episode.number for episode in episodes}
        for first, last in self.ranges:
            if first == last and first not in there:
                raise RecordingError(f"{path}: no episode {first}; there are {_listed(there)}")
        picked = tuple(
            episode
            for episode in episodes
            if any(first <= episode.number <= last for first, last in self.ranges)
        )
        if not picked:
            raise RecordingError(
                f"{path}: no episode in {self}; there are {_listed(there)}",
            )
        return picked

    def __str__(self) -> str:
        return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in self.ranges) or "all"


EVERY_EPISODE = EpisodeChoice()


def parse_episodes(text: str) -> EpisodeChoice:
    """Read ``1-21``, ``3,5,7-9``; raises RecordingError with the part that is wrong."""
    ranges = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if match is None:
            raise RecordingError(f"#{text}: {part!r} is no episode number and no range like 3-7")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise RecordingError(f"#{text}: the range {part.strip()} runs backwards")
        ranges.append((first, last))
    return EpisodeChoice(ranges=tuple(ranges))


def _listed(numbers: set[int]) -> str:
    """``1-2, 4-5``: runs of numbers for a message."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs) or "none"
