"""Where the networks of method `evidence` are taught."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model import teaching_concord, teaching_frames
from model.descent import Plan, Position, Progress
from model.fusion import Fusion
from model.learner import Learner
from model.teaching import begin
from model.teaching_all import Taught
from tests.test_model_synthetic import TRAINING, model_config, station

pytestmark = pytest.mark.usefixtures("one_thread")
ELSEWHERE = torch.device("meta")  # refuses to compute with tensors that are not there


@pytest.fixture(scope="module")
def learner() -> Learner:
    windows, fusion = station(4, 40, seed=1), Fusion(model_config())
    index = np.arange(len(windows))
    fusion.fit_scales(windows, index)
    return begin(fusion, windows, index, TRAINING, lambda *_: None, ELSEWHERE)


@pytest.mark.parametrize(
    ("module", "teach"),
    [
        (teaching_frames, teaching_frames.teach_frames),
        (teaching_concord, teaching_concord.teach_concord),
    ],
    ids=["frames", "concord"],
)
def test_networks_that_look_at_frames_are_taught_where_the_accelerator_is(
    module: ModuleType,
    teach: Taught,
    learner: Learner,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taught = []

    def one_step(
        network: nn.Module, loss_of: Callable[[int], Tensor], plan: Plan, progress: Progress
    ) -> Position:
        loss = loss_of(0)
        loss.backward()
        taught.append((loss.device, {weight.device for weight in network.parameters()}))
        network.to_empty(device="cpu")  # what was computed elsewhere comes back
        return Position(step=1)

    monkeypatch.setattr(module, "descend", one_step)
    monkeypatch.setattr(Fusion, "mixed_precision", lambda *_: nullcontext())
    teach(learner, "camera", TRAINING, tmp_path / "state", lambda *_: None)
    assert taught == [(ELSEWHERE, {ELSEWHERE})]
