"""The perturbation theory of paper 1, section 3, against what networks really do.

The lemmas speak of random weights: each is compared with the mean over 2,000 draws.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.lipschitz import (
    jacobian_norms,
    largest_slope,
    layer_products,
    product_bound,
    spectral_norms,
)

pytestmark = pytest.mark.usefixtures("one_thread")

DRAWS, TOLERANCE = 2000, 0.02
SIGMA = 0.3
OUTPUTS = 64  # of the dense layer
CHANNELS = 16  # out of the convolution
CONVOLUTIONS = [
    pytest.param(F.conv1d, (100,), (5,), 2, id="conv1d"),
    pytest.param(F.conv2d, (12, 12), (3, 3), 1, id="conv2d"),
]


def local(shape: tuple[int, ...], share: float = 0.1) -> Tensor:
    """A fault that hits some of the entries only."""
    return torch.randn(shape).double() * (torch.rand(shape) < share)


def dense_energy(delta: Tensor) -> float:
    hit = delta[delta != 0]  # columns that meet a zero are never seen
    weights = SIGMA * torch.randn(DRAWS, OUTPUTS, len(hit)).double()
    return float((weights @ hit).square().sum(1).mean())


def kernels(count: int, size: tuple[int, ...]) -> Tensor:
    return SIGMA * torch.randn(count, 1, *size).double()


def convolved_energy(convolve, delta: Tensor, size: tuple[int, ...], stride: int) -> float:
    """Mean energy out of ``CHANNELS`` channels; a draw's channels are as independent as draws."""
    out = convolve(delta[None, None], kernels(DRAWS * CHANNELS, size), stride=stride, padding=1)
    return float(out.square().sum()) / DRAWS


def outputs_touched(convolve, shape, size, stride) -> Tensor:
    """|S_i|, how many outputs each input reaches, of all channels together."""
    single = torch.eye(math.prod(shape)).reshape(-1, 1, *shape).double()
    reached = convolve(single, torch.ones(1, 1, *size).double(), stride=stride, padding=1)
    return CHANNELS * (reached != 0).flatten(1).sum(1).reshape(shape)


@pytest.mark.parametrize("multiplicative", [False, True], ids=["lemma 3.1", "lemma 3.3"])
def test_a_dense_layer_spreads_a_faults_energy_over_all_outputs(multiplicative):
    torch.manual_seed(1)
    delta = local((50,))
    if multiplicative:
        delta = delta * torch.rand(50).double()  # x_i epsilon_i
    expected = OUTPUTS * SIGMA**2 * float(delta.square().sum())
    assert dense_energy(delta) == pytest.approx(expected, rel=TOLERANCE)


@pytest.mark.parametrize("multiplicative", [False, True], ids=["lemma 3.2", "lemma 3.4"])
@pytest.mark.parametrize(("convolve", "shape", "size", "stride"), CONVOLUTIONS)
def test_a_convolution_passes_a_faults_energy_on_to_the_outputs_it_reaches(
    convolve, shape, size, stride, multiplicative
):
    torch.manual_seed(2)
    delta = local(shape)
    if multiplicative:
        delta = delta * torch.rand(shape).double()
    touched = outputs_touched(convolve, shape, size, stride)
    expected = SIGMA**2 * float((touched * delta.square()).sum())
    assert convolved_energy(convolve, delta, size, stride) == pytest.approx(expected, rel=TOLERANCE)
    hit = delta != 0
    bound = SIGMA**2 * int(hit.sum()) * int(touched.max()) * float(delta.square().sum())
    assert expected <= bound


@pytest.mark.parametrize(("convolve", "shape", "size", "stride"), CONVOLUTIONS)
@pytest.mark.parametrize("hit", [1, 3])
def test_a_convolution_concentrates_a_fault_in_few_outputs_theorem_3_5(
    convolve, shape, size, stride, hit
):
    """Few outputs are touched; how much each of them gets is another matter.

    At equal variances the theorem says "more than an output of a dense layer": it is as much where
    a single input is hit, and less where several are, for each output sees only some of them. More
    it is with weights scaled to the inputs they sum over, as networks are initialised.
    """
    torch.manual_seed(3)
    delta = torch.zeros(shape).double()
    delta.view(-1)[delta.numel() // 2 :][:hit] = 1.0
    out = convolve(delta[None, None], kernels(CHANNELS, size), stride=stride, padding=1)
    touched = int((out != 0).sum())
    assert touched < out.numel() / 6
    convolved = convolved_energy(convolve, delta, size, stride) / touched
    dense = dense_energy(delta) / OUTPUTS
    if hit == 1:
        assert touched == outputs_touched(convolve, shape, size, stride)[delta != 0].item()
        assert convolved == pytest.approx(dense, rel=2 * TOLERANCE)
    else:
        assert convolved < 0.9 * dense
    assert convolved / math.prod(size) > 3 * dense / delta.numel()


def network(width: int = 24, depth: int = 3, gain: float = 1.5) -> nn.Sequential:
    torch.manual_seed(4)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.ReLU()]
    with torch.no_grad():
        for layer in layers[::2]:
            layer.weight.mul_(gain)
    return nn.Sequential(*layers[:-1])


def test_no_slope_found_on_data_exceeds_the_product_of_spectral_norms_theorem_3_6():
    layers = network()
    points, others = torch.randn(200, 24), torch.randn(200, 24)
    slope = largest_slope(layers, points, others)
    assert 0.1 * product_bound(layers) < slope <= product_bound(layers)


def test_the_slope_of_a_linear_network_is_its_largest_singular_value():
    layers = nn.Sequential(nn.Linear(10, 6))
    points = torch.randn(4, 10)
    slope = largest_slope(layers, points, points, iterations=200)
    assert slope == pytest.approx(spectral_norms(layers)[0], rel=1e-4)


def test_a_slope_between_points_is_seen_although_both_are_flat():
    """Both ends lie where the ReLUs are dead or saturated against each other."""
    step = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1))
    with torch.no_grad():
        for weight, values in zip(
            step.parameters(), ([[10.0], [10.0]], [0.0, -10.0], [[1.0, -1.0]], [0.0]), strict=True
        ):
            weight.copy_(torch.tensor(values))
    low, high = torch.tensor([[-0.5]]), torch.tensor([[1.5]])
    assert jacobian_norms(step, torch.cat([low, high])).tolist() == [0, 0]
    assert largest_slope(step, low, high) == pytest.approx(5.0)


def test_a_corrupted_input_moves_the_output_by_no_more_than_slope_and_curvature_theorem_3_7():
    """A smooth network, for the Jacobian of ReLUs jumps: f(x) = w2 tanh(w1 x)."""
    torch.manual_seed(5)
    w1, w2 = torch.randn(20, 10).double(), torch.randn(8, 20).double() / 5
    steepest = 4 / (3 * math.sqrt(3))  # of the derivative of tanh
    rows = float(w1.norm(dim=1).max())
    norms = [float(torch.linalg.matrix_norm(w, 2)) for w in (w1, w2)]
    curvature = norms[1] * steepest * rows * norms[0]
    x = torch.randn(300, 10).double()
    delta = torch.randn(300, 10).double() * torch.logspace(-2, 1, 300)[:, None].double()
    moved = (torch.tanh((x + delta) @ w1.T) - torch.tanh(x @ w1.T)) @ w2.T
    derivative = 1 - torch.tanh(x @ w1.T) ** 2
    jacobians = w2 @ (derivative[:, :, None] * w1)
    first = torch.linalg.matrix_norm(jacobians, 2) * delta.norm(dim=1)
    second = curvature / 2 * delta.square().sum(1)
    assert (moved.norm(dim=1) <= first + second).all()
    assert (moved.norm(dim=1) > first).any()  # the slope at the clean input alone is not enough


def test_a_layers_product_is_that_of_its_jacobian():
    layers = network(width=6)
    x, v = torch.randn(5, 6), torch.randn(5, 6)
    for at, product in enumerate(layer_products(layers, x, v)):
        upto = layers[: 2 * at + 2]  # with its ReLU
        for row in range(5):
            jacobian = torch.autograd.functional.jacobian(upto, x[row])
            torch.testing.assert_close(product[row], jacobian @ v[row])


def test_random_products_give_the_frobenius_norm_without_a_jacobian():
    layers = network(width=6).requires_grad_(False)
    x = torch.randn(1, 6)
    jacobian = torch.autograd.functional.jacobian(layers, x[0])
    product = layer_products(layers, x.expand(20_000, -1), torch.randn(20_000, 6))[-1]
    estimate = product.square().sum(1).mean()
    assert float(estimate) == pytest.approx(float(jacobian.square().sum()), rel=0.05)
