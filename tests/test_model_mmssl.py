"""MMSSL as published: its losses by themselves, and trained on the synthetic station."""

import functools
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model.checkpoint import Card, load, save
from model.config import CorrectorConfig, DetectorConfig, MmsslConfig, ModelConfig
from model.correcting import encode_pairs, fit_latent_scale
from model.detector import LOGIT, Detector
from model.evaluation import classify
from model.fusion import Fusion
from model.judging import score_windows
from model.lipschitz import spectral_norms
from model.mmssl import amplify, contrast, detection, regulariser, train_mmssl
from model.training import silent, train
from model.windows import Pairs
from stream.gate import gate
from tests.test_engine import engine, windows_of
from tests.test_model_synthetic import (
    ARM,
    TRAINING,
    corrupt,
    model_config,
    occluded,
    station,
    with_vectors,
    without,
)

pytestmark = pytest.mark.usefixtures("one_thread")

CLEAN, CAMERA = -1, 1
DEPTH_2 = CorrectorConfig(depth=2)
SHORT = TRAINING.model_copy(
    update={"rounds": 1, "corrector_epochs": 1, "corrector_batch": 16, "reconstructed": 1}
)


def configuration(**changed: object) -> ModelConfig:
    detector = DetectorConfig(widths=(64, 32))
    changed = {"method": "mmssl", "detector": detector, **changed}
    return model_config().model_copy(update=changed)


@functools.cache
def published() -> tuple[Fusion, Card]:
    """MMSSL trained on the station once for all tests of a run; not to be altered."""
    config = SHORT.model_copy(update={"corrector_epochs": 10})
    with tempfile.TemporaryDirectory() as directory:
        windows = station(10, 48, seed=1)
        return train(configuration(), config, windows, corrupt, directory=Path(directory))


@functools.cache
def few_pairs() -> Pairs:
    """A third of the pairs each: noise on the arm, noise on the tool, nothing."""
    clean = station(2, 24, seed=2, extra={"arm": "vector", "tool": "vector"})
    kind = np.arange(len(clean)) % 3 - 1
    faulty = clean
    for at, name in enumerate(("arm", "tool")):
        noise = np.random.default_rng(at).normal(0, 0.5, clean.vectors[name].shape)
        hit = (kind == at)[:, None, None]
        faulty = with_vectors(faulty, clean.vectors[name] + hit * noise, name)
    return Pairs(
        clean=clean,
        faulty=faulty,
        faulty_modality=kind,
        fault=("",) * len(clean),
        severity=np.zeros(len(clean)),
        effect=np.zeros(len(clean)),
    )


def untrained(corrector: CorrectorConfig) -> Fusion:
    windows = few_pairs().clean
    index = np.arange(len(windows))
    torch.manual_seed(0)
    modalities = {"arm": ARM, "tool": ARM}
    fusion = Fusion(configuration(modalities=modalities, corrector=corrector))
    fusion.fit_scales(windows, index)
    fit_latent_scale(fusion, windows, index)
    return fusion


def stage2(corrector: CorrectorConfig = DEPTH_2, **changed: object) -> Fusion:
    """A fresh model after a few steps of stage 2, its autoencoders as they were drawn."""
    fusion = untrained(corrector)
    mmssl = {key: value for key, value in changed.items() if key in MmsslConfig.model_fields}
    rest = {key: value for key, value in changed.items() if key not in mmssl}
    config = SHORT.model_copy(update={"mmssl": MmsslConfig(**mmssl), **rest})
    train_mmssl(fusion, lambda _: few_pairs(), config, silent)
    return fusion


@functools.cache
def usual() -> Fusion:
    return stage2()


def same(one: nn.Module | None, other: nn.Module | None) -> bool:
    assert one is not None
    assert other is not None
    return all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_each_modalitys_logit_is_its_only_evidence():
    fusion, card = published()
    said = fusion.infer(station(1, 5, seed=7).take(np.arange(5)))
    assert {name: list(found) for name, found in said.evidence.items()} == {
        "arm": [LOGIT],
        "camera": [LOGIT],
    }
    assert said.evidence["arm"][LOGIT].shape == (5,)
    assert card.calibration is not None
    assert not any(one.relative for one in card.calibration.modalities.values())


def test_an_occluded_camera_is_laid_at_its_door():
    """Not so noise on the arm: pooled into a latent, it leaves no trace to be learnt."""
    pairs = corrupt(7)
    found = classify(score_windows(published()[0], pairs.faulty))
    assert (found[pairs.faulty_modality == CAMERA] == CAMERA).mean() > 0.8


def test_clean_windows_of_other_episodes_raise_few_alarms():
    scores = score_windows(published()[0], station(8, 48, seed=50))
    assert (classify(scores) != CLEAN).mean() < 0.2


def test_an_absent_modality_scores_nothing_and_the_other_is_still_judged():
    blind = without(station(1, 6, seed=7), "camera")
    fusion, _ = published()
    scores = score_windows(fusion, blind)
    assert scores["camera"].tolist() == [0] * 6
    assert np.isfinite(scores["arm"]).all()
    assert np.ptp(scores["arm"]) > 0


def test_the_card_tells_bounds_and_slopes_and_every_loss_by_itself():
    figures = published()[1].training.figures
    terms = {f"mmssl_{term}" for term in ("rec", "sim", "con", "detect", "reg", "loss")}
    assert terms <= figures.keys()
    assert 0 < figures["corrector_slope"] <= figures["corrector_bound"] < 1.1
    assert 0 < figures["detector_slope"] <= figures["detector_bound"]


def test_a_loaded_detector_says_bit_for_bit_what_the_saved_one_said(tmp_path):
    loaded = load(save(tmp_path, "small", *published()), device="cpu", precision="fp32")
    batch = station(1, 6, seed=5).take(np.arange(6))
    first, again = published()[0].infer(batch), loaded.fusion.infer(batch)
    for name in ("camera", "arm"):
        assert torch.equal(first.evidence[name][LOGIT], again.evidence[name][LOGIT])


def test_a_worker_corrects_what_the_detector_finds_and_lets_the_rest_pass_bit_for_bit(tmp_path):
    running = engine(save(tmp_path, "small", *published()))
    clean = station(1, 12, seed=5)
    for windows, state in ((clean, "bypassed"), (occluded(clean), "corrected")):
        verdicts = running.infer(windows_of(windows))
        latents = [gate(verdict)["camera"] for verdict in verdicts]
        assert sum(one.state == state for one in latents) > 8
        for verdict, one in zip(verdicts, latents, strict=True):
            source = verdict.latents if one.state == "bypassed" else verdict.corrected
            assert one.values is source["camera"]
            assert list(verdict.evidence["camera"]) == [LOGIT]


def test_the_spectral_norm_is_mmssls_unless_it_is_told_otherwise():
    assert configuration(corrector=CorrectorConfig()).spectral_norm
    assert not configuration(corrector=CorrectorConfig(spectral_norm=False)).spectral_norm
    assert not model_config().spectral_norm


def small_detector() -> Detector:
    torch.manual_seed(3)
    return Detector(8, DetectorConfig(widths=(16, 4)), modalities=3)


def test_embeddings_are_pushed_apart_up_to_the_margin_where_there_is_a_fault():
    detector, clean = small_detector(), torch.randn(4, 8)
    nothing, everything = torch.zeros(4, dtype=torch.bool), torch.ones(4, dtype=torch.bool)
    assert float(contrast(detector, clean, clean, everything, margin=0.5).detach()) == 0.5
    assert float(contrast(detector, clean, clean, nothing, margin=0.5).detach()) == 0
    assert float(contrast(detector, clean, clean + 100, everything, margin=0.5).detach()) == 0
    half = torch.tensor([True, False, False, False])
    assert float(contrast(detector, clean, clean, half, margin=0.5).detach()) == 0.5


def test_each_modality_is_judged_by_a_cross_entropy_of_its_own():
    logits = torch.tensor([[2.0, -1.0, 0.0], [0.5, 0.0, 3.0]])
    wanted = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # clean, and the third at fault
    chance = torch.sigmoid(logits)
    expected = -(wanted * chance.log() + (1 - wanted) * (1 - chance).log()).mean()
    torch.testing.assert_close(detection(logits, torch.tensor([CLEAN, 2])), expected)


def jacobian_energy(layers: nn.Sequential, x: torch.Tensor, other: torch.Tensor | None) -> float:
    """Squared Frobenius norms over all layers of Jacobians, or of their change, mean of rows."""
    total = 0.0
    ends = [at + 1 for at, layer in enumerate(layers[1:], 1) if isinstance(layer, nn.ReLU)]
    for end in [*ends, len(layers)]:
        for row in range(len(x)):
            change = torch.autograd.functional.jacobian(layers[:end], x[row])
            if other is not None:
                change = torch.autograd.functional.jacobian(layers[:end], other[row]) - change
            total += float(change.square().sum())
    return total / len(x)


def test_the_regulariser_is_equation_17_on_the_average():
    detector = small_detector().requires_grad_(False)
    corrector = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)).requires_grad_(False)
    clean = torch.randn(2, 8)
    faulty = clean + torch.randn(2, 8)
    both = [batch.repeat(20_000, 1) for batch in (clean, faulty)]
    for change, norm in ((1.0, 0.0), (0.0, 1.0), (2.0, 3.0)):
        config = MmsslConfig(lambda_jacobian_change=change, lambda_jacobian=norm)
        expected = change * jacobian_energy(detector.layers, clean, faulty)
        expected += norm * jacobian_energy(corrector, clean, None)
        found = float(regulariser(detector, corrector, *both, config))
        assert found == pytest.approx(expected, rel=0.05)


def with_gradients(*values: list[float]) -> list[nn.Parameter]:
    weights = []
    for value in values:
        weight = nn.Parameter(torch.zeros(len(value)))
        weight.grad = torch.tensor(value)
        weights.append(weight)
    return weights


def test_gradients_of_the_subset_are_amplified_and_all_are_held_at_tau_algorithm_1():
    near, far = with_gradients([3.0], [12.0, 0.0])
    amplify([near], [near, far], alpha=3.0, tau=1.0)
    assert near.grad is not None
    assert far.grad is not None
    gradient = [*near.grad.tolist(), *far.grad.tolist()]
    assert gradient == pytest.approx([9 / 15, 12 / 15, 0], rel=1e-4)
    assert math.hypot(*gradient) <= 1


def test_gradients_within_tau_and_without_a_tau_are_only_amplified():
    for tau in (10.0, None):
        near, far = with_gradients([1.0], [2.0])
        amplify([near], [near, far], alpha=3.0, tau=tau)
        assert [near.grad, far.grad] == [torch.tensor([3.0]), torch.tensor([2.0])]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"lambda_con": 10.0}, "detector"),
        ({"lambda_detect": 10.0}, "detector"),
        ({"lambda_jacobian_change": 100.0}, "detector"),
        ({"margin": 50.0}, "detector"),
        ({"alpha": 30.0}, "detector"),
        ({"lambda_sim": 10.0}, "corrector"),
        ({"lambda_jacobian": 100.0}, "corrector"),
        ({"lambda_reg": 0.0}, "both"),
        ({"tau": 0.01}, "both"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_every_switch_changes_the_network_that_it_is_for_and_no_other(changed, what):
    fusion = stage2(**changed)
    assert same(usual().corrector, fusion.corrector) == (what == "detector")
    assert same(usual().detector, fusion.detector) == (what == "corrector")


def test_layers_are_held_at_a_spectral_norm_of_1_unless_that_is_switched_off():
    held = stage2(corrector_learning_rate=0.1)
    free = stage2(CorrectorConfig(depth=2, spectral_norm=False), corrector_learning_rate=0.1)
    assert spectral_norms(held.corrector) == pytest.approx([1, 1], abs=0.2)
    assert min(spectral_norms(free.corrector)) > 1.5


def test_frozen_autoencoders_do_not_change_and_can_be_trained_on_afterwards():
    before = untrained(DEPTH_2)
    for name in ("arm", "tool"):
        assert same(before.encoder(name), usual().encoder(name))
        assert same(before.decoder(name), usual().decoder(name))
    assert not same(before.detector, usual().detector)
    assert all(weight.requires_grad for weight in usual().parameters())


def test_encoded_pairs_know_which_modality_is_at_fault():
    pairs = few_pairs()
    encoded = encode_pairs(usual(), pairs)
    assert encoded.faulty_modality.tolist() == pairs.faulty_modality.tolist()
    changed = (encoded.clean != encoded.faulty).any(1)
    assert changed.tolist() == (pairs.faulty_modality != CLEAN).tolist()
