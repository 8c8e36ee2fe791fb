"""What the engine says of a window, and what the gate lets through."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.messages import Window

Latent = NDArray[np.float32]
FAULTY_SCORE = 1.0  # the calibrated threshold


class LatentState(StrEnum):
    """Where a modality's latent comes from."""

    BYPASSED = "bypassed"  # clean: the encoder's output, bit for bit
    CORRECTED = "corrected"
    IMPUTED = "imputed"
    UNAVAILABLE = "unavailable"
    UNCORRECTED = "uncorrected"  # faulty or absent; the worker was behind and left it at that
    SKIPPED = "skipped"  # the worker was behind and did not judge the window


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """One window with its latents (latent size,), scores and evidence by modality.

    ``session`` is what the engine remembers of the station right after it, as plain data, and
    ``alarm_limit`` the score from which an alarm is due, where 1 is for corrections. All
    mappings are empty for a station that runs without a model, and for a window that was
    ``skipped``; ``corrected`` also where a correction was left out.
    """

    window: Window
    latents: Mapping[str, Latent] = field(default_factory=dict)
    corrected: Mapping[str, Latent] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    model_hash: str = ""
    alarm_limit: float = FAULTY_SCORE
    session: Mapping[str, Any] = field(default_factory=dict)
    skipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GatedLatent:
    """What leaves the worker for one modality; ``values`` is empty where there is no latent."""

    state: LatentState
    values: Latent
    score: float


EMPTY = np.zeros(0, np.float32)


def gate(verdict: Verdict) -> dict[str, GatedLatent]:
    """Let clean latents bypass the corrector untouched, replace faulty and absent ones."""
    views = verdict.window.views
    any_present = any(view.present for view in views.values())
    gated = {}
    for name, view in views.items():
        score = verdict.scores.get(name, 0.0)
        state = _state(verdict, name, view.present, score, any_present)
        gated[name] = GatedLatent(state=state, values=_values(verdict, name, state), score=score)
    return gated


def _state(
    verdict: Verdict, name: str, present: bool, score: float, any_present: bool
) -> LatentState:
    if verdict.skipped:
        return LatentState.SKIPPED
    if name not in verdict.latents or not any_present:
        return LatentState.UNAVAILABLE
    if present and score < FAULTY_SCORE:
        return LatentState.BYPASSED
    if name not in verdict.corrected:
        return LatentState.UNCORRECTED
    return LatentState.CORRECTED if present else LatentState.IMPUTED


def _values(verdict: Verdict, name: str, state: LatentState) -> Latent:
    if state is LatentState.BYPASSED:
        return verdict.latents[name]
    if state in (LatentState.CORRECTED, LatentState.IMPUTED):
        return verdict.corrected[name]
    return EMPTY
