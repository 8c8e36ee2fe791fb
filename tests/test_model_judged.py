"""Figures of a judged test set, against counts done by hand and by brute force."""

import math
from itertools import product

import numpy as np
import pytest

from model.detection import (
    aurocs,
    clean_false_alarms,
    clean_shares,
    judged_macro_f1,
    macro_f1_from_effects,
    recall_at_rate,
    recall_at_threshold,
)
from model.evaluation import auroc, threshold_at
from model.judged import Judged
from model.recall import (
    EFFECTS,
    recall_by_effect,
    recall_by_fault,
    recall_by_modality,
    recall_by_origin,
    recall_by_severity,
)

ORIGINS = {"camera.dust": "upstream", "camera.black": "sensor", "arm.stuck": "sensor"}


def judged(**changed: object) -> Judged:
    """Eight windows of two episodes; sorted, arm is 0 and camera is 1."""
    values: dict[str, object] = {
        "scores": {
            "arm": np.array([0.1, 0.2, 1.3, 3.0, 0.1, 0.2, 0.3, 4.0]),
            "camera": np.array([0.2, 0.9, 0.1, 0.5, 2.0, 0.9, 5.0, 0.1]),
        },
        "truth": np.array([-1, -1, -1, 0, 1, 1, 1, 0]),
        "episode": np.array([0, 0, 1, 0, 0, 1, 1, 1]),
        "fault": (
            *("", "", "", "arm.stuck"),
            *("camera.dust", "camera.dust", "camera.black", "arm.stuck"),
        ),
        "severity": np.array([0, 0, 0, 0.05, 0.1, 0.15, 1.0, 0.95]),
        "effect": np.array([0, 0, 0, 0.4, 1.0, 1.9, 8.0, 40.0]),
    }
    return Judged(**{**values, **changed})  # type: ignore[arg-type]


def test_arrays_that_do_not_fit_each_other_are_named() -> None:
    with pytest.raises(ValueError, match="effect: 3 windows, truth 8"):
        judged(effect=np.zeros(3))
    with pytest.raises(ValueError, match=r"scores\.arm: 2 windows"):
        judged(scores={"arm": np.zeros(2), "camera": np.zeros(8)})
    with pytest.raises(ValueError, match="truth: must lie in -1 to 1"):
        judged(truth=np.array([-1, -1, -1, 0, 1, 1, 1, 2]))
    with pytest.raises(ValueError, match="fault: must be empty in clean windows"):
        judged(fault=("camera.dust",) * 8)
    with pytest.raises(ValueError, match="effect: must be 0 or more"):
        judged(effect=np.array([0, 0, 0, np.nan, 1, 1, 1, 1]))


def test_a_part_of_the_faults_keeps_every_clean_window() -> None:
    assert judged().visible().fault.count("") == 3
    assert [one for one in judged().visible().fault if one] == [
        *("camera.dust", "camera.dust", "camera.black", "arm.stuck")
    ]
    assert len(judged().of_faults({"camera.black"})) == 4
    assert judged().of_modality("arm").truth.tolist() == [-1, -1, -1, 0, 0]


def test_macro_f1_of_all_faults_is_the_one_computed_by_hand() -> None:
    # clean 2/3 right and a third of the camera's called clean; arm has a third of the clean ones
    clean = 2 * (2 / 3) * (2 / 3) / (2 / 3 + 2 / 3)
    camera = 2 * 1 * (2 / 3) / (1 + 2 / 3)
    arm = 2 * 0.75 * 1 / (0.75 + 1)
    found = judged_macro_f1(judged(), draws=50)
    assert found["macro_f1"] == pytest.approx((clean + camera + arm) / 3)
    assert found["faulty_windows"] == 5
    low, high = found["interval"]
    assert 0 <= low <= found["macro_f1"] <= high <= 1


def test_finding_every_fault_from_an_effect_on_is_what_the_test_can_tell() -> None:
    found = macro_f1_from_effects(judged())
    assert list(found) == ["1", "2", "4", "8"]
    # one of two of the arm's has an effect of .4, and is called clean
    assert found["1"] == pytest.approx(np.mean([4 / 5, 2 / 3, 1]))
    # of the camera's one of three has an effect above 2
    assert found["2"] == pytest.approx(np.mean([12 / 19, 2 / 3, 1 / 2]))
    assert found["2"] == found["4"] == found["8"]


def test_a_modality_without_faults_does_not_lower_the_macro_f1_of_a_part() -> None:
    clean = 2 * 1 * (2 / 3) / (1 + 2 / 3)  # the third clean window is called arm
    found = judged_macro_f1(judged().of_faults({"camera.black"}), draws=20)
    assert found["macro_f1"] == pytest.approx((clean + 1) / 2)


def test_the_area_under_the_curve_is_the_share_of_pairs_in_the_right_order() -> None:
    random = np.random.default_rng(3)
    clean, faulty = random.integers(0, 6, 40) / 1.0, random.integers(2, 9, 25) / 1.0
    pairs = [1.0 if high > low else 0.5 * (high == low) for low, high in product(clean, faulty)]
    assert auroc(clean, faulty) == pytest.approx(np.mean(pairs))
    assert auroc(np.array([1.0, 2.0]), np.array([3.0])) == 1.0
    assert auroc(np.ones(5), np.ones(7)) == 0.5
    assert math.isnan(auroc(np.ones(5), np.ones(0)))


def test_each_modality_is_ranked_by_its_own_score_and_any_by_the_largest() -> None:
    found = aurocs(judged())
    assert found["arm"] == 1.0  # 3 and 4 above .1, .2 and 1.3
    assert found["camera"] == pytest.approx((3 + 2.5 + 3) / 9)  # .9 ties with one clean window
    # largest: clean .2 .9 1.3, faulty 3 2 .9 5 4
    assert found["any"] == pytest.approx((3 + 3 + 1.5 + 3 + 3) / 15)


@pytest.mark.parametrize(
    ("rate", "above"), [(0.0, 0), (0.001, 0), (0.01, 1), (0.1, 10), (0.29, 29), (0.555, 55)]
)
def test_the_threshold_lets_through_as_many_as_the_rate_allows(rate: float, above: int) -> None:
    clean = np.random.default_rng(1).permutation(np.arange(100.0))
    assert (clean > threshold_at(clean, rate)).sum() == above


def test_tied_clean_scores_keep_the_rate_too() -> None:
    clean = np.array([0.0] * 90 + [1.0] * 10)
    assert threshold_at(clean, 0.05) == 1.0
    assert threshold_at(clean, 0.1) == 0.0
    with pytest.raises(ValueError, match="at least one clean window"):
        threshold_at(np.zeros(0), 0.1)


def test_recall_at_a_rate_is_measured_on_the_same_clean_windows() -> None:
    found = recall_at_rate(judged(), "camera", 0.4, draws=50)
    assert found["threshold"] == 0.2  # one of three clean windows, .9, lies above
    assert found["measured_far"] == pytest.approx(1 / 3)
    assert found["recall"] == 1.0
    strict = recall_at_rate(judged(), "camera", 0.01, draws=50)
    assert (strict["threshold"], strict["measured_far"]) == (0.9, 0.0)
    assert strict["recall"] == pytest.approx(2 / 3)
    low, high = strict["interval"]
    assert low <= 2 / 3 <= high


def test_recall_at_a_frozen_threshold_stands_beside_the_rate_it_has_here() -> None:
    found = recall_at_threshold(judged(), "arm", 1.2, draws=50)
    assert found["recall"] == 1.0
    assert found["measured_far"] == pytest.approx(1 / 3)
    assert found["interval"] == (1.0, 1.0)


def test_a_recall_without_faults_has_no_interval_and_no_value() -> None:
    found = recall_at_rate(judged().of_modality("arm"), "camera", 0.1, draws=20)
    assert math.isnan(found["recall"])
    assert all(math.isnan(end) for end in found["interval"])


def test_the_interval_is_as_wide_as_the_episodes_differ() -> None:
    """One episode of two has all its faults found: drawing windows would hide that."""
    half = np.arange(400) < 200
    many = Judged(
        scores={"arm": np.where(half, 2.0, 0.0)},
        truth=np.zeros(400, np.int64),
        episode=half.astype(np.int64),
        fault=("arm.stuck",) * 400,
        severity=np.ones(400),
        effect=np.ones(400),
    )
    found = recall_at_threshold(many, "arm", 1.0, draws=200)
    assert (found["recall"], found["interval"]) == (0.5, (0.0, 1.0))


def test_a_clean_window_is_a_false_alarm_once_whichever_modality_is_raised() -> None:
    found = clean_false_alarms(judged(), {"arm": 0.15, "camera": 0.5}, draws=50)
    assert found["share"] == pytest.approx(2 / 3)  # the second by both, the third by the arm


def test_what_is_raised_of_clean_windows_is_told_by_modality_and_in_any() -> None:
    found = clean_shares(judged(), 0.85, draws=50)
    assert {name: one["share"] for name, one in found.items()} == {
        "arm": pytest.approx(1 / 3),
        "camera": pytest.approx(1 / 3),
        "any": pytest.approx(2 / 3),
    }
    assert found["arm"]["interval"] == (0.0, 1.0)  # the third window is an episode's only clean one


def test_one_episode_gives_a_share_without_an_interval() -> None:
    found = clean_shares(judged(episode=np.zeros(8, np.int64)), 0.85)
    assert found["any"]["share"] == pytest.approx(2 / 3)
    assert all(math.isnan(end) for end in found["any"]["interval"])


def test_recall_by_fault_tells_modality_origin_and_effect() -> None:
    found = recall_by_fault(judged(), ORIGINS)
    assert list(found) == ["arm.stuck", "camera.black", "camera.dust"]
    assert found["camera.dust"] == {
        "recall": 0.5,
        "windows": 2,
        "episodes": 2,
        "median_effect": pytest.approx(1.45),
        "modality": "camera",
        "origin": "upstream",
    }


def test_recall_by_origin_and_modality_pools_the_faults() -> None:
    by_origin = recall_by_origin(judged(), ORIGINS)
    assert {key: (row["recall"], row["windows"]) for key, row in by_origin.items()} == {
        "upstream": (0.5, 2),
        "sensor": (1.0, 3),
    }
    by_modality = recall_by_modality(judged())
    assert {key: row["recall"] for key, row in by_modality.items()} == {
        "arm": 1.0,
        "camera": pytest.approx(2 / 3),
    }


def test_severities_and_effects_on_a_bound_belong_to_the_bin_above() -> None:
    by_severity = recall_by_severity(judged())
    assert {key: (row["windows"], row["episodes"]) for key, row in by_severity.items()} == {
        "0.0–0.1": (1, 1),
        "0.1–0.2": (2, 2),
        "0.9–1.0": (2, 1),
    }
    by_effect = recall_by_effect(judged())
    assert {key: row["windows"] for key, row in by_effect.items()} == {
        "<1": 1,
        "1–2": 2,
        "≥8": 2,
    }
    bounds = judged(effect=np.array([0, 0, 0, 0.99, 1, 2, 4, 8.0]))
    assert list(recall_by_effect(bounds)) == list(EFFECTS)
