"""How much a network can amplify a difference of its inputs (paper 1, sections 3.4 and 4.4).

Two figures belong together: the bound, which holds everywhere and is far too large on real data,
and the largest slope found on data, which is reached and may yet be exceeded elsewhere.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_DISTANCE = 1e-6  # nearer pairs say more of rounding than of the network


def spectral_norms(network: nn.Module) -> list[float]:
    """Return the largest singular value of each dense layer of ``network``."""
    return [
        float(torch.linalg.matrix_norm(layer.weight.detach().float(), 2))
        for layer in network.modules()
        if isinstance(layer, nn.Linear)
    ]


def product_bound(network: nn.Module) -> float:
    """Return the bound of theorem 3.6 for dense layers with ReLU between them (K = 1)."""
    return math.prod(spectral_norms(network))


def largest_slope(
    layers: nn.Sequential, points_BN: Tensor, others_BN: Tensor, iterations: int = 50
) -> float:
    """Return the largest slope of dense ``layers`` found on data; the true one is no smaller.

    The largest of ``|f(x) - f(y)| / |x - y|`` over the rows x, y of ``points`` and ``others``, and
    of the Jacobian's norm at each of ``points``.
    """
    exact = copy.deepcopy(layers).double().requires_grad_(False)
    x, y = points_BN.double(), others_BN.double()
    distance = (x - y).norm(dim=1)
    apart = distance > LEAST_DISTANCE
    chords = (exact(x) - exact(y)).norm(dim=1)[apart] / distance[apart]
    norms = jacobian_norms(layers, points_BN, iterations)
    return float(torch.cat([chords, norms.double()]).max())


def jacobian_norms(layers: nn.Sequential, points_BN: Tensor, iterations: int = 50) -> Tensor:
    """Return the spectral norm (B,) of the Jacobian at each row, from below, by power iteration."""
    x = points_BN.detach().clone().requires_grad_()
    output = layers(x)
    random = torch.Generator(x.device).manual_seed(0)
    direction = F.normalize(torch.empty_like(points_BN).normal_(generator=random), dim=1)
    image = direction
    for _ in range(iterations):
        image = layer_products(layers, x, direction)[-1].detach()
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
