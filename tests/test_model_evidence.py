"""Each evidence against faults that it never saw, on a station that it knows clean."""

import functools
from typing import get_args

import cv2
import numpy as np
import pytest
import torch

from model.baseline import Habit
from model.config import Dispensable
from model.evidence import vector_view
from model.fusion import Fusion
from model.image_evidence import Texture, high_pass
from model.judging import score_windows, session_habits, weigh_windows
from model.mahalanobis import Mahalanobis
from model.past import RENEWED
from model.scene import principal_components
from model.vector_evidence import Autoregression, Plateaus
from model.windows import Windows
from tests.test_model_synthetic import (
    ARM,
    model_config,
    noisy,
    occluded,
    station,
    trained,
    with_images,
    with_vectors,
    without,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@functools.cache
def held_out() -> Windows:
    return station(6, 48, seed=50)


@functools.cache
def clean_habits() -> dict[str, dict[str, Habit]]:
    fusion, _ = trained()
    return session_habits(fusion, weigh_windows(fusion, held_out()), held_out())


def shares_raised(faulty: Windows) -> dict[str, float]:
    fusion, _ = trained()
    clean = held_out()
    scores = fusion.score(weigh_windows(fusion, faulty), faulty.present, clean_habits())
    known = np.arange(len(clean)) % 48 >= 10  # the baseline needs ten windows
    return {name: float((values[known] > 1).mean()) for name, values in scores.items()}


def changed_arm(change) -> Windows:
    values = held_out().vectors["arm"].copy()
    change(values)
    return with_vectors(held_out(), values)


def stick(values: np.ndarray) -> None:
    values[:, :, 1] = values[:, :1, 1]


def step(values: np.ndarray) -> None:
    values[:, 16:, 0] += 0.1


def drift(values: np.ndarray) -> None:
    values[:, :, 0] += np.linspace(0, 0.3, values.shape[1])


def offset(values: np.ndarray) -> None:
    values[:, :, 0] += 2.0


def changed_frames(change) -> Windows:
    return with_images(held_out(), np.stack([change(x) for x in held_out().images["camera"]]))


def test_clean_windows_of_new_episodes_raise_about_as_often_as_calibrated():
    scores = score_windows(trained()[0], held_out())
    for name, values in scores.items():
        assert np.mean(values > 1) < 0.06, name
        assert abs(np.median(values)) < 0.3, name


@pytest.mark.parametrize("change", [stick, step, drift, offset])
def test_a_changed_joint_raises_the_arm_and_not_the_camera(change):
    raised = shares_raised(changed_arm(change))
    assert raised["arm"] > 0.95
    assert raised["camera"] < 0.1


def test_noise_four_times_the_sensors_own_raises_the_arm():
    assert shares_raised(noisy(held_out(), size=0.02))["arm"] > 0.95


@pytest.mark.parametrize(
    "change",
    [
        lambda x: cv2.GaussianBlur(x, (0, 0), 1.0),
        lambda x: x * 0,
        lambda x: np.roll(x, 1, axis=2),
        lambda x: (x + np.random.default_rng(0).normal(0, 6, x.shape)).clip(0, 255).astype("u1"),
    ],
    ids=["blur", "black", "colour swap", "noise"],
)
def test_a_changed_picture_raises_the_camera_and_not_the_arm(change):
    raised = shares_raised(changed_frames(change))
    assert raised["camera"] > 0.95
    assert raised["arm"] < 0.1


def test_an_occlusion_raises_the_camera():
    assert shares_raised(occluded(held_out()))["camera"] > 0.95


def test_a_repeated_frame_raises_the_camera_and_its_first_showing_does_not():
    clean = held_out()
    odd = (np.arange(len(clean)) % 2 == 1)[:, None, None, None]
    frames = clean.images["camera"]
    repeated = np.where(odd, frames[np.maximum(clean.previous["camera"], 0)], frames)
    evidence = weigh_windows(trained()[0], with_images(clean, repeated))["camera"]["repetition"]
    assert evidence[1::2].all()
    assert not evidence[::2].any()
    assert 0.48 <= shares_raised(with_images(clean, repeated))["camera"] < 0.6


def test_an_absent_modality_scores_nothing_and_leaves_the_other_alone():
    fusion, _ = trained()
    clean = held_out()
    scores, blind = score_windows(fusion, clean), score_windows(fusion, without(clean, "camera"))
    assert not blind["camera"].any()
    assert np.array_equal(blind["arm"], scores["arm"])


def test_evidence_of_a_window_does_not_depend_on_its_batch():
    fusion, _ = trained()
    clean = station(1, 2 * RENEWED, seed=9)
    one, many = (weigh_windows(fusion, clean, batch=size) for size in (1, len(clean)))
    for name, kinds in one.items():
        for kind, values in kinds.items():
            assert values == pytest.approx(many[name][kind], abs=1e-3, nan_ok=True), (name, kind)


def test_the_residual_of_a_predictable_signal_is_far_below_the_signal():
    fusion, _ = trained()
    windows = station(2, 20, seed=8)
    samples = fusion.view(windows.take(np.arange(40)), "arm").samples
    residual = next(m for m in fusion.evidence_modules("arm") if isinstance(m, Autoregression))
    assert float(residual.residual(samples).std()) < 0.05 * float(samples.std())


def test_windows_shorter_than_the_memory_still_have_a_residual():
    short = Autoregression(ARM.model_copy(update={"samples": 5}))
    assert short.residual(torch.randn(2, 5, 8)).shape == (2, 3, 8)


def test_distance_grows_with_deviation_and_follows_the_correlation():
    torch.manual_seed(0)
    common = torch.randn(5000, 1)
    clean = torch.cat([common, common + 0.1 * torch.randn(5000, 1)], dim=1)[:, None]
    distance = Mahalanobis(2)
    distance.fit(clean, shrinkage=1e-4)
    along, across = distance(torch.tensor([[[2.0, 2.0]], [[2.0, -2.0]]]))[:, 0].tolist()
    assert across > along + 2
    assert float(distance(clean).exp().mean()) == pytest.approx(1.0, abs=0.1)


def test_principal_components_span_what_varies():
    torch.manual_seed(0)
    basis = torch.linalg.qr(torch.randn(40, 3)).Q
    data = torch.randn(200, 3) @ basis.T
    found = principal_components(data, 3)
    assert torch.allclose(found @ found.T, torch.eye(3), atol=1e-4)
    assert torch.allclose((data @ found.T) @ found, data, atol=1e-3)


def test_high_pass_is_a_pixel_minus_the_mean_of_its_neighbours():
    grey = torch.zeros(1, 1, 5, 5)
    grey[..., 2, 2] = 8.0
    passed = high_pass(grey)
    assert float(passed[0, 0, 2, 2]) == pytest.approx(8.0)
    assert float(passed[0, 0, 1, 2]) == pytest.approx(-1.0)
    assert float(high_pass(torch.full((1, 1, 4, 4), 3.0)).abs().max()) < 1e-5


def test_texture_takes_images_that_eight_does_not_divide():
    fusion, _ = trained()
    config = fusion.config.modalities["camera"].model_copy(update={"size_px": (70, 93)})
    windows = station(1, 2, seed=1)
    odd = np.random.default_rng(0).integers(0, 255, (2, 70, 93, 3), dtype=np.uint8)
    view = fusion.view(with_images(windows, odd).take(np.arange(2)), "camera")
    assert torch.isfinite(Texture(config)(view)["texture"]).all()


def test_plateaus_tell_what_is_held_or_rounded_however_little_that_changes() -> None:
    evidence, clean = Plateaus(ARM), torch.from_numpy(station(6, 48, seed=70).vectors["arm"])
    evidence.fit([vector_view(clean)])
    usual = evidence(vector_view(clean))["plateaus"]
    held, rounded = clean.clone(), clean.clone()
    held[:, 1::2, 1] = held[:, ::2, 1]
    rounded[..., 2] = (rounded[..., 2] / 0.02).round() * 0.02
    for changed in (held, rounded):
        odd = evidence(vector_view(changed))["plateaus"]
        assert (odd > usual.max()).float().mean() > 0.9


def test_every_evidence_can_be_left_out_but_what_corrections_need() -> None:
    every = {
        one.names[0] for name in ("camera", "arm") for one in trained()[0].evidence_modules(name)
    }
    names = get_args(Dispensable)
    assert {*every, "motion"} - {"learnt"} == set(names)  # motion needs units
    bare = Fusion(model_config().model_copy(update={"without": names}))
    left = {one.names[0] for name in ("camera", "arm") for one in bare.evidence_modules(name)}
    assert left == {"learnt"}
