"""How good a detector is, from scores and the truth; nothing but numpy.

Classes are numbered -1 for clean and 0 … M-1 for the modality at fault, in the order of the
sorted names. Every class weighs the same, however many windows it has.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]
CLEAN = -1


class ClassFigures(TypedDict):
    """Precision, recall and their harmonic mean, of one class."""

    precision: float
    recall: float
    f1: float


class OperatingPoint(TypedDict):
    """Recall of one modality's faults, beside the false alarms that were measured with it."""

    recall: float
    measured_far: float


def classify(scores: Mapping[str, Floats], threshold: float = 1.0) -> Classes:
    """Return the class (N,) of each window: the largest score, clean where none is above."""
    stacked = np.stack([scores[name] for name in sorted(scores)])
    return np.where(stacked.max(0) > threshold, stacked.argmax(0), CLEAN)


def confusion(truth: Classes, predicted: Classes, modalities: int) -> Floats:
    """Return the shares (M + 1, M + 1): rows are the true classes, clean first, and sum to 1.

    A class without windows has a row of zeros.
    """
    counts = np.zeros((modalities + 1, modalities + 1))
    np.add.at(counts, (truth + 1, predicted + 1), 1)
    total = counts.sum(1, keepdims=True)
    shares: Floats = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    return shares


def class_figures(
    truth: Classes, predicted: Classes, names: Sequence[str]
) -> dict[str, ClassFigures]:
    """Return precision, recall and F1 of "clean" and of each modality, classes weighed alike."""
    shares = confusion(truth, predicted, len(names))
    figures: dict[str, ClassFigures] = {}
    for at, name in enumerate(("clean", *names)):
        hit, claimed = shares[at, at], shares[:, at].sum()
        precision = float(hit / claimed) if claimed > 0 else 0.0
        recall = float(hit)
        both = precision + recall
        figures[name] = ClassFigures(
            precision=precision, recall=recall, f1=2 * precision * recall / both if both else 0.0
        )
    return figures


def macro_f1(figures: Mapping[str, ClassFigures]) -> float:
    """Return the mean F1 over classes."""
    return float(np.mean([figure["f1"] for figure in figures.values()]))


def operating_point(
    scores: Mapping[str, Floats], truth: Classes, modality: str, threshold: float
) -> OperatingPoint:
    """Return how many of a modality's faults its own score raises, and how many clean windows."""
    raised = scores[modality] > threshold
    own = truth == sorted(scores).index(modality)
    return OperatingPoint(
        recall=share_of(raised[own]), measured_far=share_of(raised[truth == CLEAN])
    )


def measured_false_alarms(
    scores: Mapping[str, Floats], truth: Classes, threshold: float = 1.0
) -> float:
    """Return the share of clean windows in which any modality is raised."""
    return share_of(classify(scores, threshold)[truth == CLEAN] != CLEAN)


def auroc(clean: Floats, faulty: Floats) -> float:
    """Return the chance that a faulty window scores above a clean one; a tie counts one half.

    The area under the receiver operating characteristic, as a rank statistic (Hanley and McNeil
    1982, "The meaning and use of the area under a ROC curve"). NaN where either has no window.
    """
    if not len(clean) or not len(faulty):
        return float("nan")
    ordered = np.sort(clean)
    below = np.searchsorted(ordered, faulty, "left")
    not_above = np.searchsorted(ordered, faulty, "right")
    return float((below + not_above).mean() / (2 * len(clean)))


def threshold_at(clean: Floats, rate: float) -> float:
    """Return the lowest score above which at most a share ``rate`` of these clean scores lies.

    Too few windows for the rate give their largest score, which none is above; raises ValueError
    for none at all.
    """
    if not len(clean):
        raise ValueError("clean: a threshold needs at least one clean window")
    above = min(int(rate * len(clean) + 1e-9), len(clean) - 1)  # .29 * 100 is 28.999…
    last = len(clean) - 1 - above
    return float(np.partition(clean, last)[last])


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    episode: NDArray[np.int64],
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the interval of ``statistic(index)`` over whole episodes drawn with replacement.

    Windows of one episode are alike, so drawing windows would give far too narrow an interval.
    """
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(episode == number) for number in np.unique(episode)]
    values = []
    for _ in range(draws):
        chosen = random.integers(0, len(members), len(members))
        values.append(statistic(np.concatenate([members[at] for at in chosen])))
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def share_of(flags: NDArray[np.bool_]) -> float:
    """Return the share of flags (N,) that are set, NaN of none."""
    return float(flags.mean()) if len(flags) else float("nan")
