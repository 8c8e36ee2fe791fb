"""The denoising autoencoder that MMSSL is compared with, on the synthetic station."""

import functools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import Card, load, save
from model.correction_errors import correction_errors
from model.fusion import Fusion
from model.judging import score_windows
from model.mmae import denoising_error
from model.training import train
from model.windows import Pairs
from stream.config import ConfigError
from tests.test_engine import engine
from tests.test_model_synthetic import (
    TRAINING,
    corrected,
    corrupt,
    model_config,
    station,
    without,
)

pytestmark = pytest.mark.usefixtures("one_thread")

VARIANCES = {"camera": 1.0, "arm": 1.0}
ASKED: list[int] = []
LOSSES: list[float] = []


def heard(stage: str, done: float, total: float, loss: float | None) -> None:
    assert stage == "mmae"
    assert done <= total
    LOSSES.append(loss or 0.0)


def asked(number: int) -> Pairs:
    ASKED.append(number)
    return corrupt(number)


@functools.cache
def denoising() -> tuple[Fusion, Card]:
    """An MMAE trained on the station once for all tests of a run; not to be altered."""
    model = model_config().model_copy(update={"method": "mmae"})
    config = TRAINING.model_copy(update={"learning_rate": 5e-3})
    with tempfile.TemporaryDirectory() as directory:
        windows = station(10, 48, seed=1)
        return train(model, config, windows, asked, directory=Path(directory), progress=heard)


def test_the_loss_falls_and_one_round_follows_another():
    denoising()
    assert LOSSES[-1] < 0.9 * LOSSES[0]
    assert ASKED == [0, 1]


def test_an_interrupted_training_goes_on_where_it_stopped(tmp_path):
    """Killed in its second round: the same weights in the end, and the first is not made again."""
    config = TRAINING.model_copy(update={"learning_rate": 5e-3, "save_every_s": 0.0})
    asked_again: list[int] = []

    def killing(stage: str, done: float, total: float, loss: float | None) -> None:
        if done > 0.6 * total:
            raise KeyboardInterrupt

    def asked_of(number: int) -> Pairs:
        asked_again.append(number)
        return corrupt(number)

    model = denoising()[0].config
    windows = station(10, 48, seed=1)
    with pytest.raises(KeyboardInterrupt):
        train(model, config, windows, corrupt, directory=tmp_path, progress=killing)
    fusion, card = train(model, config, windows, asked_of, directory=tmp_path)
    assert asked_again == [1]
    assert card.training.epochs == denoising()[1].training.epochs
    whole = denoising()[0].state_dict()
    for key, weight in fusion.state_dict().items():
        assert torch.equal(weight, whole[key]), key


def test_it_detects_nothing_and_says_so():
    fusion, card = denoising()
    assert card.calibration is None
    assert all(found == {} for found in fusion.infer(batch()).evidence.values())
    scores = score_windows(fusion, corrupt(5).faulty)
    assert not any(values.any() for values in scores.values())


def batch():
    return station(1, 6, seed=5).take(np.arange(6))


def test_the_whole_network_is_trained_end_to_end():
    fusion, card = denoising()
    torch.manual_seed(TRAINING.seed)
    fresh = Fusion(fusion.config).state_dict()
    for key, weight in fusion.named_parameters():
        assert not torch.equal(weight, fresh[key]), key
    assert card.training.epochs == {"arm": 3.0, "camera": 3.0}
    assert {"camera_mse", "arm_mse", "camera_loss"} <= card.training.figures.keys()


def test_what_it_decodes_is_judged_behind_its_corrector_on_clean_windows_too():
    fusion, _ = denoising()
    pairs = corrupt(7)
    clean = correction_errors(fusion, replace(pairs, faulty=pairs.clean))
    for name, errors in correction_errors(fusion, pairs).items():
        assert np.isnan(errors["uncorrected"])
        assert errors["floor"] == pytest.approx(clean[name]["corrected"])
        assert errors["corrected"] != errors["floor"]


def test_an_absent_modality_is_not_asked_for():
    fusion, _ = denoising()
    windows = station(1, 6, seed=5)
    blind = without(windows, "camera").take(np.arange(6))
    seeing = windows.take(np.arange(6))
    with torch.no_grad():
        both = denoising_error(fusion, blind, seeing, VARIANCES)
        arm_only = denoising_error(fusion, blind, blind, VARIANCES)
    assert 0 < float(arm_only) < float(both)


def test_it_is_saved_and_loaded_without_thresholds(tmp_path):
    loaded = load(save(tmp_path, "small", *denoising()), device="cpu", precision="fp32")
    assert loaded.card.calibration is None
    first, again = corrected(denoising()[0], batch()), corrected(loaded.fusion, batch())
    assert torch.equal(first["camera"], again["camera"])


def test_a_worker_refuses_it_because_it_finds_no_fault(tmp_path):
    path = save(tmp_path, "small", *denoising())
    with pytest.raises(ConfigError, match=r"small \(mmae\) corrects and detects nothing"):
        engine(path)
