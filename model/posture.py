"""What the other channels foretell of an angle at the same moment, because poses repeat.

A tool held upright, or two arms at one part, tie joints to each other: see `model.polynomials`. A
program besides takes an arm through few of all poses, and a small network learns what repeats where
no tie is. How far off all that is depends on the pose, and is learnt with it. Where motions are
random, little is foretold, and the network knows how little.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from model.config import ModalityConfig
from model.polynomials import Polynomials

LEAST_SAMPLES = 4  # of a window of which anything is foretold
WIDTH = 160
MOMENTS = 256  # a step
BATCH = 64
LEAST_LOG_SPREAD, MOST_LOG_SPREAD = -12.0, 2.0
TIED = 0.01  # of a level's spread: what its polynomial leaves over where it is tied to others
FARTHEST = 4.0  # from what a polynomial foretells, in what it leaves over
FITTED = 4  # moments of a window that polynomials are fitted on


class Posture(nn.Module):
    """Foretells each of K ``levels`` from all other channels, and how far off that may be.

    What polynomials leave over is the network's to foretell, but for levels that are tied: there it
    would only say something where it saw nothing. All levels share two layers of the network; which
    one is asked for, and that its own value is not given, is a matter of the first.
    """

    def __init__(self, levels: list[int], channels: int) -> None:
        super().__init__()
        self.levels = levels
        self.polynomials = Polynomials(len(levels))
        self.enter = nn.Linear(channels, WIDTH)
        self.asked = nn.Parameter(torch.randn(len(levels), WIDTH) / channels**0.5)
        self.layers = nn.Sequential(nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU())
        self.last = nn.Parameter(torch.zeros(len(levels), WIDTH, 2))

    def forward(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """Return of standardised samples the levels foretold (B, T, K), and the logarithms of
        their spreads.
        """
        own = x_BTC[..., self.levels, None] * self.enter.weight.T[self.levels]
        entered = self.enter(x_BTC)[..., None, :] - own + self.asked
        said = torch.einsum("btkw,kwo->btko", self.layers(entered), self.last)
        more, spread = said.unbind(-1)
        foretold = self.polynomials(x_BTC[..., self.levels])
        foretold = foretold + self.loose() * FARTHEST * torch.tanh(more / FARTHEST)
        spread = spread + self.polynomials.remains.log()
        return foretold, spread.clamp(LEAST_LOG_SPREAD, MOST_LOG_SPREAD)

    def loose(self) -> Tensor:
        """Return what polynomials leave over of each level (K,), zero of those that are tied."""
        remains = self.polynomials.remains
        return remains * (remains > TIED)

    def fit(self, x_NTC: Tensor, steps: int, seed: int) -> Iterator[tuple[int, float]]:
        """Learn from standardised clean windows (N, T, C), in turn; yields step and loss.

        The loss is the negative logarithm of their likelihood, of Laplace's distribution: moments
        that nothing foretells are rare and far off.
        """
        windows, samples = x_NTC.shape[:2]
        at = torch.arange(FITTED * windows)
        moments = x_NTC[at // FITTED, at * 7919 % samples]
        self.polynomials.fit(moments[:, self.levels])

        def loss_of(at: Tensor) -> Tensor:
            moment = at * 7919 % samples  # of each window another one
            x = x_NTC[at, moment][:, None]
            foretold, spread = self(x)
            off = (x[..., self.levels] - foretold).abs()
            loss: Tensor = (off / spread.exp() + spread).mean()
            return loss

        yield from descended([self], loss_of, len(x_NTC), steps, seed, MOMENTS)


def unit_groups(config: ModalityConfig) -> dict[str, list[int]]:
    """Return the columns of each unit; one group of all where the units are not known."""
    named = list(config.units) or [""] * config.channels
    return {
        unit: [at for at, one in enumerate(named) if one == unit] for unit in dict.fromkeys(named)
    }


def levels_of(config: ModalityConfig) -> list[int]:
    """Return the channels that follow from no other unit: levels whose rates are there, or all."""
    groups = unit_groups(config)
    if config.samples < LEAST_SAMPLES or config.channels < 2:
        return []
    if len(groups) == 1:
        return list(range(config.channels))
    return [at for unit, group in groups.items() if f"{unit}/s" in groups for at in group]


def descended(
    networks: Iterable[nn.Module],
    loss_of: Callable[[Tensor], Tensor],
    windows: int,
    steps: int,
    seed: int,
    batch: int = BATCH,
) -> Iterator[tuple[int, float]]:
    """Make ``loss_of`` small over windows drawn by their numbers; yields step and loss."""
    weights = [weight for network in networks for weight in network.parameters()]
    adam = torch.optim.AdamW(weights, lr=3e-3, weight_decay=1e-4)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    random = torch.Generator().manual_seed(seed)
    for step in range(steps):
        loss = loss_of(torch.randint(windows, (batch,), generator=random))
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        rate.step()
        yield step + 1, float(loss.detach())
