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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verdict:
    """One window with its latents (latent size,), scores and evidence by modality.

    ``session`` is what the engine remembers of the station right after it, as plain data. All
    mappings are empty for a station that runs without a model.
    """

    window: Window
    latents: Mapping[str, Latent] = field(default_factory=dict)
    corrected: Mapping[str, Latent] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    evidence: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    model_hash: str = ""
    session: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GatedLatent:
    """What leaves the worker for one modality; ``values`` is empty where unavailable."""

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
        if name not in verdict.latents:
            state, values = LatentState.UNAVAILABLE, EMPTY
        elif view.present and score < FAULTY_SCORE:
            state, values = LatentState.BYPASSED, verdict.latents[name]
        elif view.present:
            state, values = LatentState.CORRECTED, verdict.corrected[name]
        elif any_present:
            state, values = LatentState.IMPUTED, verdict.corrected[name]
        else:
            state, values = LatentState.UNAVAILABLE, EMPTY
        gated[name] = GatedLatent(state=state, values=values, score=score)
    return gated
