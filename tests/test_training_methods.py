"""The published method and its comparison, from a recording to a checkpoint and to its report."""

from pathlib import Path
from typing import Any

import pytest

from model.checkpoint import load
from simulators.model_commands import error_table, table
from simulators.training import TrainSettings, evaluate_checkpoint, train_checkpoint, write_report
from tests.recorded import write_recording
from tests.test_training import CLASSES, SETTINGS, silent

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("methods")


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Path:
    return write_recording(folder / "train.mcap", episodes=3, seconds=5.0)


@pytest.fixture(scope="module")
def tested(folder: Path) -> Path:
    return write_recording(folder / "tested.mcap", episodes=2, seconds=12.0)


def settings(method: str) -> TrainSettings:
    given = SETTINGS.model_dump(exclude_unset=True)
    return TrainSettings.model_validate({**given, "method": method})


@pytest.mark.parametrize("method", ["mmssl", "mmae"])
def test_a_method_is_trained_on_a_recording_and_judged_on_another(
    method: str, folder: Path, recorded: Path, tested: Path
) -> None:
    stages: set[str] = set()

    def heard(stage: str, done: float, total: float, loss: float | None) -> None:
        stages.add(stage)

    path = train_checkpoint(settings(method), [str(recorded)], folder / method, None, heard)
    assert load(path).card.model.method == method
    assert stages > {"windows", "corrector" if method == "mmssl" else "mmae"}
    assert sorted(one.suffix for one in (folder / method).iterdir()) == [".json", ".safetensors"]
    report = evaluate_checkpoint(path, [str(tested)], 5, None, silent)
    check(report, detects=method == "mmssl")
    for protocol, figures in report["protocols"].items():
        assert table(figures, protocol).row_count == len(CLASSES)
    assert error_table(report["protocols"]).row_count == 4
    write_report(report, folder / "report.json")


def check(report: dict[str, Any], detects: bool) -> None:
    assert set(report["classes"]) == CLASSES
    for errors in report["error"].values():
        assert errors["corrected"] > 0
        assert errors["floor"] > 0
        assert (errors["uncorrected"] > 0) == detects  # MMAE has nothing uncorrected
    if not detects:
        assert report["clean_false_alarms"] == 0
        assert report["classes"]["camera"]["recall"] == 0
        assert report["recall_at_far"]["1e-2"]["arm"] == {"recall": 0.0, "measured_far": 0.0}
