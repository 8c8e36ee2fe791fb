"""How much a network can amplify a difference of its inputs (paper 1, sections 3.4 and 4.4).

Two figures belong together: the bound, which holds everywhere and is far too large on real data,
and the largest slope found on data, which is reached and may yet be exceeded elsewhere.
"""

import copy
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

LEAST_DISTANCE = 1e-6  # nearer pairs say more of rounding than of the network
GELU_SLOPE = 1.1290  # the steepest of x Phi(x), at the root of 2
FREQUENCIES = 8  # for each tap, along each axis, at which a convolution's gain is looked at


def spectral_norms(network: nn.Module) -> list[float]:
    """Return the largest singular value of each dense layer of ``network``."""
    return [
        spectral_norm(layer.weight) for layer in network.modules() if isinstance(layer, nn.Linear)
    ]


def spectral_norm(weight: Tensor) -> float:
    """Return the largest singular value of a matrix."""
    return float(torch.linalg.matrix_norm(weight.detach().float(), 2))


def product_bound(layers: nn.Sequential) -> float:
    """Return the bound of theorem 3.6: the layers' norms and their activations' slopes, multiplied.

    A batch normalisation, as it is in evaluation, belongs to the convolution before it. Raises
    TypeError for a layer of another kind.
    """
    return math.prod(layer_bound(layer) for layer in _folded(layers))


def layer_bound(layer: nn.Module) -> float:
    """Return how much a layer can amplify a difference of its inputs, at most."""
    if isinstance(layer, nn.Linear):
        return spectral_norm(layer.weight)
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return convolution_bound(layer.weight, layer.stride)
    if isinstance(layer, nn.GELU):
        return GELU_SLOPE
    if isinstance(layer, nn.ReLU):
        return 1.0
    raise TypeError(f"{type(layer).__name__}: no bound is known")


@torch.no_grad()
def convolution_bound(weight: Tensor, stride: tuple[int, ...]) -> float:
    """Return a bound of a convolution's norm, of inputs of any size with zeros around them.

    ``weight`` (out, in, *kernel). On an endless grid the norm is the largest gain at any frequency
    (Sedghi, Gupta and Long 2019, "The singular values of convolutional layers"); a stride makes
    inputs of its phases. A squared gain is a trigonometric polynomial of degree d, one less than
    the taps of a phase, and exceeds its largest of N samples by a factor of 1 / cos(pi d / N) along
    each axis at most (Ehlich and Zeller 1964). A finite input only leaves something out.
    """
    axes = range(len(stride))
    taps = [-(-size // step) for size, step in zip(weight.shape[2:], stride, strict=True)]
    padding = [
        end
        for size, count, step in zip(weight.shape[2:], taps, stride, strict=True)
        for end in (count * step - size, 0)
    ]
    phases = F.pad(weight.detach().double(), padding[::-1])
    sizes = [size for both in zip(taps, stride, strict=True) for size in both]
    phases = phases.reshape(*weight.shape[:2], *sizes)
    order = [*(2 + 2 * at for at in axes), 0, 1, *(3 + 2 * at for at in axes)]
    kernel = phases.permute(order).flatten(len(stride) + 1)  # (*taps, out, in x phases)
    samples = [FREQUENCIES * count for count in taps]
    gain = torch.fft.rfftn(kernel, s=samples, dim=list(axes))
    largest = float(torch.linalg.eigvalsh(gain @ gain.mH).max())
    between = math.prod(
        math.cos(math.pi * (count - 1) / size) for count, size in zip(taps, samples, strict=True)
    )
    return math.sqrt(largest / between)


def _folded(layers: nn.Sequential) -> Iterator[nn.Module]:
    following = [*layers[1:], nn.Identity()]
    for layer, after in zip(layers, following, strict=False):
        if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            yield fuse_conv_bn_eval(layer, after)
        elif not isinstance(layer, nn.BatchNorm2d):
            yield layer


def largest_slope(
    network: nn.Module, points_BN: Tensor, others_BN: Tensor, iterations: int = 50
) -> float:
    """Return the largest slope of a ``network`` of rows found on data; the true one is no smaller.

    The largest of ``|f(x) - f(y)| / |x - y|`` over the rows x, y of ``points`` and ``others``, and
    of the Jacobian's norm at each of ``points``.
    """
    exact = copy.deepcopy(network).double().requires_grad_(False)
    x, y = points_BN.double(), others_BN.double()
    distance = (x - y).norm(dim=1)
    apart = distance > LEAST_DISTANCE
    chords = (exact(x) - exact(y)).norm(dim=1)[apart] / distance[apart]
    norms = jacobian_norms(network, points_BN, iterations)
    return float(torch.cat([chords, norms.double()]).max())


def jacobian_norms(network: nn.Module, points_BN: Tensor, iterations: int = 50) -> Tensor:
    """Return the spectral norm (B,) of the Jacobian at each row, from below, by power iteration.

    Of a single output two iterations give it exactly.
    """
    x = points_BN.detach().clone().requires_grad_()
    output = network(x)
    random = torch.Generator(x.device).manual_seed(0)
    direction = F.normalize(torch.empty_like(points_BN).normal_(generator=random), dim=1)
    image = direction
    for _ in range(iterations):
        image = torch.func.jvp(network, (points_BN.detach(),), (direction,))[1].detach()
        (pulled,) = torch.autograd.grad(output, x, image, retain_graph=True)
        direction = F.normalize(pulled, dim=1)
    norms: Tensor = image.norm(dim=1)
    return norms


def layer_products(layers: nn.Sequential, x_BN: Tensor, v_BN: Tensor) -> list[Tensor]:
    """Return the products ``J(x) v`` (B, width) of every dense layer's Jacobian with ``v``.

    A layer's output counts after its ReLU, and its Jacobian is the one with respect to ``x``. For v
    of independent standard normal numbers the expectation of ``|J v|^2`` is ``|J|_F^2``
    (Hutchinson), which is how equation 17 is computed without a single Jacobian.
    """
    products: list[Tensor] = []
    for layer in layers:
        if isinstance(layer, nn.Linear):
            x_BN, v_BN = layer(x_BN), F.linear(v_BN, layer.weight)
            products.append(v_BN)
        else:
            v_BN = v_BN * (x_BN > 0)
            x_BN = layer(x_BN)
            products[-1] = v_BN
    return products
