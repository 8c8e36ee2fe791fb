"""How faulty inputs are restored: what is kept of them, and what takes the place of the rest."""

import numpy as np
import pytest
import torch

from model.correction_errors import correction_errors
from model.fusion import Fusion
from model.past import LEAST, Memory, Recollection
from tests.test_model_synthetic import (
    corrupt,
    model_config,
    noisy,
    occluded,
    station,
    trained,
    without,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def restored(name: str, windows, monkeypatch=None, cells: torch.Tensor | None = None):
    """What modality ``name`` of three windows is restored to, with the mask ``cells`` if given."""
    fusion, _ = trained()
    if monkeypatch is not None and cells is not None:
        network = fusion.inspector.learnt_frames("camera").network
        monkeypatch.setattr(network, "cells", lambda maps: cells.expand(len(maps[0]), 32, 32))
    return fusion.restore(fusion.infer(windows.take(np.arange(3))), np.arange(3), name)


def pixels(windows) -> torch.Tensor:
    return torch.from_numpy(windows.images["camera"][:3]).permute(0, 3, 1, 2) / 255


def test_a_frame_is_kept_where_it_does_not_look_disturbed(monkeypatch) -> None:
    windows = occluded(station(1, 6, seed=5))
    cells = torch.full((32, 32), -20.0)
    cells[:, :8] = 20.0
    found = restored("camera", windows, monkeypatch, cells)
    assert torch.allclose(found[..., 20:], pixels(windows)[..., 20:], atol=1e-5)
    assert (found[..., :12] - pixels(windows)[..., :12]).abs().max() > 0.05


def test_a_frame_that_looks_disturbed_nowhere_is_one_of_another_time(monkeypatch) -> None:
    windows = station(1, 6, seed=5)
    nowhere = restored("camera", windows, monkeypatch, torch.full((32, 32), -20.0))
    everywhere = restored("camera", windows, monkeypatch, torch.full((32, 32), 20.0))
    assert torch.allclose(nowhere, everywhere, atol=1e-5)


def test_an_absent_modality_is_restored_from_the_others_alone() -> None:
    windows = station(1, 6, seed=5)
    assert torch.isfinite(restored("camera", without(windows, "camera"))).all()
    blind = without(windows, "arm")
    other = station(1, 6, seed=6)
    values = {"arm": other.vectors["arm"]}
    changed = type(blind)(
        images=blind.images,
        previous=blind.previous,
        vectors=values,
        present=blind.present,
        episode=blind.episode,
    )
    assert torch.equal(restored("arm", blind), restored("arm", changed))


def test_what_the_session_remembers_changes_what_is_restored() -> None:
    fusion, _ = trained()
    windows = station(1, 24, seed=5)
    memory = Memory(fusion.usual)
    for trace in fusion.trace(windows.take(np.arange(20))):
        memory.add(trace, ["arm", "camera"])
    faulty = occluded(windows).take(np.arange(20, 23))
    said, index = fusion.infer(faulty), np.arange(3)
    for name in ("arm", "camera"):
        forgetful = fusion.correct(said, index, name)
        assert not torch.allclose(forgetful, fusion.correct(said, index, name, [memory.now] * 3))


@pytest.mark.parametrize("name", ["arm", "camera"])
def test_a_window_is_corrected_to_the_same_whichever_others_are(name: str, monkeypatch) -> None:
    fusion, _ = trained()
    half = torch.full((32, 32), -20.0)
    half[:, :16] = 20.0
    network = fusion.inspector.learnt_frames("camera").network
    monkeypatch.setattr(network, "cells", lambda maps: half.expand(len(maps[0]), 32, 32))
    said = fusion.infer(noisy(occluded(station(1, 6, seed=5))).take(np.arange(6)))
    every, some = np.arange(6), np.array([4, 1])
    together, alone = fusion.correct(said, every, name), fusion.correct(said, some, name)
    assert torch.allclose(together[some], alone, atol=1e-5)
    assert not torch.allclose(together[4], together[1], atol=1e-3)


@pytest.mark.parametrize("windows", [0, LEAST - 1, LEAST])
def test_a_usual_picture_counts_once_it_is_of_enough_windows(windows: int) -> None:
    fusion = Fusion(model_config())
    scene = fusion.inspector.scene("camera")
    scene.basis[0, 0] = 1.0
    arrays = {
        "usual_small": np.full((3, 64, 64), 0.5, np.float16),
        "usual_expected": np.full(160, 0.25, np.float16),
        "usual_detail": np.full((128, 128), 0.125, np.float16),
    }
    known = Recollection(windows=windows, arrays=arrays)
    usual = fusion.usual({"camera": known})["camera"]
    counts = windows >= LEAST
    assert usual["counts"].tolist() == [counts]
    assert usual["residual"].flatten()[:2].tolist() == ([0.0, 0.5] if counts else [0.0, 0.0])
    assert usual["surprise"].flatten()[:2].tolist() == ([0.25, 0.5] if counts else [0.0, 0.0])


def test_restored_inputs_lie_nearer_to_the_clean_ones_than_a_constant_does() -> None:
    for name, error in correction_errors(trained()[0], corrupt(7)).items():
        assert error["restored"] < error["mean"], name
