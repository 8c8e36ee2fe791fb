"""Evidence that a frame and the vectors beside it are not of the same moment.

A frame of another time is a healthy frame, and only what moves beside it can give it away. A small
network is shown clean frames, half of them beside the vectors of another moment of their session,
and says how likely those belong together.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.evidence import Evidence, View, Views, clues_in
from model.scene import SMALL_PX

CONCORD = "concord"
MOMENTS = 4
WIDTHS = (32, 64, 96, 96)
FEATURES = 128
GROUPS = 8
LEAST_LOG_SPREAD, MOST_LOG_SPREAD = -4.0, 2.0
FORETELLING_WEIGHT = 0.2
FARTHEST = 20.0  # spreads, beyond which a channel is just elsewhere


def glimpse_of(samples_BTC: Tensor) -> Tensor:
    """Return what a window says of its last moments (B, MOMENTS, C): position and movement.

    The last sample, and those an eighth, a quarter and half of the window before it.
    """
    last = samples_BTC.shape[1] - 1
    at = [last, *(last - (last + 1) // part for part in (8, 4, 2))]
    return samples_BTC[:, [max(one, 0) for one in at]]


class ConcordNet(nn.Module):
    """Reads a small frame, foretells the channels from it, and compares them with a glimpse."""

    place: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        inward = (3 + 2, *WIDTHS)
        self.layers = nn.Sequential(
            *(_strided(a, b) for a, b in zip(inward, WIDTHS, strict=False)),
            nn.Flatten(),
            nn.Linear(WIDTHS[-1] * (SMALL_PX >> len(WIDTHS)) ** 2, FEATURES),
            nn.SiLU(),
        )
        self.foretells = nn.Linear(FEATURES, 2 * channels)
        self.glimpsed = nn.Sequential(
            nn.Linear(MOMENTS * channels, FEATURES), nn.SiLU(), nn.Linear(FEATURES, FEATURES)
        )
        self.head = nn.Sequential(
            nn.Linear(3 * FEATURES + 2 * channels, FEATURES), nn.SiLU(), nn.Linear(FEATURES, 1)
        )
        side = torch.linspace(-1, 1, SMALL_PX)
        place = torch.stack(torch.meshgrid(side, side, indexing="ij"))
        self.register_buffer("place", place[None], persistent=False)

    def forward(self, small: Tensor, glimpse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return of frames (B, 3, 64, 64) beside glimpses (B, MOMENTS, C): the logit (B,) of not
        belonging together, and each channel's mean and logarithmic spread (B, C) by the frame.
        """
        place = self.place.expand(len(small), -1, -1, -1)
        frame = self.layers(torch.cat([4 * (small - 0.5), place], dim=1))
        mean, spread = self.foretells(frame).chunk(2, dim=1)
        spread = spread.clamp(LEAST_LOG_SPREAD, MOST_LOG_SPREAD)
        beside = self.glimpsed(glimpse.flatten(1))
        off = ((glimpse[:, 0] - mean) / spread.exp()).clamp(-FARTHEST, FARTHEST)
        told = torch.cat([frame, beside, frame * beside, off / 3, spread], dim=1)
        return self.head(told)[:, 0], mean, spread


class Concord(Evidence):
    """How surprising it is, in nats, that a frame and what the vectors say belong together.

    0 where there are no vectors to compare it with.
    """

    names: ClassVar[tuple[str, ...]] = (CONCORD,)
    crossed: ClassVar[tuple[str, ...]] = (CONCORD,)
    session_dependent: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.network = ConcordNet(channels)

    def fit(self, views: Views) -> None:
        """Learn nothing here: the network is taught step by step."""

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,)."""
        clues = clues_in(view)
        logit, _, _ = self.network(clues.small, clues.glimpse)
        return {CONCORD: F.softplus(logit) * clues.has_expected}


def concord_loss(said: tuple[Tensor, Tensor, Tensor], apart: Tensor, belongs: Tensor) -> Tensor:
    """Return what `ConcordNet` is to make small, a scalar.

    Of ``apart`` (B,) in {0, 1} and the channels (B, C) that really belong to the frames: the
    binary cross entropy, and a share of the channels' Gaussian negative log likelihood.
    """
    logit, mean, spread = said
    off = (belongs - mean) / spread.exp()
    likelihood = (off.square() / 2 + spread).mean()
    return F.binary_cross_entropy_with_logits(logit, apart) + FORETELLING_WEIGHT * likelihood


def _strided(inward: int, outward: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, stride=2, padding=1),
        nn.GroupNorm(GROUPS, outward),
        nn.SiLU(),
    )
