"""What the other angles of a pose foretell of one."""

import numpy as np
import pytest
import torch
from torch import Tensor

from model.config import ModalityConfig
from model.foretelling import Foretelling
from model.posture import Posture, levels_of
from model.slopes import posture_bound

pytestmark = pytest.mark.usefixtures("one_thread")
UNITS = ("rad",) * 3 + ("rad/s",) * 3


def arm(units: tuple[str, ...] = UNITS, samples: int = 32) -> ModalityConfig:
    return ModalityConfig(kind="vector", samples=samples, channels=len(units), units=units)


def program(count: int, seed: int, wandering_rad: float = 0.0) -> Tensor:
    """Windows (N, 32, 6) of three joints on one path, whose speed differs from time to time.

    The first joint may wander by itself.
    """
    random = np.random.default_rng(seed)
    along = (
        random.uniform(0, 6, (count, 1)) + random.uniform(0.2, 2, (count, 1)) * np.arange(32) / 50
    )
    angles = np.stack([np.sin(along), np.cos(2 * along), np.sin(3 * along + 1)], axis=2)
    rates = np.gradient(angles, axis=1) * 5
    angles[..., 0] += wandering_rad * random.standard_normal((count, 1))
    return torch.from_numpy(np.concatenate([angles, rates], axis=2)).float()


def learnt(x: Tensor, steps: int = 1500) -> Posture:
    torch.manual_seed(1)
    posture = Posture([0, 1, 2], 6)
    losses = [loss for _, loss in posture.fit(x, steps, 1)]
    assert np.mean(losses[-20:]) < losses[0] - 1
    return posture.requires_grad_(False)


@pytest.fixture(scope="module")
def posture() -> Posture:
    return learnt(program(1500, 1))


def off(posture: Posture, x: Tensor) -> Tensor:
    """How far off each level is (N, T, 3), in the spreads that the network gives."""
    foretold, spread = posture(x)
    return (x[..., :3] - foretold).abs() / spread.exp()


def test_an_angle_that_leaves_the_path_stands_out_and_the_network_is_not_given_it(
    posture: Posture,
) -> None:
    clean = program(300, 2)
    faulty = clean.clone()
    faulty[..., 1] += 0.2
    assert torch.allclose(posture(faulty)[0][..., 1], posture(clean)[0][..., 1], atol=1e-4)
    usual = np.quantile(off(posture, clean)[..., 1], 0.95)
    assert (off(posture, faulty)[..., 1] > usual).float().mean() > 0.9


def test_where_a_level_is_tied_to_others_the_network_says_nothing(posture: Posture) -> None:
    # the second angle is the cosine of twice what the first is the sine of, and the third neither
    assert posture.loose()[1] == 0
    assert posture.loose()[2] > 0
    x = program(50, 6)
    tied = posture.polynomials(x[..., :3])
    foretold, _ = posture(x)
    assert torch.equal(foretold[..., 1], tied[..., 1])
    assert (x[..., 2] - foretold[..., 2]).abs().mean() < (x[..., 2] - tied[..., 2]).abs().mean()


def test_it_knows_how_little_follows_of_an_angle_that_wanders() -> None:
    spread = learnt(program(1500, 3, wandering_rad=0.5))(program(200, 4))[1]
    assert spread[..., 0].mean() > spread[..., 1:].mean() + 0.5


def test_its_slopes_lie_below_its_bound(posture: Posture) -> None:
    x = program(20, 5)[:, 0]
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: posture(row[None, None])[0][0, 0]))(x)
    assert torch.linalg.matrix_norm(jacobian, 2).max() <= posture_bound(posture)


@pytest.mark.parametrize(
    ("config", "levels"),
    [
        (arm(), [0, 1, 2]),
        (arm(("V", "A")), []),
        (arm(("rad",) * 3), [0, 1, 2]),
        (arm(("rad",)), []),
        (arm(samples=3), []),
    ],
    ids=["rates", "two units", "one unit", "one channel", "short"],
)
def test_levels_are_what_follows_from_no_other_unit(
    config: ModalityConfig, levels: list[int]
) -> None:
    assert levels_of(config) == levels
    foretelling = Foretelling(config)
    assert bool(foretelling.postures) == bool(levels)
    x = torch.randn(2, config.samples, config.channels)
    assert foretelling(x).residual.shape == x.shape
