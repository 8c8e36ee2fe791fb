"""Setting the scales of evidence and scores on clean windows that nothing was fitted on."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from model.baseline import running_habits
from model.calibration import (
    NO_NAMES,
    Calibration,
    Evidences,
    Flags,
    Floats,
    Fused,
    Habits,
    ModalityCalibration,
    Scale,
    any_said,
    beside_habits,
)
from model.image_evidence import REPETITION

TAIL = 0.995
LEAST_SCALE = 0.05
LEAST_SPREAD = 0.01
CAUTION = 3.0
REPEATS_ALLOWED = 1e-4  # share of clean windows
TURNS = 8  # of 1 % nominal, one turn left 1.9 % raised, six .9 %


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

    Habits are of windows that were not raised, as they will be at run time: one false alarm leaves
    the next windows less to be judged by, so scales are set anew until they hold with that.
    """
    disabled, kept = _chosen(evidence, present, left_out)
    remembered = present
    for _ in range(TURNS):
        habits = running_habits(kept, episode, remembered, session_dependent)
        modalities, thresholds = _set(kept, present, habits, rates)
        calibration = Calibration(
            modalities={
                name: part.model_copy(
                    update={"crossed": tuple(crossed.get(name, ())), "disabled": disabled[name]}
                )
                for name, part in modalities.items()
            },
            thresholds=thresholds,
            windows=len(episode),
            episodes=len(np.unique(episode)),
        )
        scores = calibration.score(kept, present, habits)
        remembered = {name: flags & (scores[name] <= 1) for name, flags in present.items()}
    return calibration


def _chosen(
    evidence: Evidences, present: Mapping[str, Flags], left_out: Mapping[str, Collection[str]]
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, Floats]]]:
    """Return which evidences of each modality shall not count, and why, and the others."""
    disabled: dict[str, dict[str, str]] = {}
    kept: dict[str, dict[str, Floats]] = {}
    for name, values in evidence.items():
        if not present[name].any():
            raise ValueError(f"{name}: not present in any of the {len(present[name])} windows")
        of_choice = dict.fromkeys(left_out.get(name, ()), "left out")
        disabled[name] = _disabled(values, present[name]) | of_choice
        kept[name] = {key: value for key, value in values.items() if key not in disabled[name]}
        if not kept[name]:
            raise ValueError(f"{name}: no evidence is left that counts")
    return disabled, kept


def _set(
    evidence: Evidences,
    present: Mapping[str, Flags],
    habits: Mapping[str, Habits],
    rates: tuple[float, ...],
) -> tuple[dict[str, ModalityCalibration], dict[str, dict[str, float]]]:
    """Return scales and thresholds for windows that are judged beside these habits."""
    modalities: dict[str, ModalityCalibration] = {}
    joint = np.full(len(next(iter(present.values()))), -np.inf)
    for name, values in evidence.items():
        modalities[name], fused = _modality(values, present[name], habits[name])
        joint = np.fmax(joint, np.where(present[name], fused, -np.inf))
    limits = [_upper(joint[np.isfinite(joint)], 1 - rate) for rate in rates]
    thresholds = {
        f"{rate:g}": dict.fromkeys(("fp32", "bf16"), limit / limits[0])
        for rate, limit in zip(rates, limits, strict=True)
    }
    return {name: _rescaled(one, limits[0]) for name, one in modalities.items()}, thresholds


def _modality(
    values: Mapping[str, Floats], usable: Flags, habits: Habits
) -> tuple[ModalityCalibration, Floats]:
    """Return a modality's scales, and its fused evidence (N,) before the common scale is known."""
    absolute, fused = _fuse(values, usable)
    spreads = _usual_spreads(habits)
    shifted = beside_habits(values, habits, habits, spreads)
    known = usable & any_said(shifted, habits)
    relative = None
    if known.any():
        relative, shifted_fused = _fuse(shifted, known)
        fused = np.where(known, shifted_fused, fused)
    calibration = ModalityCalibration(
        absolute=absolute, relative=relative, shifted=tuple(sorted(habits)), spreads=spreads
    )
    return calibration, fused


def _disabled(values: Mapping[str, NDArray[np.float64]], usable: Flags) -> dict[str, str]:
    disabled = {
        name: "never said anything of a clean window"
        for name, value in values.items()
        if not np.isfinite(value[usable]).any()
    }
    share = float(values[REPETITION][usable].mean()) if REPETITION in values else 0.0
    if share > REPEATS_ALLOWED:
        disabled[REPETITION] = f"{share:.2%} of clean frames repeat the one before"
    return disabled


def _fuse(
    values: Mapping[str, NDArray[np.float64]], usable: Flags
) -> tuple[Fused, NDArray[np.float64]]:
    scales = {
        name: _evidence_scale(name, said)
        for name, value in values.items()
        if len(said := _said(value[usable]))
    }
    fused = np.fmax.reduce([scale.apply(values[name]) for name, scale in scales.items()])
    clean = _said(fused[usable])
    centre = float(np.median(clean))
    gain = 1 / max(_upper(clean, 0.99) - centre, LEAST_SCALE)
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
    known = {name: _said(one) for name, one in spreads.items()}
    return {
        name: max(float(np.median(one)), LEAST_SPREAD) for name, one in known.items() if len(one)
    }


def _said(values: Floats) -> Floats:
    return values[np.isfinite(values)]


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
