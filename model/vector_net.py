"""A small network that sees whether, and in which channels, a vector window was tampered with.

It is shown the samples, their changes, what the past of all channels leaves unexplained, and what
each unit's channels differ by from what the other units' channels foretell: torques from motion,
speeds from angles.
"""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import ModalityConfig

FORETELLING = 64
WIDTHS = (96, 96, 128)
HEAD = 128


def unit_groups(config: ModalityConfig) -> list[list[int]]:
    """Return the columns of each unit; one group of all where the units are not known."""
    named = list(config.units) or [""] * config.channels
    return [[at for at, one in enumerate(named) if one == unit] for unit in dict.fromkeys(named)]


class UnitForetelling(nn.Module):
    """Foretells the samples of each unit's channels from those of the other units, over time.

    Nothing is foretold where all channels have one unit.
    """

    spread: Tensor

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        groups = unit_groups(config)
        self.groups = groups if len(groups) > 1 else []
        self.networks = nn.ModuleList(
            _over_time(config.channels - len(group), len(group)) for group in self.groups
        )
        self.register_buffer("spread", torch.ones(config.channels))

    def residual(self, x_BTC: Tensor) -> Tensor:
        """Return measured minus foretold (B, T, C); zeros where nothing is foretold."""
        x_BCT = x_BTC.transpose(1, 2)
        residual = torch.zeros_like(x_BCT)
        for group, network in zip(self.groups, self.networks, strict=True):
            others = [at for at in range(x_BCT.shape[1]) if at not in group]
            residual[:, group] = x_BCT[:, group] - network(x_BCT[:, others])
        return residual.transpose(1, 2)

    def fit(self, x_NTC: Tensor, steps: int, seed: int) -> Iterator[tuple[int, float]]:
        """Learn from standardised clean windows (N, T, C); yields step and loss.

        The loss is the mean logarithm of each channel's error, so that each counts alike.
        """
        if not self.groups:
            return
        adam = torch.optim.AdamW(self.networks.parameters(), lr=2e-3, weight_decay=1e-3)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        random = torch.Generator().manual_seed(seed)
        for step in range(steps):
            drawn = x_NTC[torch.randint(len(x_NTC), (128,), generator=random)]
            loss = (self.residual(drawn).square().mean((0, 1)) + 1e-6).log().mean()
            adam.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            rate.step()
            yield step + 1, float(loss.detach())
        with torch.no_grad():
            some = self.residual(x_NTC[:: max(1, len(x_NTC) // 4000)])
            self.spread.copy_(some.square().mean((0, 1)).sqrt().clamp_min(1e-4))


class VectorNet(nn.Module):
    """Convolutions over time of samples, changes and residuals; (B, T, 4C) in all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.layers = nn.Sequential(
            nn.Conv1d(4 * channels, a, 5, padding=2),
            nn.GELU(),
            nn.Conv1d(a, b, 5, stride=2, padding=2),
            nn.GELU(),
            nn.Conv1d(b, c, 3, stride=2, padding=1),
            nn.GELU(),
        )
        self.head = nn.Sequential(nn.Linear(2 * c, HEAD), nn.GELU(), nn.Linear(HEAD, 1 + channels))

    def forward(self, clues_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits: of the window (B,) being disturbed, of each channel (B, C)."""
        map_BCT = self.layers(clues_BTC.transpose(1, 2))
        said = self.head(torch.cat([map_BCT.amax(2), map_BCT.mean(2)], dim=1))
        return said[:, 0], said[:, 1:]


def clues_of(x_BTC: Tensor, past_residual: Tensor, unit_residual: Tensor) -> Tensor:
    """Return what `VectorNet` takes (B, T, 4C); residuals (B, T, C) in their own clean spread.

    Logarithms keep a spike of a thousand spreads within reach of one of ten.
    """
    change = F.pad(x_BTC.diff(dim=1), (0, 0, 1, 0))
    parts = (x_BTC, 10 * change, past_residual, unit_residual)
    return torch.cat([_squeezed(part) for part in parts], dim=2)


def _squeezed(x: Tensor) -> Tensor:
    return torch.sign(x) * torch.log1p(x.abs())


def _over_time(inward: int, outward: int) -> nn.Sequential:
    width = FORETELLING
    layers: Sequence[nn.Module] = (
        nn.Conv1d(inward, width, 7, padding=3),
        nn.GELU(),
        nn.Conv1d(width, width, 5, padding=2),
        nn.GELU(),
        nn.Conv1d(width, width, 1),
        nn.GELU(),
        nn.Conv1d(width, outward, 1),
    )
    return nn.Sequential(*layers)
