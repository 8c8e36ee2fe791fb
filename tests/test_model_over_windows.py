"""Verdicts on five windows in a row, against counts done by hand."""

import math

import numpy as np
import pytest

from model.evaluation import CLEAN, classify
from model.judged import Judged
from model.over_windows import accumulated, against_others, over_windows

ARM = 0


def episodes(*faults: str, arm: float = 3.0) -> tuple[Judged, np.ndarray]:
    """One episode for each string, a window for each sign: "." clean, "a" and "b" faults of the
    arm, which score ``arm``, and " " a window that is left out."""
    signs = [(number, at, one) for number, text in enumerate(faults) for at, one in enumerate(text)]
    kept = [(number, at, one) for number, at, one in signs if one != " "]
    hit = np.array([one != "." for *_, one in kept])
    judged = Judged(
        scores={"arm": np.where(hit, arm, 0.0), "camera": np.zeros(len(kept))},
        truth=np.where(hit, ARM, CLEAN),
        episode=np.array([number for number, *_ in kept]),
        fault=tuple("" if one == "." else f"arm.{one}" for *_, one in kept),
        severity=np.where(hit, 0.5, 0.0),
        effect=np.where(hit, 4.0, 0.0),
    )
    return judged, np.array([at for _, at, _ in kept])


def scored(values: np.ndarray, episode: np.ndarray) -> Judged:
    """Clean windows with scores of the arm."""
    zeros = np.zeros(len(values))
    return Judged(
        scores={"arm": values, "camera": zeros - 9},
        truth=np.full(len(values), CLEAN),
        episode=episode,
        fault=("",) * len(values),
        severity=zeros,
        effect=zeros,
    )


def test_a_verdict_is_on_the_mean_score_of_the_last_five_windows() -> None:
    judged = scored(np.array([0.0, 1, 2, 3, 4, 10]), np.zeros(6, np.int64))
    assert accumulated(judged, np.arange(6)).scores["arm"].tolist() == [2.0, 4.0]


def test_five_windows_count_as_faulty_only_where_all_are_of_one_fault() -> None:
    judged, place = episodes("......aaaaaabbbb......")
    five = accumulated(judged, place)
    assert five.fault == ("", "", "arm.a", "arm.a", "", "")


def test_windows_of_two_episodes_or_around_one_left_out_are_not_in_a_row() -> None:
    assert len(accumulated(*episodes("....", "...."))) == 0
    assert len(accumulated(*episodes("... ...."))) == 0
    assert len(accumulated(*episodes(".....", "......"))) == 3


def test_a_fault_is_as_visible_as_the_clearest_of_its_five_windows() -> None:
    judged, place = episodes("aaaaaa")
    judged.effect[:] = [0.2, 5.0, 0.3, 0.1, 0.1, 0.1]
    assert accumulated(judged, place).effect.tolist() == [5.0, 5.0]
    judged.effect[1] = 0.4
    assert len(accumulated(judged, place).visible()) == 0


def test_no_window_sets_its_own_threshold() -> None:
    """One episode lies far above the others: by its own windows it would hardly be raised."""
    random = np.random.default_rng(1)
    episode = np.repeat([0, 1, 2], 500)
    clean = scored(random.normal(0, 1, 1500) + np.where(episode == 2, 20.0, 0.0), episode)
    raised = classify(against_others(clean, clean).scores) != CLEAN
    assert raised[episode == 2].all()
    assert not raised[episode != 2].any()  # their threshold is that of the loud one


def test_as_many_clean_windows_are_raised_as_were_asked_for() -> None:
    random = np.random.default_rng(2)
    clean = scored(random.normal(5, 3, 8000), np.repeat(np.arange(8), 1000))
    raised = classify(against_others(clean, clean, rate=0.05).scores) != CLEAN
    assert raised.mean() == pytest.approx(0.05, abs=0.01)


def test_noise_that_drowns_a_fault_in_one_window_does_not_in_five() -> None:
    judged, place = episodes(*["." * 30 + "a" * 15 + "." * 30] * 6, arm=1.5)
    clean, clean_place = episodes(*["." * 75] * 6)
    random = np.random.default_rng(3)
    for one in (judged, clean):
        one.scores["arm"][:] += random.normal(0, 0.5, len(one))
    found = over_windows(judged, place, clean, clean_place)
    assert found["macro_f1"] > 0.6
    assert found["visible"] == found["macro_f1"]
    assert found["windows"] == 6 * (26 + 11 + 26)
    assert found["left_out"] == 6 * 12
    assert found["interval"][0] <= found["macro_f1"] <= found["interval"][1]
    assert 0 < found["measured_far"] < 0.05


def test_one_clean_episode_sets_no_threshold_and_nothing_is_known() -> None:
    found = over_windows(*episodes("aaaaaa......"), *episodes("............"))
    assert math.isnan(found["macro_f1"])
    assert math.isnan(found["measured_far"])
    assert (found["windows"], found["left_out"]) == (4, 8)
    short = over_windows(*episodes("a"), *episodes("....", "...."))
    assert math.isnan(short["macro_f1"])
    assert (short["windows"], short["left_out"]) == (0, 1)
