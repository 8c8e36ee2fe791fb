"""The engine with a model of its own: threads, sessions, memory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model.checkpoint import save
from model.windows import Windows
from stream.config import ModelSettings, StationSettings
from stream.engine import Engine
from stream.gate import Verdict, gate
from stream.messages import ClosedBy, Frame, ImageView, VectorView, Window
from tests.test_model_synthetic import ARM, RATE_HZ, WINDOW_HZ, occluded, station, trained

CELL = "acme/plant1/hall2/line3/cell4"
LEARNING = 10  # windows until a session's baseline is known


@pytest.fixture
def checkpoint(one_thread: None, tmp_path: Path) -> Path:
    return save(tmp_path, "small", *trained())


def engine(checkpoint: Path, threads: int = 1) -> Engine:
    modalities = {
        "camera": {"kind": "image", "rate_hz": WINDOW_HZ},
        "arm": {"kind": "vector", "rate_hz": RATE_HZ, "samples": ARM.samples},
    }
    cell = {"id": CELL, "model": str(checkpoint), "modalities": modalities}
    settings = ModelSettings(device="cpu", precision="fp32", threads=threads)
    return Engine([StationSettings.model_validate(cell)], settings)


def windows_of(made: Windows, epoch: int = 0) -> list[Window]:
    frames = [
        Frame(modality="camera", time_ns=at, data=b"", format="png", pixels=pixels)
        for at, pixels in enumerate(made.images["camera"])
    ]
    return [
        Window(
            station=CELL,
            epoch=epoch,
            anchor_ns=at,
            closed_by=ClosedBy.WATERMARK,
            views={
                "camera": ImageView(
                    frame=frame,
                    previous=frames[at - 1] if at else None,
                    skew_ns=0,
                    largest_gap_ns=0,
                ),
                "arm": VectorView(
                    values=values.astype(np.float64),
                    supported=np.ones(len(values), np.bool_),
                    skew_ns=0,
                    largest_gap_ns=0,
                    readings=len(values),
                ),
            },
        )
        for at, (frame, values) in enumerate(zip(frames, made.vectors["arm"], strict=True))
    ]


def scores(verdicts: Sequence[Verdict], name: str = "camera") -> list[float]:
    return [verdict.scores[name] for verdict in verdicts]


def test_however_a_batch_is_shared_out_its_windows_are_judged_in_order(checkpoint: Path) -> None:
    windows = windows_of(station(1, 25, seed=5))
    together, alone = engine(checkpoint, threads=3), engine(checkpoint)
    batched = together.infer(windows)
    single = [verdict for window in windows for verdict in alone.infer([window])]
    assert [one.window for one in batched] == windows
    np.testing.assert_allclose(scores(batched), scores(single), atol=1e-3)
    for left, right in zip(batched, single, strict=True):
        np.testing.assert_allclose(left.latents["arm"], right.latents["arm"], atol=1e-4)


def test_only_what_the_gate_takes_is_corrected(checkpoint: Path) -> None:
    """A hidden camera is corrected, a missing one imputed; the arm beside it bypasses."""
    made = station(1, 40, seed=5)
    clean, odd = windows_of(made)[:35], windows_of(occluded(made))[35:39]
    last = windows_of(made)[39]
    missing = ImageView(frame=None, previous=None, skew_ns=0, largest_gap_ns=0)
    blind = replace(last, views={**last.views, "camera": missing})
    verdicts = engine(checkpoint, threads=2).infer([*clean, *odd, blind])
    for one in verdicts:
        taken = {name for name, latent in gate(one).items() if latent.state != "bypassed"}
        assert set(one.corrected) == taken
    assert any(set(one.corrected) == {"camera"} for one in verdicts[35:39])
    assert "camera" in verdicts[39].corrected
    assert any(not one.corrected for one in verdicts)


def test_without_corrections_the_scores_are_the_same_and_faulty_latents_are_left_out(
    checkpoint: Path,
) -> None:
    windows = [
        *windows_of(station(1, 40, seed=5))[:35],
        *windows_of(occluded(station(1, 40, seed=5)))[35:39],
    ]
    whole, hasty = engine(checkpoint).infer(windows), engine(checkpoint).infer(windows, False)
    assert scores(hasty) == scores(whole)
    assert not any(one.corrected for one in hasty)
    for left, right in zip(hasty, whole, strict=True):
        for name, latent in gate(left).items():
            expected = gate(right)[name].state
            assert latent.state == ("uncorrected" if expected == "corrected" else expected)
    assert any(latent.state == "uncorrected" for latent in gate(hasty[-1]).values())


def test_an_epoch_begins_a_session_with_a_baseline_of_its_own(checkpoint: Path) -> None:
    """Another light from the second epoch on is no fault; within an epoch it is."""
    first, other = station(1, 30, seed=5), occluded(station(1, 30, seed=6))
    same_epoch, new_epoch = engine(checkpoint), engine(checkpoint)
    for one in (same_epoch, new_epoch):
        one.infer(windows_of(first))
    changed = scores(same_epoch.infer(windows_of(other)))
    known = scores(new_epoch.infer(windows_of(other, epoch=1)))
    assert min(changed) > 1
    assert known[0] < changed[0]  # judged by no baseline is judged with caution
    assert new_epoch.snapshot(CELL)["epoch"] == 1


def test_an_engine_goes_on_from_a_snapshot_of_its_baseline(checkpoint: Path) -> None:
    windows = windows_of(station(1, 30, seed=5))
    whole, before, after = (engine(checkpoint) for _ in range(3))
    expected = whole.infer(windows)
    before.infer(windows[: LEARNING + 5])
    after.restore(CELL, before.snapshot(CELL))
    np.testing.assert_allclose(
        scores(after.infer(windows[LEARNING + 5 :])), scores(expected[LEARNING + 5 :]), atol=1e-3
    )
