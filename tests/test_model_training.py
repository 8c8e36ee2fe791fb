"""Training from start to end, and after an interruption."""

import numpy as np
import pytest
import torch

from model.autoencoding import train_autoencoder
from model.config import CorrectorConfig, MmsslConfig, ModelConfig
from model.correction_errors import correction_errors
from model.fusion import Fusion
from model.judging import score_windows
from model.stillness import find_conditions, longest_run
from model.training import check, silent, split_episodes, train
from model.windows import Pairs
from tests.test_model_synthetic import (
    ARM,
    CAMERA,
    HURRIED,
    TRAINING,
    corrected,
    corrupt,
    model_config,
    station,
    trained,
    with_images,
    with_vectors,
    without,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def untrained(windows, index) -> Fusion:
    torch.manual_seed(0)
    fusion = Fusion(model_config())
    fusion.fit_scales(windows, index)
    return fusion


@pytest.mark.parametrize("name", ["camera", "arm"])
def test_the_autoencoders_loss_falls(name, tmp_path):
    windows = station(4, 32, seed=2)
    index = np.arange(len(windows))
    fusion = untrained(windows, index)
    losses: list[float] = []

    def collect(stage, done, total, loss):
        losses.append(loss)

    options = {"minutes": None, "resume": tmp_path / "state", "progress": collect}
    config = TRAINING.model_copy(update={"epochs": 6})
    result = train_autoencoder(fusion, name, windows, index, config, **options)
    assert result.epochs == 6
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("name", ["camera", "arm"])
def test_a_training_resumed_ends_with_the_weights_of_one_that_ran_through(name, tmp_path):
    windows = station(3, 32, seed=2)
    index = np.arange(len(windows))
    config = TRAINING.model_copy(update={"epochs": 2, "batch": 16, "save_every_s": 0.0})

    def interrupt(stage, done, total, loss):
        if done >= 1.3:
            raise KeyboardInterrupt

    def run(fusion, progress, path):
        options = {"minutes": None, "resume": path, "progress": progress}
        train_autoencoder(fusion, name, windows, index, config, **options)
        return fusion.state_dict()

    through = run(untrained(windows, index), silent, tmp_path / "through")
    with pytest.raises(KeyboardInterrupt):
        run(untrained(windows, index), interrupt, tmp_path / "torn")
    resumed = run(untrained(windows, index), silent, tmp_path / "torn")
    for key, tensor in through.items():
        assert torch.equal(tensor, resumed[key]), key


def test_a_state_of_another_training_is_not_resumed(tmp_path):
    windows = station(2, 16, seed=2)
    index = np.arange(len(windows))
    options = {"minutes": None, "resume": tmp_path / "state", "progress": silent}
    config = TRAINING.model_copy(update={"epochs": 1})
    train_autoencoder(untrained(windows, index), "arm", windows, index, config, **options)
    other = config.model_copy(update={"seed": 9})
    fresh = untrained(windows, index)
    before = fresh.encoder("arm").state_dict()["layers.0.weight"].clone()
    train_autoencoder(fresh, "arm", windows, index, other, **options)
    assert not torch.equal(before, fresh.encoder("arm").state_dict()["layers.0.weight"])


def test_what_stage_2_is_to_do_keeps_no_stage_1_from_being_resumed(tmp_path):
    windows = station(2, 16, seed=2)
    index = np.arange(len(windows))
    options = {"minutes": None, "resume": tmp_path / "state", "progress": silent}
    config = TRAINING.model_copy(update={"epochs": 1})
    train_autoencoder(untrained(windows, index), "arm", windows, index, config, **options)
    steps: list[float] = []
    options["progress"] = lambda stage, done, total, loss: steps.append(done)
    other = config.model_copy(update={"mmssl": MmsslConfig(alpha=1), "tau": None, "rounds": 9})
    train_autoencoder(untrained(windows, index), "arm", windows, index, other, **options)
    assert steps == []


def test_minutes_end_a_training_before_its_epochs(tmp_path):
    windows = station(2, 16, seed=2)
    index = np.arange(len(windows))
    options = {"minutes": 0.01, "resume": tmp_path / "state", "progress": silent}
    config = TRAINING.model_copy(update={"epochs": 100_000})
    fusion = untrained(windows, index)
    result = train_autoencoder(fusion, "arm", windows, index, config, **options)
    assert 0 < result.epochs < 100_000


def test_the_corrector_brings_faulty_latents_nearer_to_what_was():
    fusion, _ = trained()
    for name, errors in correction_errors(fusion, corrupt(7)).items():
        assert errors["corrected"] < errors["uncorrected"], name
        assert errors["floor"] < errors["uncorrected"], name


def test_a_model_says_what_it_was_trained_on():
    _, card = trained()
    assert card.training.episodes == 16
    assert card.training.epochs == {"arm": 3.0, "camera": 3.0}
    assert card.calibration.episodes == 5
    figures = {"camera_mse", "arm_mse", "camera_network_loss", "arm_restorer_loss"}
    assert figures <= card.training.figures.keys()
    assert len(card.spreads["arm"]) == 8


def test_calibration_episodes_are_never_trained_on():
    windows = station(10, 4, seed=1)
    training, calibration = split_episodes(windows, TRAINING)
    assert not set(windows.episode[training]) & set(windows.episode[calibration])
    assert len(training) + len(calibration) == len(windows)
    assert len(set(windows.episode[calibration])) == 3


def test_one_episode_is_too_few():
    with pytest.raises(ValueError, match="at least 2 are needed"):
        split_episodes(station(1, 8, seed=1), TRAINING)


def untouched(windows) -> Pairs:
    none = np.zeros(len(windows))
    return Pairs(
        clean=windows,
        faulty=windows,
        faulty_modality=np.full(len(windows), -1),
        fault=("",) * len(windows),
        severity=none,
        effect=none,
    )


@pytest.mark.parametrize(
    "kinds",
    [
        {"type": "vector"},
        {"camera": "image"},
        {"front": "image", "side": "image", "arm": "vector"},
    ],
    ids=["one vector", "one image", "three"],
)
def test_any_number_of_modalities_is_trained_and_inferred(kinds, tmp_path):
    modalities = {name: CAMERA if kind == "image" else ARM for name, kind in kinds.items()}
    model = ModelConfig(
        name="n", modalities=modalities, corrector=CorrectorConfig(spectral_norm=True)
    )
    windows = station(4, 24, seed=4, extra=kinds)
    pairs = untouched(windows)
    fusion, _ = train(model, HURRIED, windows, lambda _: pairs, directory=tmp_path)
    latents = corrected(fusion, windows.take(np.arange(3)))
    scores = score_windows(fusion, windows)
    assert set(scores) == set(kinds)
    for name in kinds:
        assert latents[name].shape == (3, 288)
        assert torch.isfinite(latents[name]).all()
        assert np.isfinite(scores[name]).all()
    assert not list(tmp_path.iterdir())


def test_the_same_seed_gives_the_same_weights(tmp_path):
    windows = station(3, 16, seed=4, extra={"arm": "vector"})
    model = ModelConfig(name="n", modalities={"arm": ARM})
    pairs = untouched(windows)
    first, second = (
        train(model, HURRIED, windows, lambda _: pairs, directory=tmp_path)[0].state_dict()
        for _ in range(2)
    )
    assert all(torch.equal(tensor, second[key]) for key, tensor in first.items())


def test_an_absent_modality_is_the_mean_latent_until_it_is_corrected():
    fusion, _ = trained()
    batch = without(station(1, 3, seed=4), "camera").take(np.arange(3))
    blind = fusion.infer(batch)
    mean = fusion.split(fusion.corrector.scale.mean[None])["camera"]
    assert torch.equal(blind.latents["camera"], mean.expand(3, -1))
    assert torch.isfinite(corrected(fusion, batch)["camera"]).all()


def test_windows_that_do_not_fit_the_model_are_refused_by_name():
    windows = station(2, 4, seed=1)
    with pytest.raises(ValueError, match=r"camera: windows of shape \(60, 64, 3\)"):
        check(model_config(), with_images(windows, windows.images["camera"][:, :60]))
    with pytest.raises(ValueError, match="arm: values that are not finite"):
        check(model_config(), with_vectors(windows, windows.vectors["arm"] * np.nan))
    with pytest.raises(ValueError, match="windows have"):
        check(model_config(), station(2, 4, seed=1, extra={"arm": "vector"}))


def test_the_longest_healthy_standstill_sets_when_a_signal_counts_as_frozen():
    windows = station(2, 40, seed=1)
    values = windows.vectors["arm"].copy()
    values[10:25] = values[10, 0]  # fifteen windows, a second, without any change
    still = find_conditions(model_config(), with_vectors(windows, values))
    assert still["arm"].frozen_after_ms == pytest.approx(1.5 * 16 * 1000 / 15)
    assert still["camera"].frozen_after_ms == 500.0
    assert still["camera"].motion_threshold > 0


def test_a_standstill_does_not_reach_over_the_end_of_an_episode():
    flags = np.array([False, True, True, True, False, True])
    assert longest_run(flags, np.zeros(6, dtype=np.int64)) == 3
    assert longest_run(flags, np.array([0, 0, 0, 1, 1, 1])) == 2
