"""The published method and its comparison, from a recording to a checkpoint and to its report."""

from pathlib import Path
from typing import Any

import pytest

from model.checkpoint import load
from simulators.evaluating import evaluate_systems
from simulators.report.terminal import tables
from simulators.reporting import report_of, write_report
from simulators.training import TrainSettings, train_checkpoint
from tests.recorded import write_recording
from tests.test_training import SETTINGS, silent

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("methods")


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Path:
    return write_recording(folder / "train.mcap", episodes=3, seconds=6.0)


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
    report = report_of(evaluate_systems([path], [str(tested)], 5, None, silent), [], 5, "")
    check(report, detects=method == "mmssl")
    shown = [one for name, system in report["systems"].items() for one in tables(name, system)]
    assert len(shown) == (4 if method == "mmssl" else 1)
    write_report(report, folder / "report.json")


def check(report: dict[str, Any], detects: bool) -> None:
    assert ("classes" in report) == detects
    for errors in report["error"].values():
        assert errors["corrected"] > 0
        assert errors["floor"] > 0
        assert (errors["uncorrected"] > 0) == detects  # MMAE has nothing uncorrected
