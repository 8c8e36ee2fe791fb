"""How well the right modality is named, over a whole test set and over parts of it."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from model.evaluation import (
    CLEAN,
    Classes,
    auroc,
    bootstrap,
    class_figures,
    classify,
    operating_point,
    share_of,
    threshold_at,
)
from model.judged import Judged
from model.recall import EFFECT_BOUNDS

Interval = tuple[float, float]
ANY = "any"  # beside the modalities' names: whichever of them scores highest
DRAWS = 1000
UNKNOWN: Interval = (float("nan"), float("nan"))


class MacroF1(TypedDict):
    """The mean F1 over the classes that have windows, its 95 % interval, and on how many faults."""

    macro_f1: float
    interval: Interval
    faulty_windows: int


class RecallPoint(TypedDict):
    """Recall of one modality's faults above a threshold on its score, with its 95 % interval.

    ``measured_far`` is the share of clean windows that lie above the same threshold.
    """

    threshold: float
    recall: float
    interval: Interval
    measured_far: float


class Share(TypedDict):
    """A share of windows with its 95 % interval."""

    share: float
    interval: Interval


def judged_macro_f1(judged: Judged, draws: int = DRAWS, seed: int = 0) -> MacroF1:
    """Return macro F1 at threshold 1, bootstrapped by episode.

    A class without windows is left out of the mean: faults held out of training need not be of
    every modality.
    """
    predicted, names = classify(judged.scores), judged.names

    def statistic(index: NDArray[np.int64]) -> float:
        return _mean_f1(judged.truth[index], predicted[index], names)

    return MacroF1(
        macro_f1=_mean_f1(judged.truth, predicted, names),
        interval=bootstrap(statistic, judged.episode, draws, seed=seed),
        faulty_windows=int((~judged.clean).sum()),
    )


def macro_f1_from_effects(judged: Judged) -> dict[str, float]:
    """Return the macro F1 of finding every fault from an effect on, and nothing else.

    It says what a test can tell: how much of it drowns in the sensor's noise. Keys are effects in
    standard deviations of that noise.
    """
    reach = {bound: judged.effect >= bound for bound in EFFECT_BOUNDS}
    return {
        f"{bound:g}": _mean_f1(judged.truth, np.where(found, judged.truth, CLEAN), judged.names)
        for bound, found in reach.items()
    }


def _mean_f1(truth: Classes, predicted: Classes, names: Sequence[str]) -> float:
    figures = class_figures(truth, predicted, names)
    there = [("clean", *names)[at + 1] for at in np.unique(truth)]
    return float(np.mean([figures[name]["f1"] for name in there]))


def aurocs(judged: Judged) -> dict[str, float]:
    """Return how well each modality's score ranks its own faults above clean windows.

    ``any`` ranks the largest score of each window, all faults against clean. Windows in which
    another modality is at fault are no clean ones and count for none of the others.
    """
    clean = judged.clean
    ranked = {
        name: auroc(judged.scores[name][clean], judged.scores[name][judged.truth == at])
        for at, name in enumerate(judged.names)
    }
    highest = np.max([judged.scores[name] for name in judged.names], axis=0)
    return {**ranked, ANY: auroc(highest[clean], highest[~clean])}


def recall_at_rate(
    judged: Judged, modality: str, rate: float, draws: int = DRAWS, seed: int = 0
) -> RecallPoint:
    """Return recall where a share ``rate`` of these very clean windows is raised.

    The threshold is set on the test set, so this compares detectors and promises nothing: it is
    set anew in every draw of the bootstrap. ``measured_far`` is below ``rate`` where clean scores
    tie or are too few.
    """
    scores, clean = judged.scores[modality], judged.clean
    own = judged.truth == judged.names.index(modality)

    def statistic(index: NDArray[np.int64]) -> float:
        if not clean[index].any():
            return float("nan")
        threshold = threshold_at(scores[index][clean[index]], rate)
        return share_of(scores[index][own[index]] > threshold)

    interval = _interval(statistic, judged, own, draws, seed)
    return _point(judged, modality, threshold_at(scores[clean], rate), interval)


def recall_at_threshold(
    judged: Judged, modality: str, threshold: float, draws: int = DRAWS, seed: int = 0
) -> RecallPoint:
    """Return recall at a threshold that was frozen before, as a plant would have it."""
    raised = judged.scores[modality] > threshold
    own = judged.truth == judged.names.index(modality)

    def statistic(index: NDArray[np.int64]) -> float:
        return share_of(raised[index][own[index]])

    return _point(judged, modality, threshold, _interval(statistic, judged, own, draws, seed))


def clean_false_alarms(
    judged: Judged, thresholds: Mapping[str, float], draws: int = DRAWS, seed: int = 0
) -> Share:
    """Return the share of clean windows in which any modality is above its own threshold."""
    raised = np.any([judged.scores[name] > thresholds[name] for name in judged.names], axis=0)
    return _share_of_clean(judged, raised, draws, seed)


def clean_shares(
    judged: Judged, threshold: float, draws: int = DRAWS, seed: int = 0
) -> dict[str, Share]:
    """Return the share of clean windows above ``threshold``, of each modality and of any."""
    raised = {name: judged.scores[name] > threshold for name in judged.names}
    raised[ANY] = np.any(list(raised.values()), axis=0)
    return {name: _share_of_clean(judged, flags, draws, seed) for name, flags in raised.items()}


def _share_of_clean(judged: Judged, raised: NDArray[np.bool_], draws: int, seed: int) -> Share:
    """A single episode says nothing of others, so it has no interval."""

    def statistic(index: NDArray[np.int64]) -> float:
        return share_of(raised[index][judged.truth[index] == CLEAN])

    several = len(np.unique(judged.episode[judged.clean])) > 1
    interval = _interval(statistic, judged, judged.clean, draws, seed) if several else UNKNOWN
    return Share(share=share_of(raised[judged.clean]), interval=interval)


def _point(judged: Judged, modality: str, threshold: float, interval: Interval) -> RecallPoint:
    point = operating_point(judged.scores, judged.truth, modality, threshold)
    return RecallPoint(threshold=threshold, interval=interval, **point)


def _interval(
    statistic: Callable[[NDArray[np.int64]], float],
    judged: Judged,
    counted: NDArray[np.bool_],
    draws: int,
    seed: int,
) -> Interval:
    """Bootstrap a share of the ``counted`` windows; unknown where there are none."""
    if not counted.any():
        return UNKNOWN
    return bootstrap(statistic, judged.episode, draws, seed=seed)
