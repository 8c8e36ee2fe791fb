"""What tells a frame of another time by what the vectors did at its moment."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.concord import CONCORD, MOMENTS, glimpse_of
from model.fusion import Fusion
from model.learner import Learner
from model.teaching import begin
from model.teaching_concord import glimpses_of, teach_concord
from model.windows import Windows
from tests.test_model_synthetic import TRAINING, model_config, station, without

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 100


@pytest.fixture(scope="module")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Learner:
    """A station whose concord has been taught, and nothing else but its scene."""
    torch.manual_seed(0)
    torch.manual_seed(1)
    windows, fusion = station(10, 60, seed=1), Fusion(model_config())
    index = np.arange(len(windows))
    fusion.fit_scales(windows, index)
    teaching = TRAINING.teaching.model_copy(update={"concord_steps": STEPS})
    config = TRAINING.model_copy(update={"teaching": teaching})
    taught = begin(fusion, windows, index, config, lambda *_: None)
    resume = tmp_path_factory.mktemp("concord") / "state"
    reached = teach_concord(taught, "camera", config, resume, lambda *_: None)
    assert reached is not None
    assert reached.step == STEPS
    return taught


def evidence(learner: Learner, windows: Windows) -> np.ndarray:
    batch = windows.take(np.arange(len(windows)))
    found = learner.fusion.eval().infer(batch).evidence["camera"][CONCORD]
    return np.asarray(found)


def test_a_glimpse_begins_with_the_last_sample_and_reaches_half_a_window_back() -> None:
    window = torch.arange(32.0)[None, :, None] * torch.tensor([1.0, 10.0])
    assert glimpse_of(window)[0].tolist() == [[31, 310], [27, 270], [23, 230], [15, 150]]
    assert glimpse_of(torch.ones(2, 1, 3)).shape == (2, MOMENTS, 3)


def test_frames_of_another_moment_surprise_and_those_of_the_same_do_not(learner: Learner) -> None:
    unseen = station(4, 60, seed=2)
    late = np.maximum(np.arange(len(unseen)) - 20, unseen.episode * 60)
    replayed = replace(unseen, images={"camera": unseen.images["camera"][late]})
    clean, old = evidence(learner, unseen), evidence(learner, replayed)[late > unseen.episode * 60]
    assert (clean >= 0).all()
    threshold = np.quantile(clean, 0.95)
    assert (old > threshold).mean() > 0.8


def test_without_vectors_nothing_surprises(learner: Learner) -> None:
    assert not evidence(learner, without(station(1, 30, seed=3), "arm")).any()


def test_the_comparison_may_lie_on_either_side_and_can_be_switched_off(learner: Learner) -> None:
    (concord,) = (one for one in learner.fusion.evidence_modules("camera") if CONCORD in one.names)
    assert concord.crossed == (CONCORD,)
    alone = Fusion(model_config().model_copy(update={"without": ("concord",)}))
    assert alone.inspector is not None
    assert alone.inspector.concord("camera") is None


def test_a_glimpse_of_every_window_is_what_inference_sees(learner: Learner) -> None:
    batch = learner.windows.take(np.arange(5))
    views = learner.fusion.views(batch)
    assert torch.equal(glimpses_of(learner)[:5], learner.inspector.glimpse(views, batch.present))
