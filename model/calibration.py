"""From evidences to scores: 0 is a typical clean window, 1 the threshold for 1 % false alarms.

Each evidence is put on the scale ``(e - q99.5) / (q99.5 - median)`` of clean calibration windows,
a modality's are fused by their maximum, and the maxima are put on a common scale on which the
chance that *any* modality of a clean window exceeds 1 is the first false alarm rate. An evidence of
NaN says nothing yet, as one that waits for its session to show what is usual, and does not count.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from model.baseline import Habit

Floats: TypeAlias = NDArray[np.float64]
Evidences: TypeAlias = Mapping[str, Mapping[str, Floats]]
Numbers: TypeAlias = Mapping[str, ArrayLike]  # by evidence: of many windows (N,), of one a number
Flags: TypeAlias = NDArray[np.bool_]
NO_NAMES: Mapping[str, tuple[str, ...]] = {}
Habits: TypeAlias = Mapping[str, Habit]
NO_HABITS: Habits = {}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scale(_Frozen):
    """``(value - offset) * gain``."""

    offset: float
    gain: float

    def apply(self, values: ArrayLike) -> Floats:
        """Return ``values`` on this scale."""
        scaled: Floats = np.subtract(values, self.offset) * self.gain
        return scaled


class Fused(_Frozen):
    """The scale of each evidence of a modality, and of their maximum."""

    evidence: dict[str, Scale]
    score: Scale


class ModalityCalibration(_Frozen):
    """``absolute`` holds at all times; ``relative`` to a session's habits once they are known.

    Where there is a relative one, the absolute bridges a session's first windows only, and its
    threshold is several times as far: on a real robot five of six new sessions lay beyond the
    plain one, at up to 2.6 times, for no other reason than another resting pose.
    ``shifted`` names the evidences that have habits, and ``spreads`` what they usually spread by:
    the median is subtracted, and where a session spreads by more, what remains is divided by how
    many times more. ``disabled`` names those left out, and why.
    ``crossed`` ones compare this modality with another, and count only while no other modality is
    faulty by its own evidence: then it is that one which does not fit.
    """

    absolute: Fused
    relative: Fused | None = None
    shifted: tuple[str, ...] = ()
    spreads: dict[str, float] = {}
    crossed: tuple[str, ...] = ()
    disabled: dict[str, str] = {}


class Calibration(_Frozen):
    """All scales, with the thresholds on the score for each false alarm rate.

    ``thresholds`` are keyed by the rate, such as "0.01", then by the precision they hold in.
    Evidence is computed in single precision whatever the networks use, so both are the same.
    """

    modalities: dict[str, ModalityCalibration]
    thresholds: dict[str, dict[str, float]]
    windows: int
    episodes: int

    def alarm_limit(self, precision: str) -> float:
        """Return the score from which an alarm is due: the threshold for the rarest rate.

        A window beyond 1 is corrected, and being wrong in one of a hundred costs little; an alarm
        calls a person.
        """
        return max(limits[precision] for limits in self.thresholds.values())

    def score(
        self,
        evidence: Mapping[str, Numbers],
        present: Mapping[str, ArrayLike],
        habits: Mapping[str, Habits] | None = None,
    ) -> dict[str, Floats]:
        """Return the score of each modality: 0 for absent ones, never NaN.

        Of N windows everything is (N,), of one it may be plain numbers. ``habits[modality][name]``
        are the session's, NaN or left out where there are none yet.
        """
        own, whole = (
            {
                name: _modality_score(
                    self.modalities[name],
                    _without(values, left_out(self.modalities[name])),
                    present[name],
                    (habits or {}).get(name, NO_HABITS),
                )
                for name, values in evidence.items()
            }
            for left_out in (_crossed, _nothing)
        )
        faulty = {name: np.asarray(score > 1) for name, score in own.items()}
        return {
            name: np.where(_any_other(faulty, name), own[name], score)
            for name, score in whole.items()
        }


def _crossed(calibration: ModalityCalibration) -> tuple[str, ...]:
    return calibration.crossed


def _nothing(calibration: ModalityCalibration) -> tuple[str, ...]:
    return ()


def _without(values: Numbers, names: tuple[str, ...]) -> Numbers:
    return {name: one for name, one in values.items() if name not in names} if names else values


def _any_other(flags: Mapping[str, Flags], name: str) -> Flags:
    others = [one for other, one in flags.items() if other != name]
    return np.any(np.stack(others), axis=0) if others else np.zeros(np.shape(flags[name]), np.bool_)


def _modality_score(
    calibration: ModalityCalibration,
    values: Numbers,
    present: ArrayLike,
    habits: Habits,
) -> Floats:
    score = _fused(calibration.absolute, values)
    if calibration.relative is not None:
        shifted = beside_habits(values, calibration.shifted, habits, calibration.spreads)
        relative = _fused(calibration.relative, shifted)
        score = np.where(any_said(shifted, calibration.shifted), relative, score)
    return np.where(np.isnan(score) | ~np.asarray(present), 0.0, score)


def beside_habits(
    values: Numbers, names: Collection[str], habits: Habits, spreads: Mapping[str, float]
) -> dict[str, Floats]:
    """Return evidence with those of ``names`` beside the session's habits, NaN where it has none.

    ``spreads`` are the usual ones; without, in a checkpoint from before they counted, the median
    alone is subtracted.
    """

    def beside(name: str, one: ArrayLike) -> Floats:
        if name not in habits:
            return np.full(np.shape(one), np.nan)
        moved: Floats = np.subtract(one, habits[name].median)
        if name not in spreads:
            return moved
        return moved / np.maximum(np.asarray(habits[name].spread) / spreads[name], 1.0)

    return {
        name: beside(name, one) if name in names else np.asarray(one)
        for name, one in values.items()
    }


def _fused(fused: Fused, values: Numbers) -> Floats:
    calibrated = [
        scale.apply(values[name]) for name, scale in fused.evidence.items() if name in values
    ]
    return fused.score.apply(reduce(np.fmax, calibrated))


def any_said(values: Mapping[str, Floats], names: Iterable[str]) -> Flags:
    """Return in which windows (N,), or whether in one, any of ``names`` is not NaN."""
    said = [np.isfinite(values[name]) for name in names if name in values]
    return np.any(np.stack(said), axis=0) if said else np.zeros((), np.bool_)
