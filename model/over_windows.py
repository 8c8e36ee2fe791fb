"""One verdict on several windows in a row: how much more certain a little patience makes."""

from dataclasses import replace
from typing import TypedDict

import numpy as np

from model.detection import UNKNOWN, Interval, MacroF1, judged_macro_f1
from model.evaluation import CLEAN, classify, share_of, threshold_at
from model.judged import Judged
from model.windows import Index

IN_A_ROW = 5
NAN = float("nan")
RATE = 1e-2  # of clean windows that may be raised


class OverWindows(TypedDict):
    """Macro F1 of verdicts on five windows in a row, its interval, and of visible faults only.

    ``windows`` are those that end five alike, ``left_out`` the others of those judged one by one;
    ``measured_far`` is the share of clean fives that are raised.
    """

    macro_f1: float
    interval: Interval
    visible: float
    windows: int
    left_out: int
    measured_far: float


def over_windows(judged: Judged, place: Index, clean: Judged, clean_place: Index) -> OverWindows:
    """Return the figures of verdicts on five windows in a row.

    ``clean`` are whole episodes without a fault, by which the threshold is set: an episode's by
    those of all others, so that no window sets its own. With fewer than two of them nothing is
    known. ``place`` and ``clean_place`` as `accumulated` takes them.
    """
    five, clean_five = accumulated(judged, place), accumulated(clean, clean_place)
    whole, visible, far = MacroF1(macro_f1=NAN, interval=UNKNOWN, faulty_windows=0), NAN, NAN
    if len(five) and len(np.unique(clean_five.episode)) > 1:
        moved, clean_moved = (against_others(one, clean_five) for one in (five, clean_five))
        whole, visible = judged_macro_f1(moved), judged_macro_f1(moved.visible())["macro_f1"]
        far = share_of(classify(clean_moved.scores) != CLEAN)
    return OverWindows(
        macro_f1=whole["macro_f1"],
        interval=whole["interval"],
        visible=visible,
        windows=len(five),
        left_out=len(judged) - len(five),
        measured_far=far,
    )


def accumulated(judged: Judged, place: Index, in_a_row: int = IN_A_ROW) -> Judged:
    """Return one window for each that ends ``in_a_row`` of one episode, all clean or of one fault.

    Its scores are their means, its effect the largest of theirs. ``place`` (N,) counts the windows
    of an episode as they came: where it skips one, nothing is in a row.
    """
    fault = np.array(judged.fault, str)
    begins = np.ones(len(judged), np.bool_)
    begins[1:] = (np.diff(judged.episode) != 0) | (np.diff(place) != 1) | (fault[1:] != fault[:-1])
    at = np.arange(len(judged))
    since = at - np.maximum.accumulate(np.where(begins, at, 0))
    ends = np.flatnonzero(since >= in_a_row - 1)
    rows = ends[:, None] - np.arange(in_a_row)
    return replace(
        judged.at(ends),
        scores={name: values[rows].mean(1) for name, values in judged.scores.items()},
        effect=judged.effect[rows].max(1),
    )


def against_others(judged: Judged, clean: Judged, rate: float = RATE) -> Judged:
    """Return ``judged`` with scores that exceed 1 where they exceed their episode's threshold.

    It is the lowest above which at most a share ``rate`` of the ``clean`` windows of all other
    episodes has any score. Raises ValueError where there are none.
    """
    highest = np.max(list(clean.scores.values()), axis=0)
    limit = np.empty(len(judged))
    for number in np.unique(judged.episode):
        limit[judged.episode == number] = threshold_at(highest[clean.episode != number], rate)
    moved = {name: values - limit + 1 for name, values in judged.scores.items()}
    return replace(judged, scores=moved)
