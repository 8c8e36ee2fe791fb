"""From evidences to scores: 0 is a typical clean window, 1 the threshold for 1 % false alarms.

Each evidence is put on the scale ``(e - q99.5) / (q99.5 - median)`` of clean calibration windows,
a modality's are fused by their maximum, and the maxima are put on a common scale on which the
chance that *any* modality of a clean window exceeds 1 is the first false alarm rate.
"""

from collections.abc import Collection, Mapping
from functools import reduce
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

from model.baseline import Habit, running_habit
from model.image_evidence import REPETITION

Floats: TypeAlias = NDArray[np.float64]
Evidences: TypeAlias = Mapping[str, Mapping[str, Floats]]
Numbers: TypeAlias = Mapping[str, ArrayLike]  # by evidence: of many windows (N,), of one a number
Flags: TypeAlias = NDArray[np.bool_]
NO_NAMES: Mapping[str, tuple[str, ...]] = {}
Habits: TypeAlias = Mapping[str, Habit]
NO_HABITS: Habits = {}

TAIL = 0.995
LEAST_SCALE = 0.05
LEAST_SPREAD = 0.01
CAUTION = 3.0
REPEATS_ALLOWED = 1e-4  # share of clean windows


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
    threshold is `CAUTION` times as far: on a real robot five of six new sessions lay beyond the
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
    names = calibration.shifted
    if calibration.relative is not None and all(n in habits for n in names if n in values):
        shifted = _shifted(values, names, habits, calibration.spreads)
        relative = _fused(calibration.relative, shifted)
        score = np.where(np.isnan(relative), score, relative)
    return np.where(np.isnan(score) | ~np.asarray(present), 0.0, score)


def _shifted(
    values: Numbers, names: Collection[str], habits: Habits, spreads: Mapping[str, float]
) -> dict[str, Floats]:
    """Return evidence with those of ``names`` beside the session's habits.

    ``spreads`` are the usual ones; without, in a checkpoint from before they counted, the median
    alone is subtracted.
    """

    def beside(name: str, one: ArrayLike) -> Floats:
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
    # the maximum carries NaN through, which marks that a median was missing
    return fused.score.apply(reduce(np.maximum, calibrated))


def calibrate(
    evidence: Evidences,
    present: Mapping[str, Flags],
    episode: NDArray[np.int64],
    rates: tuple[float, ...],
    session_dependent: Mapping[str, frozenset[str]],
    crossed: Mapping[str, tuple[str, ...]] = NO_NAMES,
    left_out: Mapping[str, Collection[str]] = NO_NAMES,
) -> Calibration:
    """Return the calibration on clean windows that nothing was fitted on.

    ``evidence[modality][name]`` (N,); ``session_dependent[modality]`` names the evidences that
    will be judged beside a session's habits, none where no session baseline is kept,
    ``crossed[modality]`` those that compare it with another, and ``left_out[modality]`` those that
    shall not count. Raises ValueError where a modality is never present or nothing of it counts.
    """
    modalities: dict[str, ModalityCalibration] = {}
    joint = np.full(len(episode), -np.inf)
    for name, values in evidence.items():
        usable = present[name]
        if not usable.any():
            raise ValueError(f"{name}: not present in any of the {len(usable)} windows")
        disabled = _disabled(values, usable) | dict.fromkeys(left_out.get(name, ()), "left out")
        kept = {key: value for key, value in values.items() if key not in disabled}
        if not kept:
            raise ValueError(f"{name}: no evidence is left that counts")
        absolute, fused = _fuse(kept, usable)
        relative, spreads = None, dict[str, float]()
        if session_dependent.get(name):
            habits = {
                key: running_habit(value, episode, usable)
                for key, value in kept.items()
                if key in session_dependent[name]
            }
            spreads = _usual_spreads(habits)
            shifted = _shifted(kept, habits, habits, spreads)
            known = usable & np.isfinite(np.stack(list(shifted.values()))).all(0)
            if known.any():
                relative, shifted_fused = _fuse(shifted, known)
                fused = np.where(known, shifted_fused, fused)
        shifted_names = tuple(sorted(session_dependent.get(name, ())))
        modalities[name] = ModalityCalibration(
            absolute=absolute,
            relative=relative,
            shifted=shifted_names,
            spreads=spreads,
            crossed=tuple(crossed.get(name, ())),
            disabled=disabled,
        )
        joint = np.maximum(joint, np.where(usable, fused, -np.inf))
    limits = [_upper(joint[np.isfinite(joint)], 1 - rate) for rate in rates]
    thresholds = {
        f"{rate:g}": dict.fromkeys(("fp32", "bf16"), limit / limits[0])
        for rate, limit in zip(rates, limits, strict=True)
    }
    return Calibration(
        modalities={name: _rescaled(part, limits[0]) for name, part in modalities.items()},
        thresholds=thresholds,
        windows=len(episode),
        episodes=len(np.unique(episode)),
    )


def _disabled(values: Mapping[str, NDArray[np.float64]], usable: Flags) -> dict[str, str]:
    repeats = values.get(REPETITION)
    if repeats is None:
        return {}
    share = float(repeats[usable].mean())
    if share <= REPEATS_ALLOWED:
        return {}
    return {REPETITION: f"{share:.2%} of clean frames repeat the one before"}


def _fuse(
    values: Mapping[str, NDArray[np.float64]], usable: Flags
) -> tuple[Fused, NDArray[np.float64]]:
    scales = {name: _evidence_scale(name, value[usable]) for name, value in values.items()}
    calibrated = [
        (value - scales[name].offset) * scales[name].gain for name, value in values.items()
    ]
    fused = np.max(calibrated, axis=0)
    centre = float(np.median(fused[usable]))
    gain = 1 / max(_upper(fused[usable], 0.99) - centre, LEAST_SCALE)
    score = Scale(offset=centre, gain=gain)
    return Fused(evidence=scales, score=score), (fused - centre) * gain


def _evidence_scale(name: str, clean: NDArray[np.float64]) -> Scale:
    if name == REPETITION:
        return Scale(offset=0.5, gain=20.0)  # clearly below or clearly above everything else
    tail = _upper(clean, TAIL)
    return Scale(offset=tail, gain=1 / max(tail - float(np.median(clean)), LEAST_SCALE))


def _usual_spreads(habits: Habits) -> dict[str, float]:
    """Return what each evidence usually spreads by within a session, where any is known."""
    spreads = {name: np.asarray(one.spread) for name, one in habits.items()}
    known = {name: one[np.isfinite(one)] for name, one in spreads.items()}
    return {
        name: max(float(np.median(one)), LEAST_SPREAD) for name, one in known.items() if len(one)
    }


def _upper(values: NDArray[np.float64], quantile: float) -> float:
    """Return the quantile, and the largest value where there are too few to tell."""
    return float(np.quantile(values, quantile, method="higher"))


def _rescaled(part: ModalityCalibration, limit: float) -> ModalityCalibration:
    def divided(fused: Fused, by: float) -> Fused:
        score = Scale(offset=fused.score.offset, gain=fused.score.gain / by)
        return Fused(evidence=fused.evidence, score=score)

    if part.relative is None:
        return part.model_copy(update={"absolute": divided(part.absolute, limit)})
    return part.model_copy(
        update={
            "absolute": divided(part.absolute, CAUTION * limit),
            "relative": divided(part.relative, limit),
        }
    )
