"""A small network that sees whether, and in which channels, a vector window was tampered with.

It is shown the samples, their changes, what the past of all channels leaves unexplained, and what
the other units' channels do.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS = (96, 96, 128)
HEAD = 128


class VectorNet(nn.Module):
    """Convolutions over time of samples, changes and residuals; (B, T, 4C) in all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.inputs = 4 * channels
        self.layers = nn.Sequential(
            nn.Conv1d(self.inputs, a, 5, padding=2),
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


def clues_of(x_BTC: Tensor, past_residual: Tensor, unexplained: Tensor) -> Tensor:
    """Return what `VectorNet` takes (B, T, 4C); residuals (B, T, C) in their usual spreads.

    Logarithms keep a spike of a thousand spreads within reach of one of ten.
    """
    change = F.pad(x_BTC.diff(dim=1), (0, 0, 1, 0))
    parts = (x_BTC, 10 * change, past_residual, unexplained)
    return torch.cat([_squeezed(part) for part in parts], dim=2)


def _squeezed(x: Tensor) -> Tensor:
    return torch.sign(x) * torch.log1p(x.abs())
