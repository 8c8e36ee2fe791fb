"""A small network that sees whether, and where, a frame was tampered with.

It is shown what closed-form means leave unexplained beside the frame itself: the components'
residual, what the session usually shows, also in detail, what the vectors foretell, the frame
before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.scene import SMALL_PX

PATCH_WIDTH = 32
WIDTHS = (48, 64, 96)
HEAD = 128
MASK_CELLS = SMALL_PX // 2
PLANES = 25
HIGHEST = (1, 8, 64)  # cells, whose mean logits speak for the frame
CELL_GAIN = 0.25  # logits of cells are large beside pooled maps
RESIDUAL_GAIN = 8.0  # residuals are small beside the frame: brought to about one
SURPRISE_GAIN = 4.0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clues:
    """What B frames are judged by.

    ``pixels`` (B, 3, H, W) and ``small`` (B, 3, 64, 64) in [0, 1]; ``previous`` small, and
    ``change`` (B, 1, 64, 64) the largest absolute change of a pixel since then; ``coefficients``
    and ``residual`` of the scene's components; ``expected`` coefficients from the vectors, and
    ``surprise``, small minus their picture; ``usual_residual`` and ``usual_surprise`` the same of
    the session's mean; ``lasting`` (B, 128, 128) what fine detail differs by from the session's, in
    each pixel's grain; ``glimpse`` (B, moments, C) what the vectors did lately. What is not there
    (``has_…`` False, all bool (B,)) counts for nothing.
    """

    pixels: Tensor
    small: Tensor
    previous: Tensor
    change: Tensor
    coefficients: Tensor
    expected: Tensor
    residual: Tensor
    usual_residual: Tensor
    surprise: Tensor
    usual_surprise: Tensor
    lasting: Tensor
    glimpse: Tensor
    has_previous: Tensor
    has_usual: Tensor
    has_expected: Tensor

    def planes(self, alone: bool = False) -> Tensor:
        """Return everything but the frame as (B, PLANES, 64, 64); ``alone`` without vectors."""
        previous, usual, expected = (
            flags.view(-1, 1, 1, 1).to(self.small)
            for flags in (self.has_previous, self.has_usual, self.has_expected & (not alone))
        )
        flag = torch.ones_like(self.small[:, :1])
        return torch.cat(
            [
                self.small - 0.45,
                RESIDUAL_GAIN * self.residual,
                RESIDUAL_GAIN * (self.residual - self.usual_residual) * usual,
                SURPRISE_GAIN * self.surprise * expected,
                SURPRISE_GAIN * (self.surprise - self.usual_surprise) * usual * expected,
                RESIDUAL_GAIN * (self.small - self.previous) * previous,
                SURPRISE_GAIN * self.change * previous,
                F.pixel_unshuffle(torch.asinh(self.lasting)[:, None] / 2, 2),
                flag * usual,
                flag * previous,
            ],
            dim=1,
        )


class FrameNet(nn.Module):
    """A convolution of the frame in patches of 4x4, then three of it and the planes together.

    A frame of another size than 256 is resampled to 256 pixels first.
    """

    def __init__(self) -> None:
        super().__init__()
        # wider steps and fewer maps of 128 pixels a side train half as fast again
        self.patches = _strided(3, PATCH_WIDTH, kernel=6, stride=4)
        inward = (PATCH_WIDTH + PLANES, *WIDTHS)
        self.blocks = nn.ModuleList(_strided(a, b) for a, b in zip(inward, WIDTHS, strict=False))
        pooled = 2 * sum(WIDTHS) + len(HIGHEST)
        self.head = nn.Sequential(nn.Linear(pooled, HEAD), nn.ReLU(), nn.Linear(HEAD, 1))
        self.mask = nn.Sequential(
            nn.Conv2d(WIDTHS[0] + WIDTHS[1], 32, 1), nn.ReLU(), nn.Conv2d(32, 1, 3, padding=1)
        )

    def forward(self, pixels: Tensor, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits: of the frame (B,) being disturbed, of each cell (B, 32, 32)."""
        maps = self.maps(self.patches_of(pixels), planes)
        cells = self.cells(maps)
        return self.logit(maps, cells), cells

    def patches_of(self, pixels: Tensor) -> Tensor:
        """Return the map (B, PATCH_WIDTH, 64, 64) of frames (B, 3, H, W) in [0, 1]."""
        patches: Tensor = self.patches(self.resampled(pixels) - 0.45)
        return patches

    @staticmethod
    def resampled(pixels: Tensor) -> Tensor:
        """Return frames (B, 3, H, W) in 256 pixels a side."""
        side = 4 * SMALL_PX
        if pixels.shape[2:] == (side, side):
            return pixels
        return F.interpolate(pixels, (side, side), mode="area")

    def maps(self, patches: Tensor, planes: Tensor) -> list[Tensor]:
        """Return the maps that all else is read from, (B, WIDTHS[k], 32 / 2**k, 32 / 2**k)."""
        x = torch.cat([patches, planes], dim=1)
        maps = []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps

    def logit(self, maps: Sequence[Tensor], cells: Tensor) -> Tensor:
        """Return the logit (B,) of the frame being disturbed, by its maps and logits of cells."""
        pooled = [one.amax((2, 3)) for one in maps] + [one.mean((2, 3)) for one in maps]
        highest = cells.flatten(1).topk(max(HIGHEST)).values
        pooled += [CELL_GAIN * highest[:, :most].mean(1, keepdim=True) for most in HIGHEST]
        logit: Tensor = self.head(torch.cat(pooled, dim=1))
        return logit[:, 0]

    def cells(self, maps: Sequence[Tensor]) -> Tensor:
        """Return the logits (B, 32, 32) of each cell being disturbed."""
        fine, coarse = maps[0], F.interpolate(maps[1], scale_factor=2.0)
        cells: Tensor = self.mask(torch.cat([fine, coarse], dim=1))
        return cells[:, 0]


def _strided(inward: int, outward: int, kernel: int = 3, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inward, outward, kernel, stride=stride, padding=1, bias=False),
        nn.BatchNorm2d(outward),
        nn.ReLU(),
    )
