"""Bounds of what is learnt, against norms and slopes worked out by brute force."""

import math

import pytest
import torch
from torch import Tensor, nn

from model.frame_net import PLANES, FrameNet
from model.lipschitz import convolution_bound, jacobian_norms, product_bound, spectral_norm
from model.restorers import FrameRestorer, VectorRestorer
from model.scene import COMPONENTS
from model.slopes import (
    OfRows,
    frame_bound,
    frame_restorer_bound,
    vector_bound,
    vector_restorer_bound,
)
from model.vector_net import VectorNet
from tests.test_model_synthetic import trained

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = [f"{modality}_{what}" for modality in ("camera", "arm") for what in ("network", "restorer")]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(6)


def matrix_of(convolution: nn.Conv1d | nn.Conv2d, size: int) -> Tensor:
    """Its matrix for inputs of this size, a row for each input."""
    shape = (convolution.in_channels, *[size] * len(convolution.stride))
    single = torch.eye(math.prod(shape)).reshape(-1, *shape)
    return (convolution(single) - convolution(0 * single)).detach().flatten(1)


@pytest.mark.parametrize(
    ("convolution", "size"),
    [
        pytest.param(nn.Conv1d(3, 4, 5, padding=2), 40, id="line"),
        pytest.param(nn.Conv1d(3, 4, 5, stride=2, padding=2), 40, id="line of every second"),
        pytest.param(nn.Conv2d(2, 3, 3, stride=2, padding=1), 16, id="frame of every second"),
        pytest.param(nn.Conv2d(2, 3, 6, stride=4, padding=1), 20, id="patches"),
    ],
)
def test_a_convolution_amplifies_no_more_than_its_bound_and_hardly_less(
    convolution: nn.Conv1d | nn.Conv2d, size: int
) -> None:
    exact = spectral_norm(matrix_of(convolution, size))
    bound = convolution_bound(convolution.weight, convolution.stride)
    assert exact <= bound < 1.15 * exact


def test_a_batch_normalisation_belongs_to_the_convolution_before_it() -> None:
    convolution, normalisation = nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.BatchNorm2d(3)
    with torch.no_grad():
        normalisation.weight.copy_(torch.tensor([4.0, 0.5, 1.0]))
        normalisation.running_var.copy_(torch.tensor([0.25, 1.0, 9.0]))
        normalisation.running_mean.fill_(3.0)
    layers = nn.Sequential(convolution, normalisation, nn.ReLU()).eval()
    single = torch.eye(2 * 12**2).reshape(-1, 2, 12, 12)
    exact = spectral_norm((layers[:2](single) - layers[:2](0 * single)).detach().flatten(1))
    assert exact <= product_bound(layers) < 1.15 * exact


def test_the_steepest_part_of_an_activation_counts() -> None:
    gelu = nn.Sequential(nn.Linear(1, 1), nn.GELU())
    with torch.no_grad():
        gelu[0].weight.fill_(1.0)
        gelu[0].bias.zero_()
    slope = jacobian_norms(gelu, torch.linspace(-4, 4, 2001)[:, None]).max()
    assert float(slope) == pytest.approx(product_bound(gelu), rel=1e-4)
    assert slope <= product_bound(gelu)


def test_a_layer_of_which_nothing_is_known_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Softmax: no bound is known"):
        product_bound(nn.Sequential(nn.Linear(2, 2), nn.Softmax()))


def steepest(output: Tensor, *inputs: Tensor) -> float:
    """The largest norm of a gradient of any row's single output."""
    found = torch.autograd.grad(output.sum(), inputs)
    squares = [one.flatten(1).square().sum(1) for one in found]
    return float(torch.stack(squares).sum(0).sqrt().max())


def test_no_gradient_of_a_logit_exceeds_its_networks_bound() -> None:
    frames = FrameNet().eval()
    pixels = torch.rand(2, 3, 256, 256, requires_grad=True)
    planes = torch.randn(2, PLANES, 64, 64, requires_grad=True)
    slope = steepest(frames(pixels, planes)[0], pixels, planes)
    assert 0 < slope <= frame_bound(frames)
    vectors = VectorNet(4).eval()
    clues = torch.randn(20, 32, 16, requires_grad=True)
    assert 0 < steepest(vectors(clues)[0], clues) <= vector_bound(vectors, 32)


def test_no_jacobian_of_a_restorer_exceeds_its_bound() -> None:
    frames, known = FrameRestorer(), torch.ones(8, dtype=torch.bool)
    given = frames.given(*torch.randn(3, 8, COMPONENTS), torch.zeros(8), known)
    slopes = jacobian_norms(OfRows(frames, lambda _, rows: frames.restored(rows)), given)
    assert 1 < slopes.max() <= frame_restorer_bound(frames)
    vectors = VectorRestorer(samples=8, channels=3, beside=5)
    rows = torch.randn(8, vectors.layers[0].in_features)
    predicted = jacobian_norms(nn.Sequential(*vectors.layers[:-1], first(vectors, 24)), rows)
    assert 0 < predicted.max() <= vector_restorer_bound(vectors)


def first(restorer: VectorRestorer, outputs: int) -> nn.Linear:
    """Its last layer, of which only the first outputs are kept."""
    last = restorer.layers[-1]
    kept = nn.Linear(last.in_features, outputs)
    with torch.no_grad():
        kept.weight.copy_(last.weight[:outputs])
        kept.bias.copy_(last.bias[:outputs])
    return kept


def test_planes_count_even_where_the_patches_are_faint() -> None:
    frames = FrameNet().eval()
    with torch.no_grad():
        frames.patches[0].weight.mul_(1e-3)
    pixels = torch.rand(1, 3, 256, 256)
    planes = torch.randn(1, PLANES, 64, 64, requires_grad=True)
    assert 0 < steepest(frames(pixels, planes)[0], planes) <= frame_bound(frames)


def test_a_restorer_says_the_same_of_what_it_is_given_side_by_side() -> None:
    frames = FrameRestorer()
    last, then, now = torch.randn(3, 6, COMPONENTS)
    age, known = torch.arange(6.0), torch.arange(6) % 2 == 0
    said = frames(last, then, now, age, known)
    there = known[:, None].float()
    moved = there * (last + now - then) + (1 - there) * now
    corrected = frames.layers(frames.given(last, then, now, age, known))
    assert torch.allclose(said, moved + corrected, atol=1e-6)


def test_the_card_tells_bound_and_slope_of_what_detects_and_of_what_corrects() -> None:
    figures = trained()[1].training.figures
    for name in NAMES:
        assert 0 < figures[f"{name}_slope"] <= figures[f"{name}_bound"], name
    assert figures["camera_restorer_slope"] > 1  # it moves on from the last clean frame
