"""What this session's clean windows looked like lately, for one station.

Light, camera mount and resting pose differ from session to session and move the level of evidence
without any fault; subtracting the session's own median takes that out. What is restless by nature,
such as a robot's random motion under a lamp, is allowed for by the session's own spread.
"""

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

WINDOWS = 60
LEAST = 10
HIGH = 0.9


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Habit:
    """What is usual for one evidence: its ``median``, and the ``spread`` from there to the ninth
    decile. Of one window numbers, of many (N,), NaN where nothing is known.
    """

    median: ArrayLike
    spread: ArrayLike


class Baseline:
    """Habits of the last at most 60 windows of a session judged clean, once there are 10."""

    def __init__(self) -> None:
        self._recent: dict[str, dict[str, deque[float]]] = {}

    def add(self, evidence: Mapping[str, Mapping[str, float]], clean: Iterable[str]) -> None:
        """Take in a window's ``evidence[modality][name]`` for the modalities judged ``clean``."""
        for modality in clean:
            recent = self._recent.setdefault(modality, {})
            for name, value in evidence.get(modality, {}).items():
                recent.setdefault(name, deque(maxlen=WINDOWS)).append(float(value))

    def habits(self) -> dict[str, dict[str, Habit]]:
        """Return the habit of each evidence that was seen often enough."""
        return {
            modality: {
                name: Habit(median=median, spread=spread)
                for name, values in recent.items()
                if len(values) >= LEAST
                for median, spread in [_usual(values)]
            }
            for modality, recent in self._recent.items()
        }

    def snapshot(self) -> dict[str, Any]:
        """Return the memory as plain data."""
        return {
            modality: {name: list(values) for name, values in named.items()}
            for modality, named in self._recent.items()
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> "Baseline":
        """Return the baseline that gave ``snapshot``."""
        baseline = cls()
        baseline._recent = {
            modality: {name: deque(values, maxlen=WINDOWS) for name, values in named.items()}
            for modality, named in snapshot.items()
        }
        return baseline


def running_habit(
    values: NDArray[np.float64], episode: NDArray[np.int64], usable: NDArray[np.bool_]
) -> Habit:
    """Return what a `Baseline` would have said before each of N windows of their episodes.

    NaN where fewer than 10 ``usable`` windows came before whose value is not NaN.
    """
    found = np.full((len(values), 2), np.nan)
    for number in np.unique(episode):
        at = np.flatnonzero(episode == number)
        before: deque[float] = deque(maxlen=WINDOWS)
        for index in at:
            if len(before) >= LEAST:
                found[index] = _usual(before)
            if usable[index] and not np.isnan(values[index]):
                before.append(values[index])
    return Habit(median=found[:, 0], spread=found[:, 1])


def running_habits(
    evidence: Mapping[str, Mapping[str, NDArray[np.float64]]],
    episode: NDArray[np.int64],
    usable: Mapping[str, NDArray[np.bool_]],
    names: Mapping[str, Collection[str]],
) -> dict[str, dict[str, Habit]]:
    """Return `running_habit` of each ``evidence[modality][name]`` (N,) among ``names[modality]``.

    ``usable[modality]`` (N,) are the windows that teach habits.
    """
    return {
        modality: {
            name: running_habit(values, episode, usable[modality])
            for name, values in named.items()
            if name in names.get(modality, ())
        }
        for modality, named in evidence.items()
    }


def _usual(values: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(values)
    middle, last = len(ordered) // 2, len(ordered) - 1
    median = (ordered[middle] + ordered[last - middle]) / 2
    return median, ordered[round(HIGH * last)] - median
