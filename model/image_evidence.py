"""Evidence from images: what components do not explain, detail, texture, tone, repetition."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from model.concord import Concord
from model.config import ModalityConfig
from model.evidence import Evidence, Noticed, Noticing, View, Views, clues_in
from model.frame_net import FrameNet
from model.mahalanobis import Mahalanobis
from model.scene import SMALL_PX, averaged

CELLS = 8
SHRINKAGE = 0.05
GREY_LEVEL = 1 / 255
REPETITION = "repetition"
TONE_QUANTILES = (0.1, 0.5, 0.9)


class ComponentResidual(Evidence):
    """What the scene's components leave over of the 64x64 frame, in 8x8 cells.

    ``components``: logarithms of the mean and of the largest absolute residual of a cell, in each
    pixel's own spread, so that a still background is watched more closely than what moves.
    ``shading``: its mean by colour, with its sign, in grey levels. The views to fit on must come
    from scenes that did not see them, else the usual residual would be too small.
    """

    names: ClassVar[tuple[str, ...]] = ("components", "shading")
    session_dependent: ClassVar[bool] = True
    spread: Tensor

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        self.register_buffer("spread", torch.ones(3, SMALL_PX, SMALL_PX))
        self.size = Mahalanobis(2 * CELLS**2)
        self.shade = Mahalanobis(3 * CELLS**2)

    def fit(self, views: Views) -> None:
        """Learn each pixel's spread, then the usual residual in the cells."""
        residual = torch.cat([_residual(view) for view in views])
        self.spread.copy_(residual.std(0, correction=0).clamp_min(0.25 * GREY_LEVEL))
        parts = torch.split(residual, 256)
        self.size.fit(torch.cat([self._sizes(part) for part in parts]), SHRINKAGE)
        self.shade.fit(torch.cat([self._shades(part) for part in parts]), SHRINKAGE)

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,), by name."""
        residual = _residual(view)
        return {
            "components": self.size(self._sizes(residual))[:, 0],
            "shading": self.shade(self._shades(residual))[:, 0],
        }

    def _sizes(self, residual: Tensor) -> Tensor:
        cells = _cells((residual / self.spread).abs())
        return (torch.cat([cells.mean(2), cells.amax(2)], dim=1) + 0.05).log()[:, None]

    @staticmethod
    def _shades(residual: Tensor) -> Tensor:
        return averaged(residual, CELLS).flatten(1)[:, None] / GREY_LEVEL


class Learnt(Noticing):
    """What a network says that taught itself on procedural disturbances, as logits.

    ``learnt`` sees the frame, its session and the frame before; ``foretold`` also sees what the
    vectors foretell, and is the same where they foretell nothing. ``unsettled`` stands for both
    while the session has not shown yet what is usual: what the network says then is on another
    level, and habits of it would mislead later. What does not apply is NaN.
    """

    names: ClassVar[tuple[str, ...]] = ("learnt", "foretold", "unsettled")
    crossed: ClassVar[tuple[str, ...]] = ("foretold",)
    session_dependent: ClassVar[bool] = True

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        self.network = FrameNet()

    def fit(self, views: Views) -> None:
        """Learn nothing here: the network is taught step by step."""

    def noticed(self, view: View) -> tuple[dict[str, Tensor], Noticed]:
        """Return the evidence (B,), by name, and the logits of cells."""
        clues, network = clues_in(view), self.network
        patches = network.patches_of(clues.pixels)
        alone = network.maps(patches, clues.planes(alone=True))
        together = network.maps(patches, clues.planes())
        cells = network.cells(together)
        learnt = network.logit(alone, network.cells(alone))
        evidence = {
            "learnt": learnt.where(clues.has_usual, torch.nan),
            "foretold": network.logit(together, cells).where(clues.has_usual, torch.nan),
            "unsettled": learnt.where(~clues.has_usual, torch.nan),
        }
        return evidence, (cells,)

    def where(self, noticed: Noticed) -> Tensor:
        """Return the logits of cells (B, 32, 32)."""
        return noticed[0]


class Statistics(Evidence):
    """How far some ``features`` of a frame lie from what clean ones have."""

    session_dependent: ClassVar[bool] = True
    features: ClassVar[int]

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        self.distance = Mahalanobis(self.features)

    def fit(self, views: Views) -> None:
        """Learn what clean frames have."""
        self.distance.fit(torch.cat([self._features(view) for view in views]), SHRINKAGE)

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,)."""
        return {self.names[0]: self.distance(self._features(view))[:, 0]}

    @staticmethod
    def _features(view: View) -> Tensor:
        """Return (B, 1, features)."""
        raise NotImplementedError


class Detail(Statistics):
    """How much fine detail differs from what the session usually shows, in 8x8 cells.

    Logarithms of the mean and of the largest difference in a cell. NaN while the session is too
    young to have shown anything.
    """

    names: ClassVar[tuple[str, ...]] = ("detail",)
    features: ClassVar[int] = 2 * CELLS**2

    def fit(self, views: Views) -> None:
        """Learn what clean frames have whose session is known."""
        parts = [self._features(view)[clues_in(view).has_usual] for view in views]
        if any(map(len, parts)):
            self.distance.fit(torch.cat(parts), SHRINKAGE)

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,)."""
        known = clues_in(view).has_usual
        return {key: one.where(known, torch.nan) for key, one in super().forward(view).items()}

    @staticmethod
    def _features(view: View) -> Tensor:
        cells = _cells(clues_in(view).lasting.abs()[:, None])
        return (torch.cat([cells.mean(2), cells.amax(2)], dim=1) + 0.05).log()[:, None]


class Texture(Statistics):
    """Statistics that need no model of the scene.

    High-pass energy, median and maximum in 8x8 cells, mean colours in 4x4, shares of pixels that
    are all but black or white.
    """

    names: ClassVar[tuple[str, ...]] = ("texture",)
    features: ClassVar[int] = 3 * CELLS**2 + 3 * 16 + 2

    @staticmethod
    def _features(view: View) -> Tensor:
        red, green, blue = view.pixels.unbind(1)
        grey = ((red + green + blue) / 3)[:, None]
        edges = _cells(high_pass(grey).abs())
        # a median sorts: some 256 values of a cell tell it as well as all
        sample = edges[..., :: max(1, edges.shape[2] // 256)]
        texture = [edges.square().mean(2).sqrt(), sample.median(2).values, edges.amax(2)]
        colours = averaged(view.small, 4).flatten(1)
        dark, bright = grey < 3 * GREY_LEVEL, grey > 252 * GREY_LEVEL
        extremes = torch.stack([flags.count_nonzero((1, 2, 3)) for flags in (dark, bright)], dim=1)
        shares = extremes / grey[0].numel() + 1e-3
        logarithms = (torch.cat(texture, dim=1) + 0.1 * GREY_LEVEL).log()
        return torch.cat([logarithms, 10 * colours, shares.log()], dim=1)[:, None]


class Tone(Statistics):
    """How light, how coloured and how rich in contrast the frame is as a whole.

    Few numbers, so that a dimmed light is not lost among hundreds that it leaves alone; the
    components cannot see it, for the light is one of them.
    """

    names: ClassVar[tuple[str, ...]] = ("tone",)
    features: ClassVar[int] = 3 + 1 + len(TONE_QUANTILES)

    @staticmethod
    def _features(view: View) -> Tensor:
        grey = view.small.mean(1).flatten(1)
        quantiles = torch.quantile(grey, grey.new_tensor(TONE_QUANTILES), dim=1).T
        colours = view.small.mean((2, 3))
        contrast = grey.std(1, correction=0)[:, None]
        return (torch.cat([colours, contrast, quantiles], dim=1) + GREY_LEVEL).log()[:, None]


class Repetition(Evidence):
    """1 where a frame equals the one before it in every pixel, else 0."""

    names: ClassVar[tuple[str, ...]] = (REPETITION,)

    def fit(self, views: Views) -> None:
        """Learn nothing: the calibration says whether clean frames repeat."""

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,)."""
        same = (view.frame == view.previous).flatten(1).all(1)
        return {REPETITION: (same & view.has_previous).float()}


def high_pass(grey_B1HW: Tensor) -> Tensor:
    """Return each pixel minus the mean of its eight neighbours; the border is repeated."""
    x = F.pad(grey_B1HW, (1, 1, 1, 1), mode="replicate")
    rows = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    box = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]
    return grey_B1HW + (grey_B1HW - box) / 8


def image_evidences(config: ModalityConfig, channels: int) -> list[Evidence]:
    """Return the unfitted evidences of an image beside so many vector channels, 0 for none."""
    alone: list[Evidence] = [
        ComponentResidual(config),
        Detail(config),
        Texture(config),
        Tone(config),
        Repetition(),
        Learnt(config),
    ]
    return [*alone, Concord(channels)] if channels else alone


def _residual(view: View) -> Tensor:
    return clues_in(view).residual


def _cells(x_BCHW: Tensor) -> Tensor:
    """Return (B, cells, values in a cell); rows and columns beyond a multiple of 8 are left out."""
    h, w = x_BCHW.shape[2] // CELLS, x_BCHW.shape[3] // CELLS
    cropped = x_BCHW[:, :, : h * CELLS, : w * CELLS]
    batch, channels = x_BCHW.shape[:2]
    split = cropped.reshape(batch, channels, CELLS, h, CELLS, w).permute(0, 2, 4, 1, 3, 5)
    return split.reshape(batch, CELLS**2, channels * h * w)
