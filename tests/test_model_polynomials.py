"""What follows of a level from others by a polynomial."""

import numpy as np
import pytest
import torch
from torch import Tensor

from model.polynomials import Polynomials, slope_bound

pytestmark = pytest.mark.usefixtures("one_thread")
NOISE = 1e-3


def moments(count: int, seed: int, reach: float = 1.0, levels: int = 8) -> Tensor:
    """Levels (N, 8) of which the first three are tied to each other, as by a mechanism."""
    random = np.random.default_rng(seed)
    x = random.uniform(-reach, reach, (count, levels))
    x[:, 2] = np.sin(x[:, 0]) + 0.5 * np.cos(x[:, 0] + x[:, 1])
    return torch.from_numpy(x + NOISE * random.standard_normal(x.shape)).float()


@pytest.fixture(scope="module")
def fitted() -> Polynomials:
    polynomials = Polynomials(8)
    polynomials.fit(moments(6000, 1))
    return polynomials


def left(polynomials: Polynomials, x: Tensor) -> Tensor:
    return (x - polynomials(x[:, None])[:, 0]).abs()


def test_a_tie_is_met_to_the_noise_and_goes_on_a_little_beyond(fitted: Polynomials) -> None:
    assert {0, 1} <= {*fitted.partners[2].tolist()}
    assert left(fitted, moments(1000, 2))[:, 2].mean() < 3 * NOISE
    assert left(fitted, moments(1000, 3, reach=1.2))[:, 2].mean() < 10 * NOISE


def test_what_is_tied_to_nothing_is_left_alone(fitted: Polynomials) -> None:
    x = moments(1000, 4)[:, 3:]
    assert torch.allclose(fitted.remains[3:], x.abs().mean(0), rtol=0.1)
    assert fitted.remains[2] < 0.01 * fitted.remains[3]


def test_a_level_is_not_foretold_from_itself(fitted: Polynomials) -> None:
    clean = moments(100, 5)
    moved = clean.clone()
    moved[:, 2] += 0.1
    assert torch.equal(fitted(moved[:, None])[..., 2], fitted(clean[:, None])[..., 2])
    assert left(fitted, moved)[:, 2].min() > 0.05


def test_its_slopes_lie_below_its_bound(fitted: Polynomials) -> None:
    x = moments(50, 6, reach=5.0)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: fitted(row[None, None])[0, 0]))(x)
    assert torch.linalg.matrix_norm(jacobian, 2).max() <= slope_bound(fitted)


@pytest.mark.parametrize("levels", [1, 2])
def test_few_levels_have_few_partners(levels: int) -> None:
    polynomials = Polynomials(levels)
    x = torch.linspace(-1, 1, 300)[torch.randperm(300)][:, None].expand(300, levels)
    polynomials.fit(x)
    assert polynomials.partners.shape == (levels, levels - 1)
    assert left(polynomials, x).mean() < (0.6 if levels == 1 else 1e-3)
