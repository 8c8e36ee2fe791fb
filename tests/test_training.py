"""From a recording to a checkpoint, and from a checkpoint to its report."""

import io
import json
import math
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from model.checkpoint import CheckpointError, load
from simulators.datasets import open_dataset, records_of
from simulators.evaluating import Evaluated, evaluate_systems, open_systems
from simulators.judging import AT_ONCE, Gathered, judge_clean
from simulators.recordings.recording import RecordingError
from simulators.report.terminal import tables
from simulators.reporting import report_of, write_page, write_report
from simulators.training import TrainSettings, calibrate_checkpoint, train_checkpoint
from simulators.windowing import DATASET, windows_of
from stream.messages import ImageView, Window
from tests.recorded import ARM_HZ, CAMERA_HZ, CHANNELS, write_recording
from tests.test_model_synthetic import HURRIED

SETTINGS = TrainSettings.model_validate(
    {
        "kind": "train",
        "name": "small",
        "modalities": {
            "camera": {"kind": "image", "size_px": (64, 64), "widths": (8, 16, 32)},
            "arm": {"kind": "vector", "samples": 32, "widths": (32, 32, 32)},
        },
        "training": {
            "epochs": 1,
            "vector_batch": 32,
            "rounds": 1,
            "corrector_epochs": 2,
            "reconstructed": 1,
            "seed": 3,
            "teaching": HURRIED.teaching.model_dump(),
        },
    }
)
CLASSES = {"clean", "camera", "arm"}
FIGURES = {"classes", "macro_f1", "recall_at_far", "error"}
TESTED_S, TESTED = 12.0, 2
CLEAN_S = 4.0


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small gain nothing from threads, and on a busy machine lose tenfold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    data = write_recording(folder / "train.mcap", episodes=4, seconds=5.0)
    return train_checkpoint(SETTINGS, [str(data)], folder / "out", None, silent)


@pytest.fixture(scope="module")
def tested(folder: Path) -> Path:
    return write_recording(folder / "tested.mcap", episodes=TESTED, seconds=TESTED_S)


@pytest.fixture(scope="module")
def healthy(folder: Path) -> Path:
    return write_recording(folder / "night.mcap", episodes=2, seconds=CLEAN_S)


@pytest.fixture(scope="module")
def evaluated(trained: Path, tested: Path, healthy: Path) -> Evaluated:
    clean = [f"{healthy}#0", str(healthy)]
    return evaluate_systems([trained], [str(tested)], 5, None, silent, clean)


@pytest.fixture(scope="module")
def report(evaluated: Evaluated, tested: Path) -> dict[str, Any]:
    return report_of(evaluated, [str(tested)], 5, "weldfusion evaluate")


def silent(*_: object) -> None:
    """Show no progress."""


def test_the_checkpoint_lies_under_its_name_with_a_card_beside_it(trained: Path) -> None:
    assert trained.name == "small.safetensors"
    card = json.loads(trained.with_suffix(".json").read_text())
    assert card["training"]["data"] == ["train.mcap"]
    assert card["training"]["seed"] == 3
    assert card["training"]["episodes"] > 0
    assert "weldfusion" in card["training"]["command"]


def test_the_card_has_the_modalities_as_they_were_recorded(trained: Path) -> None:
    model = load(trained).card.model
    assert set(model.modalities) == {"camera", "arm"}
    assert model.modalities["arm"].channels == len(CHANNELS)
    assert model.modalities["arm"].names == CHANNELS
    assert model.modalities["arm"].rate_hz == ARM_HZ
    assert model.window_hz == CAMERA_HZ


def test_the_report_holds_every_promised_key(report: dict[str, Any]) -> None:
    assert {*FIGURES, "windows", "seed", "protocols"} <= set(report)
    assert set(report["protocols"]) == {"A", "B"}
    for figures in (report, *report["protocols"].values()):
        assert set(figures) >= FIGURES
        assert set(figures["classes"]) == CLASSES
        for figure in figures["classes"].values():
            assert set(figure) == {"precision", "recall", "f1"}
        assert set(figures["recall_at_far"]) == {"1e-2", "1e-3"}
        for points in figures["recall_at_far"].values():
            assert set(points) == {"camera", "arm"}
            assert all({"recall", "measured_far"} <= set(point) for point in points.values())
        assert set(figures["error"]) == {"camera", "arm"}
        for error in figures["error"].values():
            assert {"uncorrected", "corrected", "floor", "mean"} <= set(error)


def test_alarms_are_counted_with_the_clean_time_in_which_none_was_due(
    report: dict[str, Any],
) -> None:
    events = report["systems"]["small"]["events"]
    assert 0 <= events["found"] <= events["of"] == 3 * TESTED
    assert 0 < events["clean_hours"] < 2 * TESTED * TESTED_S / 3600


def test_clean_recordings_are_judged_by_name_with_nothing_injected(report: dict[str, Any]) -> None:
    found = report["systems"]["small"]["clean"]
    assert list(found) == ["night.mcap#0", "night.mcap"]
    one, both = found.values()
    assert (one["episodes"], both["episodes"]) == (1, 2)
    assert both["windows"] == 2 * one["windows"] == 2 * round(CLEAN_S * CAMERA_HZ)
    assert both["hours"] == pytest.approx(2 * (CLEAN_S - 1 / CAMERA_HZ) / 3600, rel=1e-6)
    for figures in (one, both):
        assert set(figures["raised"]) == {"0.01", "0.001"}
        for shares in figures["raised"].values():
            assert set(shares) == {"camera", "arm", "any"}
            largest = max(shares["camera"]["share"], shares["arm"]["share"])
            assert largest <= shares["any"]["share"] <= 1
        rate = figures["false_alarms"] / figures["hours"]
        assert figures["false_alarms_per_hour"] == pytest.approx(rate)
        assert figures["false_alarms_per_hour_upper"] > rate


def test_a_recording_is_judged_as_the_same_windows_are_among_the_tested(
    trained: Path, tested: Path
) -> None:
    """Part after part as they come, or beside faults: the same session says the same."""
    found = evaluate_systems([trained], [str(tested)], 5, None, silent, [str(tested)])
    whole = report_of(found, [], 5, "")["systems"]["small"]
    alone = whole["clean"]["tested.mcap"]
    for rate, share in whole["clean_false_alarms"].items():
        assert alone["raised"][rate]["any"] == share


def test_verdicts_over_five_windows_stand_beside_single_ones(report: dict[str, Any]) -> None:
    for figures in report["protocols"].values():
        found = figures["over_5_windows"]
        assert 0 <= found["macro_f1"] <= 1
        assert 0 <= found["visible"] <= 1
        assert 0 < found["left_out"] < found["windows"]
        assert found["interval"][0] <= found["interval"][1]


def test_the_terminal_shows_clean_recordings_and_verdicts_over_five_windows(
    report: dict[str, Any],
) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    for one in tables("small", report["systems"]["small"]):
        console.print(one)
    said = console.export_text()
    assert "night.mcap#0" in said
    assert "over 5 windows 0." in said


def test_an_hour_of_frames_never_piles_up(trained: Path, tested: Path) -> None:
    """A camera's windows hold their frames; those that were judged must be free again."""
    dataset = open_dataset([str(tested)], lambda _: load(trained).card.model)
    systems = open_systems([trained], dataset)
    seen: list[weakref.ref[np.ndarray]] = []
    most = 0

    def watched() -> Iterator[Window]:
        nonlocal most
        _, recording, episode = dataset.episodes[0]
        records = records_of(dataset, recording, episode)
        for window in windows_of(records, dataset.settings, dataset.injections()):
            view = window.views["camera"]
            assert isinstance(view, ImageView)
            assert view.frame is not None
            assert view.frame.pixels is not None
            seen.append(weakref.ref(view.frame.pixels))
            del view
            most = max(most, sum(one() is not None for one in seen))
            yield window

    judge_clean(systems, watched(), 0, {"small": Gathered(names=dataset.model.names)})
    assert len(seen) == round(TESTED_S * CAMERA_HZ)
    assert most < 3 * AT_ONCE


def test_weights_are_loaded_once_for_engine_and_corrections(evaluated: Evaluated) -> None:
    (system,) = evaluated.systems
    assert system.engine is not None
    assert system.engine.loaded(DATASET) is system.loaded


def test_two_recordings_or_checkpoints_of_one_name_are_refused(
    trained: Path, tested: Path, healthy: Path
) -> None:
    with pytest.raises(RecordingError, match=r"night\.mcap: 2 clean recordings of this name"):
        evaluate_systems([trained], [str(tested)], 5, None, silent, [str(healthy)] * 2)
    with pytest.raises(RecordingError, match="small: 2 checkpoints of this name"):
        evaluate_systems([trained] * 2, [str(tested)], 5, None, silent)


def test_the_page_shows_the_figures_and_pictures(
    evaluated: Evaluated, report: dict[str, Any], tmp_path: Path
) -> None:
    write_page(report, evaluated, tmp_path / "new" / "report.html")
    page = (tmp_path / "new" / "report.html").read_text()
    assert page.count("<img") >= 1
    assert "night.mcap#0" in page
    assert f"{report['protocols']['A']['macro_f1']:.3f}" in page


def test_the_top_level_is_protocol_a(report: dict[str, Any]) -> None:
    for key in FIGURES:
        assert str(report[key]) == str(report["protocols"]["A"][key])
    assert str(report["protocols"]["A"]["classes"]) != str(report["protocols"]["B"]["classes"])


def test_the_report_counts_the_clean_windows_and_names_its_seed(report: dict[str, Any]) -> None:
    assert report["windows"] == TESTED * round(TESTED_S * CAMERA_HZ)
    assert type(report["windows"]) is int
    assert report["seed"] == 5
    assert report["data"] == ["tested.mcap"]


def test_every_share_lies_between_0_and_1_and_the_mean_f1_is_that_of_the_classes(
    report: dict[str, Any],
) -> None:
    for figures in report["protocols"].values():
        shares = [share for one in figures["classes"].values() for share in one.values()]
        assert all(0 <= share <= 1 for share in shares)
        mean = sum(one["f1"] for one in figures["classes"].values()) / len(CLASSES)
        assert figures["macro_f1"] == pytest.approx(mean)


def test_the_false_alarms_of_clean_windows_fall_with_the_rate_asked_for(
    report: dict[str, Any],
) -> None:
    for name in ("camera", "arm"):
        often, seldom = (report["recall_at_far"][rate][name] for rate in ("1e-2", "1e-3"))
        assert often["measured_far"] >= seldom["measured_far"]


def test_the_faults_of_both_kinds_were_injected(report: dict[str, Any]) -> None:
    injected = [
        fault for one in report["protocols"].values() for fault in one["recall_by"]["fault"]
    ]
    assert {fault.split(".")[0] for fault in injected} == {"camera", "arm"}


def test_the_same_seed_gives_the_same_report_and_another_does_not(
    report: dict[str, Any], trained: Path, tested: Path
) -> None:
    again, other = (
        report_of(
            evaluate_systems([trained], [str(tested)], seed, None, silent),
            [str(tested)],
            seed,
            "weldfusion evaluate",
        )
        for seed in (5, 6)
    )
    assert str(again["protocols"]) == str(report["protocols"])
    assert str(other["protocols"]) != str(report["protocols"])


def test_a_report_is_written_as_json_with_null_for_what_could_not_be_measured(
    tmp_path: Path,
) -> None:
    path = tmp_path / "new" / "report.json"
    write_report({"error": {"arm": math.nan, "rest": [np.float64("inf"), 1.5]}, "n": 3}, path)
    assert json.loads(path.read_text()) == {"error": {"arm": None, "rest": [None, 1.5]}, "n": 3}


def test_one_episode_is_too_few_to_train_and_calibrate_on(tmp_path: Path) -> None:
    data = write_recording(tmp_path / "one.mcap", seconds=3.0)
    with pytest.raises(ValueError, match="at least 2 are needed"):
        train_checkpoint(SETTINGS, [str(data)], tmp_path / "out", None, silent)


def test_autoencoders_are_taken_over_from_another_checkpoint(
    trained: Path, folder: Path, tmp_path: Path
) -> None:
    data = [str(folder / "train.mcap")]
    path = train_checkpoint(SETTINGS.seeded(4), data, tmp_path, None, silent, encoders=trained)
    first, second = load(trained), load(path)
    assert (first.card.training.seed, second.card.training.seed) == (SETTINGS.training.seed, 4)
    assert SETTINGS.seeded(None) is SETTINGS
    assert second.card.training.epochs == first.card.training.epochs
    ours, theirs = second.fusion.state_dict(), first.fusion.state_dict()
    for key, tensor in ours.items():
        if key.startswith(("encoders.", "decoders.", "scales.")):
            assert torch.equal(tensor, theirs[key]), key
    assert not torch.equal(
        ours["inspector.evidences._arm._learnt.network.head.2.bias"],
        theirs["inspector.evidences._arm._learnt.network.head.2.bias"],
    )


def test_recordings_to_calibrate_on_are_never_trained_on(
    trained: Path, tested: Path, folder: Path, tmp_path: Path
) -> None:
    data, calibration = [str(folder / "train.mcap")], [str(tested)]
    path = train_checkpoint(SETTINGS, data, tmp_path, None, silent, trained, calibration)
    card = load(path).card
    assert card.calibration.episodes == TESTED
    assert card.training.episodes == 4 + TESTED
    assert card.training.data == ("train.mcap", "tested.mcap")


def test_a_plants_own_hours_set_thresholds_and_change_no_weight(
    trained: Path, tested: Path, tmp_path: Path
) -> None:
    path = calibrate_checkpoint(trained, [str(tested)], tmp_path, None, silent)
    before, after = load(trained), load(path)
    assert after.hash == before.hash
    assert after.card.calibrated_on == ("tested.mcap",)
    assert after.card.calibration.episodes == TESTED
    assert after.card.calibration != before.card.calibration
    assert after.card.training == before.card.training


def test_evidence_can_be_left_out_of_what_counts(
    trained: Path, tested: Path, tmp_path: Path
) -> None:
    given = trained, [str(tested)], tmp_path, None, silent
    path = calibrate_checkpoint(*given, ["camera.tone", "camera.texture"])
    calibration = load(path).card.calibration.modalities["camera"]
    assert calibration.disabled["tone"] == calibration.disabled["texture"] == "left out"
    for fused in (calibration.absolute, calibration.relative):
        assert fused.evidence.keys() >= {"components", "learnt"}
        assert not fused.evidence.keys() & {"tone", "texture"}
    with pytest.raises(ValueError, match=r"no evidence tone; there are .*camera\.tone"):
        calibrate_checkpoint(*given, ["tone"])


def test_training_on_a_missing_recording_names_it(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"gone\.mcap"):
        train_checkpoint(SETTINGS, [str(tmp_path / "gone.mcap")], tmp_path, None, silent)


def test_a_checkpoint_that_is_not_there_is_named(tmp_path: Path, tested: Path) -> None:
    with pytest.raises(CheckpointError, match=r"gone\.(json|safetensors)"):
        evaluate_systems([tmp_path / "gone.safetensors"], [str(tested)], 0, None, silent)
