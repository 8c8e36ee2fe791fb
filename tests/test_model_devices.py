"""Every tensor of the model is where the model is: an accelerator refuses those that are not."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from model.fusion import Fusion
from model.inspector import Inspector
from model.past import Trace
from tests.test_model_synthetic import model_config, station

ELSEWHERE = torch.device("meta")  # refuses, too, but needs no hardware


@pytest.fixture
def fusion(monkeypatch: pytest.MonkeyPatch) -> Fusion:
    """A model elsewhere; what it would leave behind is not read back from there."""
    monkeypatch.setattr(Fusion, "mixed_precision", lambda *_: nullcontext())
    monkeypatch.setattr(Inspector, "traces", lambda self, views, seen: [Trace()] * WINDOWS)
    return Fusion(model_config()).eval().to(ELSEWHERE)


WINDOWS = 4


def test_what_is_said_of_windows_is_said_where_the_model_is(fusion: Fusion) -> None:
    said = fusion.infer(station(1, 12, seed=1).take(np.arange(WINDOWS)))
    found = [*said.latents.values()]
    found += [one for kinds in said.evidence.values() for one in kinds.values()]
    assert len(found) > 10
    assert {one.device for one in found} == {ELSEWHERE}


@pytest.mark.parametrize("name", ["camera", "arm"])
def test_what_is_corrected_is_corrected_where_the_model_is(fusion: Fusion, name: str) -> None:
    said = fusion.infer(station(1, 12, seed=1).take(np.arange(WINDOWS)))
    corrected = fusion.correct(said, np.array([0, 2]), name)
    assert corrected.device == ELSEWHERE
    assert corrected.shape == (2, fusion.config.latent)
