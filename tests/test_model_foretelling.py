"""What the other units' channels foretell, and what a session's friction adds."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.random import Generator
from torch import Tensor

from model.config import ModalityConfig
from model.foreteller import local_fits
from model.foretelling import Foretelling

HZ = 100.0
NOISE = {"rad": 1e-4, "rad/s": 4e-3, "N·m": 0.05}
UNITS = ("rad", "rad", "rad/s", "rad/s", "N·m", "N·m")


def arm(units: tuple[str, ...] = UNITS, samples: int = 32) -> ModalityConfig:
    return ModalityConfig(kind="vector", samples=samples, channels=len(units), units=units)


def windows(random: Generator, count: int, friction_nm: float = 1.0) -> np.ndarray:
    """Windows (N, 32, 6) of two joints that swing against their inertia and friction."""
    time_s = np.arange(32) / HZ
    beats = random.uniform(1, 6, (count, 1, 2))
    phase = random.uniform(0, 2 * np.pi, (count, 1, 2))
    turned = beats * time_s[None, :, None] + phase
    q, dq, ddq = np.sin(turned), beats * np.cos(turned), -(beats**2) * np.sin(turned)
    torque = 0.5 * ddq + friction_nm * np.tanh(dq / 0.05)
    values = np.concatenate([q, dq, torque], axis=2)
    noise = np.array([NOISE[unit] for unit in UNITS])
    return values + noise * random.standard_normal(values.shape)


@pytest.fixture(scope="module")
def learnt() -> tuple[Foretelling, np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    clean = windows(random, 300)
    mean, std = clean.mean((0, 1)), clean.std((0, 1))
    foretelling = Foretelling(arm())
    torch.manual_seed(1)
    x = standard(clean, mean, std)
    fit_halves(foretelling, x)
    with torch.no_grad():
        foretelling.fit_spread(foretelling.unexplained(foretelling(x), nothing(len(x))), every(x))
    return foretelling.requires_grad_(False), mean, std


def fit_halves(foretelling: Foretelling, x: Tensor) -> None:
    for half, foreteller in enumerate(foretelling.foretellers):
        losses = [loss for _, loss in foreteller.fit(x[half::2], 150, 1)]
        assert losses[-1] < losses[0] - 0.3


def every(x: Tensor) -> np.ndarray:
    return np.arange(len(x))


def standard(values: np.ndarray, mean: np.ndarray, std: np.ndarray) -> Tensor:
    return torch.from_numpy((values - mean) / std).float()


def nothing(size: int) -> Tensor:
    return torch.zeros(size, 2, len(UNITS))


@pytest.mark.parametrize("samples", [5, 9, 17, 32])
def test_local_fits_are_exact_for_a_polynomial_at_its_ends_too(samples: int) -> None:
    order = min(3, 2 * min(8, (samples - 1) // 2))
    curve = np.polynomial.Polynomial([0.3, -0.2, 0.05, 0.004][: order + 1])
    time = np.arange(samples, dtype=np.float64)
    value, slope, bend = local_fits(samples).double().numpy() @ curve(time)
    assert value == pytest.approx(curve(time), abs=1e-4)
    assert slope == pytest.approx(curve.deriv()(time), abs=1e-4)
    assert bend == pytest.approx(curve.deriv(2)(time), abs=1e-4)


def test_speeds_follow_from_angles_almost_to_their_noise(
    learnt: tuple[Foretelling, np.ndarray, np.ndarray],
) -> None:
    foretelling, mean, std = learnt
    fresh = standard(windows(np.random.default_rng(2), 200), mean, std)
    left = foretelling(fresh).residual.numpy() * std
    inner = np.sqrt(np.square(left[:, 8:24, 2:4]).mean())
    assert 0.8 * NOISE["rad/s"] < inner < 2 * NOISE["rad/s"]


@pytest.mark.parametrize(("channel", "noises"), [(2, 5.0), (5, 8.0)])
def test_an_offset_of_a_few_noises_stands_out(
    learnt: tuple[Foretelling, np.ndarray, np.ndarray], channel: int, noises: float
) -> None:
    foretelling, mean, std = learnt
    clean = windows(np.random.default_rng(4), 100)
    faulty = clean.copy()
    faulty[..., channel] += noises * NOISE[UNITS[channel]]

    def mean_left(values: np.ndarray) -> np.ndarray:
        x = standard(values, mean, std)
        left = foretelling.unexplained(foretelling(x), nothing(len(x)))
        return left[..., channel].mean(1).abs().numpy()

    assert np.median(mean_left(faulty)) > np.quantile(mean_left(clean), 0.99)


def test_a_sessions_own_friction_is_explained_by_what_it_remembers(
    learnt: tuple[Foretelling, np.ndarray, np.ndarray],
) -> None:
    foretelling, mean, std = learnt
    random = np.random.default_rng(5)
    before, now = (standard(windows(random, 100, friction_nm=1.4), mean, std) for _ in range(2))
    known = foretelling(before).friction().mean(0, keepdim=True).expand(len(now), -1, -1)
    without = foretelling.unexplained(foretelling(now), nothing(len(now)))[..., 4:]
    with_it = foretelling.unexplained(foretelling(now), known)[..., 4:]
    assert with_it.square().mean() < 0.25 * without.square().mean()


def test_where_the_motion_makes_it_uncertain_more_may_be_left() -> None:
    random = np.random.default_rng(6)
    clean = windows(random, 400)
    slow = np.abs(clean[..., 2:4]) < 1.0
    clean[..., 4:] += np.where(slow, 1.0, 0.05) * random.standard_normal(slow.shape)
    x = standard(clean, clean.mean((0, 1)), clean.std((0, 1)))
    foretelling, unknown = Foretelling(arm()), nothing(len(x))
    torch.manual_seed(1)
    fit_halves(foretelling, x)
    with torch.no_grad():
        left = foretelling.unexplained(foretelling(x), unknown)
        foretelling.fit_spread(left, every(x))
    assert spread_ratio(left, slow) > 5
    losses = [loss for _, loss in foretelling.fit_doubt(x, foretelling.of_all(x), unknown, 300, 1)]
    assert losses[-1] < losses[0] - 0.3
    with torch.no_grad():
        assert spread_ratio(foretelling.unexplained(foretelling(x), unknown), slow) < 2


def spread_ratio(left: Tensor, slow: np.ndarray) -> float:
    """How many times more is left of torques where their joint is slow."""
    torques = left[..., 4:].numpy()
    return float(np.std(torques[slow]) / np.std(torques[~slow]))


@pytest.mark.parametrize("config", [arm(("rad",)), arm(samples=3)])
def test_where_nothing_follows_from_the_others_nothing_is_left_over(
    config: ModalityConfig,
) -> None:
    foretelling = Foretelling(config)
    x = torch.randn(4, config.samples, config.channels)
    assert all(list(one.fit(x, 5, 1)) == [] for one in foretelling.foretellers)
    foretold = foretelling(x)
    assert list(foretelling.fit_doubt(x, foretold, foretold.friction(), 5, 1)) == []
    assert (foretold.residual == 0).all()
    assert (foretelling.unexplained(foretold, foretold.friction()) == 0).all()


def test_where_the_two_that_foretell_differ_less_is_made_of_what_is_left(
    learnt: tuple[Foretelling, np.ndarray, np.ndarray],
) -> None:
    foretelling, mean, std = learnt
    x = standard(windows(np.random.default_rng(8), 50), mean, std)
    foretold = foretelling(x)

    def left(apart: Tensor) -> Tensor:
        return foretelling.unexplained(replace(foretold, apart=apart), nothing(len(x))).abs()

    agreed, apart = torch.zeros_like(x), 2 * foretelling.spread.expand_as(x)
    assert (left(apart)[..., 2:] < 0.5 * left(agreed)[..., 2:] + 1e-6).all()
    usual, beyond = (foretelling(one).apart[..., 4:].mean() for one in (x, 3 * x))
    assert beyond > 3 * usual
