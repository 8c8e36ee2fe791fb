"""A test set with its verdicts: what every figure of a detector is computed from."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.evaluation import CLEAN, Classes, Floats

VISIBLE_EFFECT = 1.0  # noise standard deviations; a smaller change drowns in the sensor's own noise


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """N windows, clean and faulty, those of one episode in time order.

    ``scores[modality]`` (N,): 0 is typical of clean windows, 1 the threshold at which 1 % of the
    calibration's are raised. ``truth`` (N,): -1 for clean, else the faulty modality's place among
    the sorted names. ``episode`` (N,): windows of one number are alike and are drawn together.
    ``fault`` names modality and fault, as in ``camera.dust``, and is empty for clean windows;
    ``severity`` (N,) lies in [0, 1], ``effect`` (N,) is in standard deviations of the sensor's
    noise. Raises ValueError where these do not fit each other.
    """

    scores: Mapping[str, Floats]
    truth: Classes
    episode: NDArray[np.int64]
    fault: tuple[str, ...]
    severity: Floats
    effect: Floats

    def __post_init__(self) -> None:
        if not self.scores:
            raise ValueError("scores: no modality")
        sizes = {f"scores.{name}": len(values) for name, values in self.scores.items()}
        sizes |= {"episode": len(self.episode), "fault": len(self.fault)}
        sizes |= {"severity": len(self.severity), "effect": len(self.effect)}
        for key, size in sizes.items():
            if size != len(self.truth):
                raise ValueError(f"{key}: {size} windows, truth {len(self.truth)}")
        if not np.isin(self.truth, range(CLEAN, len(self.scores))).all():
            raise ValueError(f"truth: must lie in {CLEAN} to {len(self.scores) - 1}")
        if ((np.array(self.fault, str) == "") != self.clean).any():
            raise ValueError("fault: must be empty in clean windows and nowhere else")
        if not (self.effect[~self.clean] >= 0).all():
            raise ValueError("effect: must be 0 or more in every faulty window")

    def __len__(self) -> int:
        return len(self.truth)

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities, sorted."""
        return tuple(sorted(self.scores))

    @property
    def clean(self) -> NDArray[np.bool_]:
        """Which windows (N,) nothing was done to."""
        return np.asarray(self.truth == CLEAN)

    def visible(self) -> "Judged":
        """The clean windows and the faults that changed at least as much as the noise does."""
        return self._beside_clean(self.effect >= VISIBLE_EFFECT)

    def of_faults(self, faults: Collection[str]) -> "Judged":
        """The clean windows and those of some faults, such as families held out of training."""
        return self._beside_clean(np.isin(np.array(self.fault, str), sorted(faults)))

    def of_modality(self, name: str) -> "Judged":
        """The clean windows and those in which one modality was at fault."""
        return self._beside_clean(self.truth == self.names.index(name))

    def _beside_clean(self, chosen: NDArray[np.bool_]) -> "Judged":
        """Keep all clean windows, for fewer of them would flatter the precision."""
        return self.at(np.flatnonzero(chosen | self.clean))

    def at(self, index: NDArray[np.int64]) -> "Judged":
        """Return the windows at ``index``."""
        return Judged(
            scores={name: values[index] for name, values in self.scores.items()},
            truth=self.truth[index],
            episode=self.episode[index],
            fault=tuple(self.fault[at] for at in index),
            severity=self.severity[index],
            effect=self.effect[index],
        )
