"""What the shipped checkpoint reaches on the shipped recording, which it was never trained on.

The bounds lie well below the figures in its card, so that only a real loss of quality fails.
"""

from typing import Any

import pytest

from simulators.demo import RECORDING
from simulators.evaluating import evaluate_systems
from simulators.reporting import report_of
from stream.checkpoints import checkpoint_path

pytestmark = pytest.mark.usefixtures("one_thread")


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    data = [str(RECORDING)]
    evaluated = evaluate_systems([checkpoint_path("welding-single")], data, 1, None, silent)
    return report_of(evaluated, data, 1, "")


def test_few_clean_windows_are_taken_for_faulty(report: dict[str, Any]) -> None:
    assert report["clean_false_alarms"] < 0.05


@pytest.mark.parametrize("protocol", ["A", "B"])
def test_most_faulty_windows_are_laid_at_the_right_door(
    report: dict[str, Any], protocol: str
) -> None:
    by_modality = report["protocols"][protocol]["recall_by"]["modality"]
    assert by_modality["camera"]["recall"] > 0.8
    assert by_modality["kinematics"]["recall"] > 0.65


def test_strong_faults_raise_an_alarm_and_clean_minutes_hardly_any(report: dict[str, Any]) -> None:
    events = report["systems"]["welding-single"]["events"]
    assert events["found_strong"] > 0.85 * events["of_strong"]
    assert events["false_alarms"] <= 2


def test_correction_brings_faulty_windows_nearer_to_what_should_have_been_seen(
    report: dict[str, Any],
) -> None:
    for protocol in report["protocols"].values():
        for name, error in protocol["error"].items():
            assert error["corrected"] < error["uncorrected"], name
            assert error["restored"] < error["mean"], name
