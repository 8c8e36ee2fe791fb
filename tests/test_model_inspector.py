"""How faulty inputs are restored: what is kept of them, and what takes the place of the rest."""

import numpy as np
import pytest
import torch

from model.correction_errors import correction_errors
from model.past import Memory
from tests.test_model_synthetic import corrupt, occluded, station, trained, without

pytestmark = pytest.mark.usefixtures("one_thread")


def restored(name: str, windows, monkeypatch=None, cells: torch.Tensor | None = None):
    """What modality ``name`` of three windows is restored to, with the mask ``cells`` if given."""
    fusion, _ = trained()
    if monkeypatch is not None and cells is not None:
        network = fusion.inspector.learnt_frames("camera").network
        said = (torch.zeros(3), cells.expand(3, 32, 32))
        monkeypatch.setattr(network, "forward", lambda pixels, planes: said)
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
    memory = Memory()
    for trace in fusion.trace(windows.take(np.arange(20))):
        memory.add(trace, ["arm", "camera"])
    faulty = occluded(windows).take(np.arange(20, 23))
    said, index = fusion.infer(faulty), np.arange(3)
    forgetful = fusion.correct(said, index)
    mindful = fusion.correct(said, index, fusion.past([memory.now] * 3))
    for name in ("arm", "camera"):
        assert not torch.allclose(forgetful[name], mindful[name])


def test_restored_inputs_lie_nearer_to_the_clean_ones_than_a_constant_does() -> None:
    for name, error in correction_errors(trained()[0], corrupt(7)).items():
        assert error["restored"] < error["mean"], name
