"""Recall of the right modality by fault, origin, severity, effect and modality.

Each table is of faulty windows alone and in the order in which it is read; a row without windows
is left out. ``Judged.of_modality`` narrows any of them to one modality.
"""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from model.evaluation import classify, share_of
from model.judged import Judged

TENTHS = tuple(f"{at / 10:.1f}–{(at + 1) / 10:.1f}" for at in range(10))
EFFECT_BOUNDS = (1.0, 2.0, 4.0, 8.0)  # noise standard deviations
EFFECTS = ("<1", "1–2", "2–4", "4–8", "≥8")


class Recall(TypedDict):
    """The share of windows whose fault was laid to the right modality, and of how many.

    Windows of one episode are alike: ``episodes`` tells how much the share can be relied on.
    """

    recall: float
    windows: int
    episodes: int
    median_effect: float


class FaultRecall(Recall):
    """Recall of one fault, with the modality that it hits and where it arises."""

    modality: str
    origin: str


def recall_by_fault(judged: Judged, origins: Mapping[str, str]) -> dict[str, FaultRecall]:
    """Return recall of each fault; ``origins`` gives the origin of every one that occurs."""
    faults = np.array(judged.fault, str)
    rows = {}
    for fault, row in _by(judged, faults, sorted({*judged.fault} - {""})).items():
        at = int(judged.truth[np.flatnonzero(faults == fault)[0]])
        rows[fault] = FaultRecall(**row, modality=judged.names[at], origin=origins[fault])
    return rows


def recall_by_origin(judged: Judged, origins: Mapping[str, str]) -> dict[str, Recall]:
    """Return recall by where faults arise, as ``origins`` gives it for every one that occurs."""
    labels = np.array([origins[fault] if fault else "" for fault in judged.fault], str)
    return _by(judged, labels, list(dict.fromkeys(origins.values())))


def recall_by_modality(judged: Judged) -> dict[str, Recall]:
    """Return recall of the faults of each modality."""
    return _by(judged, np.array(judged.names, str)[judged.truth], judged.names)


def recall_by_severity(judged: Judged) -> dict[str, Recall]:
    """Return recall by tenths of severity; 1 belongs to the last."""
    severity = np.where(judged.clean, 0.0, judged.severity)
    tenth = np.clip(severity * 10, 0, len(TENTHS) - 1).astype(int)
    return _by(judged, np.array(TENTHS)[tenth], TENTHS)


def recall_by_effect(judged: Judged) -> dict[str, Recall]:
    """Return recall by how much the fault changed, in noise standard deviations.

    Severity misleads: a stuck joint at rest leaves no trace.
    """
    found = np.digitize(np.where(judged.clean, 0.0, judged.effect), EFFECT_BOUNDS)
    return _by(judged, np.array(EFFECTS)[found], EFFECTS)


def _by(judged: Judged, labels: NDArray[np.str_], order: Sequence[str]) -> dict[str, Recall]:
    right = classify(judged.scores) == judged.truth
    rows = {}
    for label in order:
        at = (labels == label) & ~judged.clean
        if at.any():
            rows[label] = Recall(
                recall=share_of(right[at]),
                windows=int(at.sum()),
                episodes=len(np.unique(judged.episode[at])),
                median_effect=float(np.median(judged.effect[at])),
            )
    return rows
