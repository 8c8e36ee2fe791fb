"""Scores on a scale of their own, and the session's baseline."""

import numpy as np
import pytest

from model.baseline import Baseline, Habit, running_habit
from model.calibrating import calibrate
from model.calibration import Calibration

RATES = (0.01, 0.001)


def clean_evidence(windows: int = 4000, seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    random = np.random.default_rng(seed)
    camera = {"components": random.normal(3, 0.5, windows), "repetition": np.zeros(windows)}
    return {"camera": camera, "arm": {"level": random.normal(-1, 2, windows)}}


def calibrated(evidence, session=frozenset(), episodes: int = 10) -> Calibration:
    size = len(evidence["arm"]["level"])
    return calibrate(
        evidence,
        {name: np.ones(size, dtype=np.bool_) for name in evidence},
        np.arange(size) * episodes // size,
        RATES,
        {"camera": session},
    )


def scored(calibration, evidence, habits=None):
    size = len(evidence["arm"]["level"])
    present = {name: np.ones(size, dtype=np.bool_) for name in evidence}
    return calibration.score(evidence, present, habits)


def habit(median: float, spread: float) -> Habit:
    return Habit(median=median, spread=spread)


def test_one_in_a_hundred_clean_windows_raises_any_modality():
    scores = scored(calibrated(clean_evidence()), clean_evidence(seed=1))
    raised = (scores["camera"] > 1) | (scores["arm"] > 1)
    assert raised.mean() == pytest.approx(0.01, abs=0.005)
    assert np.median(scores["camera"]) == pytest.approx(0, abs=0.05)


def test_the_rarer_false_alarm_has_the_higher_threshold():
    thresholds = calibrated(clean_evidence()).thresholds
    assert thresholds["0.01"] == {"fp32": 1.0, "bf16": 1.0}
    assert thresholds["0.001"]["fp32"] > 1.0


def test_an_alarm_is_due_at_the_rarest_false_alarm_rate():
    calibration = calibrated(clean_evidence())
    assert calibration.alarm_limit("bf16") == calibration.thresholds["0.001"]["bf16"]


def test_a_repeated_frame_is_far_above_the_threshold():
    evidence = clean_evidence()
    calibration = calibrated(evidence)
    evidence["camera"]["repetition"] = np.ones_like(evidence["camera"]["repetition"])
    assert scored(calibration, evidence)["camera"].min() > 2


def test_repetition_is_disabled_and_told_where_clean_frames_repeat():
    evidence = clean_evidence()
    evidence["camera"]["repetition"][::50] = 1.0
    calibration = calibrated(evidence)
    assert "2.00% of clean frames" in calibration.modalities["camera"].disabled["repetition"]
    evidence["camera"]["repetition"][:] = 1.0
    assert scored(calibration, evidence)["camera"].max() < 3


def test_a_modality_of_which_nothing_counts_is_refused():
    evidence, flags = clean_evidence(50), np.ones(50, dtype=np.bool_)
    given = evidence, dict.fromkeys(evidence, flags), np.zeros(50, dtype=np.int64), RATES, {}
    left_out = {"camera": ["components", "repetition"]}
    with pytest.raises(ValueError, match="camera: no evidence is left"):
        calibrate(*given, left_out=left_out)


def test_a_session_with_another_light_raises_nothing_once_its_median_is_subtracted():
    random = np.random.default_rng(1)
    evidence = clean_evidence()
    sessions = np.repeat(random.normal(0, 3, 10), 400)
    evidence["camera"]["components"] = evidence["camera"]["components"] + sessions
    calibration = calibrated(evidence, frozenset({"components"}))
    faulty = clean_evidence(100, seed=2)
    faulty["camera"]["components"] += 7.0 + 4.0  # a session never seen, and a fault
    unknown = {"camera": {"components": habit(np.nan, np.nan)}}
    known = {"camera": {"components": habit(10.0, 0.6)}}
    assert (scored(calibration, faulty, known)["camera"] > 1).all()
    assert np.array_equal(
        scored(calibration, faulty, unknown)["camera"], scored(calibration, faulty)["camera"]
    )
    faulty["camera"]["components"] -= 4.0
    assert (scored(calibration, faulty, known)["camera"] > 1).mean() < 0.05


def test_a_calibration_survives_json_unchanged():
    calibration = calibrated(clean_evidence(), frozenset({"components"}))
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration


def test_a_modality_that_was_never_there_cannot_be_calibrated():
    evidence = clean_evidence(50)
    flags = {"camera": np.zeros(50, dtype=np.bool_), "arm": np.ones(50, dtype=np.bool_)}
    with pytest.raises(ValueError, match="camera: not present"):
        calibrate(evidence, flags, np.zeros(50, dtype=np.int64), RATES, {})


def test_a_baseline_speaks_after_ten_clean_windows_and_forgets_after_sixty():
    baseline = Baseline()
    for value in range(9):
        baseline.add({"camera": {"texture": float(value)}}, clean=["camera"])
    assert baseline.habits() == {"camera": {}}
    for value in range(9, 100):
        baseline.add({"camera": {"texture": float(value)}}, clean=["camera"])
    usual = baseline.habits()["camera"]["texture"]
    assert (usual.median, usual.spread) == (69.5, 93 - 69.5)
    baseline.add({"camera": {"texture": 1e9}}, clean=[])
    assert baseline.habits()["camera"]["texture"].median == 69.5


def test_a_restored_baseline_goes_on_as_the_one_that_was_stored():
    baseline = Baseline()
    for value in range(70):
        baseline.add({"camera": {"texture": float(value % 7)}}, clean=["camera"])
    restored = Baseline.restore(baseline.snapshot())
    for each in (baseline, restored):
        each.add({"camera": {"texture": 100.0}}, clean=["camera"])
    assert restored.snapshot() == baseline.snapshot()


def test_a_running_habit_is_what_a_baseline_says_before_each_window():
    random = np.random.default_rng(0)
    values, usable = random.normal(size=150), random.random(150) > 0.2
    episode = np.repeat([0, 1], [90, 60])
    found = running_habit(values, episode, usable)
    for number in (0, 1):
        baseline = Baseline()
        for at in np.flatnonzero(episode == number):
            said = baseline.habits().get("camera", {}).get("texture", habit(np.nan, np.nan))
            assert found.median[at] == pytest.approx(said.median, nan_ok=True)
            assert found.spread[at] == pytest.approx(said.spread, nan_ok=True)
            judged = ["camera"] if usable[at] else []
            baseline.add({"camera": {"texture": values[at]}}, clean=judged)


def test_a_restless_session_raises_no_more_than_a_calm_one_and_a_fault_still_does():
    evidence = clean_evidence()
    calibration = calibrated(evidence, frozenset({"components"}))
    usual = calibration.modalities["camera"].spreads["components"]
    assert usual == pytest.approx(0.5 * 1.28, rel=0.1)
    restless = clean_evidence(4000, seed=3)
    restless["camera"]["components"] = 3 + 4 * (restless["camera"]["components"] - 3)
    of_its_own = {"camera": {"components": habit(3.0, 4 * usual)}}
    of_another = {"camera": {"components": habit(3.0, usual)}}
    assert (scored(calibration, restless, of_its_own)["camera"] > 1).mean() < 0.02
    assert (scored(calibration, restless, of_another)["camera"] > 1).mean() > 0.2
    restless["camera"]["components"] += 4 * 5
    assert (scored(calibration, restless, of_its_own)["camera"] > 1).mean() > 0.95


def raised_in_turn(calibration: Calibration, values: np.ndarray, episode: np.ndarray) -> np.ndarray:
    """Which windows are raised where each is judged by those before it that were not."""
    raised = np.zeros(len(values), np.bool_)
    baseline = Baseline()
    for at in range(len(values)):
        if at and episode[at] != episode[at - 1]:
            baseline = Baseline()
        seen = {"camera": {"components": values[at]}}
        score = calibration.score(seen, {"camera": True}, baseline.habits())["camera"]
        raised[at] = score > 1
        baseline.add(seen, clean=[] if raised[at] else ["camera"])
    return raised


def test_the_nominal_rate_holds_where_a_raised_window_teaches_no_habit():
    random = np.random.default_rng(4)
    episode = np.repeat(np.arange(12), 400)
    wandering = np.concatenate([np.cumsum(random.normal(0, 0.3, 400)) for _ in range(12)])
    values = wandering + random.normal(0, 0.5, len(episode))
    calibration = calibrate(
        {"camera": {"components": values}},
        {"camera": np.ones(len(episode), np.bool_)},
        episode,
        RATES,
        {"camera": frozenset({"components"})},
    )
    assert raised_in_turn(calibration, values, episode).mean() == pytest.approx(0.01, abs=0.005)


def with_crossed(seed: int) -> dict[str, dict[str, np.ndarray]]:
    evidence = clean_evidence(seed=seed)
    size = len(evidence["arm"]["level"])
    crossed = np.random.default_rng(seed + 100).normal(0, 1, size)
    return {**evidence, "camera": {**evidence["camera"], "foretold": crossed}}


def test_crossed_evidence_counts_until_the_other_modality_is_faulty_by_itself():
    clean = with_crossed(0)
    size = len(clean["arm"]["level"])
    calibration = calibrate(
        clean,
        {name: np.ones(size, dtype=np.bool_) for name in clean},
        np.arange(size) // 400,
        RATES,
        {},
        {"camera": ("foretold",)},
    )
    seen = with_crossed(1)
    seen["camera"]["foretold"][:] = 50.0
    assert (scored(calibration, seen)["camera"] > 1).mean() > 0.95
    seen["arm"]["level"][: size // 2] = 500.0  # the arm lies, so the camera need not fit it
    scores = scored(calibration, seen)
    assert (scores["arm"][: size // 2] > 1).all()
    assert (scores["camera"][: size // 2] > 1).mean() < 0.05
    assert (scores["camera"][size // 2 :] > 1).mean() > 0.95
