import numpy as np
import pytest

from model.evaluation import (
    bootstrap,
    class_figures,
    classify,
    confusion,
    macro_f1,
    measured_false_alarms,
    operating_point,
)

SCORES = {
    "camera": np.array([0.2, 1.5, 2.0, 0.1, 0.9]),
    "arm": np.array([0.1, 0.3, 3.0, 1.2, 0.8]),
}


def test_the_larger_score_above_the_threshold_names_the_class():
    # sorted: arm is 0, camera is 1
    assert classify(SCORES).tolist() == [-1, 1, 0, 0, -1]
    assert classify(SCORES, threshold=1.4).tolist() == [-1, 1, 0, -1, -1]


def test_classes_weigh_the_same_however_many_windows_they_have():
    truth = np.array([-1] * 90 + [0] * 10)
    predicted = truth.copy()
    predicted[:9] = 0  # a tenth of the clean windows
    figures = class_figures(truth, predicted, ["arm"])
    assert figures["arm"]["recall"] == 1.0
    assert figures["arm"]["precision"] == pytest.approx(1 / 1.1)
    assert figures["clean"]["recall"] == pytest.approx(0.9)
    assert macro_f1(figures) == pytest.approx((2 / 2.1 + 2 * 0.9 / 1.9) / 2)


def test_a_class_without_windows_scores_zero_and_not_nan():
    figures = class_figures(np.array([-1, 0]), np.array([-1, 0]), ["arm", "camera"])
    assert figures["camera"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert confusion(np.array([-1, 0]), np.array([-1, 0]), 2)[2].sum() == 0


def test_recall_stands_beside_the_false_alarms_measured_with_it():
    truth = np.array([-1, 1, 0, 0, -1])
    point = operating_point(SCORES, truth, "arm", threshold=0.5)
    assert point == {"recall": 1.0, "measured_far": 0.5}
    assert measured_false_alarms(SCORES, truth) == 0.0
    assert measured_false_alarms(SCORES, truth, threshold=0.85) == 0.5


def test_the_bootstrap_draws_whole_episodes():
    episode = np.repeat(np.arange(20), 50)
    values = np.repeat(np.random.default_rng(0).normal(size=20), 50)
    low, high = bootstrap(lambda index: float(values[index].mean()), episode, draws=400)
    assert low < values.mean() < high
    alone = 2 * 1.96 * values.std() / np.sqrt(len(values))
    assert high - low > 3 * alone
