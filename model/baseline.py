"""What this session's clean windows looked like lately, for one station.

Light, camera mount and resting pose differ from session to session and move the level of evidence
without any fault; subtracting the session's own median takes that out.
"""

from collections import deque
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOWS = 60
LEAST = 10


class Baseline:
    """Medians of the last at most 60 windows of a session judged clean, once there are 10."""

    def __init__(self) -> None:
        self._recent: dict[str, dict[str, deque[float]]] = {}

    def add(self, evidence: Mapping[str, Mapping[str, float]], clean: Iterable[str]) -> None:
        """Take in a window's ``evidence[modality][name]`` for the modalities judged ``clean``."""
        for modality in clean:
            recent = self._recent.setdefault(modality, {})
            for name, value in evidence.get(modality, {}).items():
                recent.setdefault(name, deque(maxlen=WINDOWS)).append(float(value))

    def medians(self) -> dict[str, dict[str, float]]:
        """Return the median of each evidence that was seen often enough."""
        return {
            modality: {
                name: median(values) for name, values in recent.items() if len(values) >= LEAST
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


def running_medians(
    values: NDArray[np.float64], episode: NDArray[np.int64], usable: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return (N,) what a `Baseline` would have said before each window of its episode.

    NaN where fewer than 10 ``usable`` windows came before.
    """
    medians = np.full(len(values), np.nan)
    for number in np.unique(episode):
        at = np.flatnonzero(episode == number)
        before: deque[float] = deque(maxlen=WINDOWS)
        for index in at:
            if len(before) >= LEAST:
                medians[index] = median(before)
            if usable[index]:
                before.append(values[index])
    return medians
