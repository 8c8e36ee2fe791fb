"""Evidence from images: what the principal components do not explain, texture, tone, repetition."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import ModalityConfig
from model.evidence import SMALL_PX, Evidence, View, Views, averaged
from model.mahalanobis import Mahalanobis

COMPONENTS = 160
FRAMES = 3000  # as many as the components are fitted on, spread over all
CELLS = 8
SHRINKAGE = 0.05
GREY_LEVEL = 1 / 255
REPETITION = "repetition"
TONE_QUANTILES = (0.1, 0.5, 0.9)


class ComponentResidual(Evidence):
    """What the principal components of the 64x64 frame leave over, in 8x8 cells.

    ``components``: logarithms of the mean and of the largest absolute residual of a cell, in each
    pixel's own spread, so that a still background is watched more closely than what moves.
    ``shading``: its mean by colour, with its sign, in grey levels. The usual statistics are learnt
    on episodes that the components in use did not see, else they would be too small.
    """

    names: ClassVar[tuple[str, ...]] = ("components", "shading")
    session_dependent: ClassVar[bool] = True
    mean: Tensor
    basis: Tensor
    spread: Tensor

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        values = 3 * SMALL_PX**2
        self.register_buffer("mean", torch.zeros(values))
        self.register_buffer("spread", torch.ones(values))
        # rows beyond the components that could be fitted stay zero
        self.register_buffer("basis", torch.zeros(COMPONENTS, values))
        self.size = Mahalanobis(2 * CELLS**2)
        self.shade = Mahalanobis(3 * CELLS**2)

    def fit(self, views: Views) -> None:
        """Fit on each half for the statistics of the other, then the components on all."""
        frames = torch.cat([view.small for view in views]).flatten(1)
        folds = views.folds().to(frames.device)
        residual = torch.empty_like(frames)
        for fold in (0, 1):
            self._fit_components(frames[folds != fold])
            residual[folds == fold] = self._residual(frames[folds == fold])
        self.spread.copy_(residual.std(0, correction=0).clamp_min(0.25 * GREY_LEVEL))
        parts = torch.split(residual, 256)
        self.size.fit(torch.cat([self._sizes(part) for part in parts]), SHRINKAGE)
        self.shade.fit(torch.cat([self._shades(part) for part in parts]), SHRINKAGE)
        self._fit_components(frames)

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,), by name."""
        residual = self._residual(view.small.flatten(1))
        return {
            "components": self.size(self._sizes(residual))[:, 0],
            "shading": self.shade(self._shades(residual))[:, 0],
        }

    def _fit_components(self, frames_ND: Tensor) -> None:
        x = frames_ND[:: max(1, len(frames_ND) // FRAMES)]
        self.mean.copy_(x.mean(0))
        found = principal_components(x - self.mean, min(COMPONENTS, len(x) // 2))
        # half precision is enough, and halves what is stored
        self.basis.zero_()[: len(found)] = found.half().float()

    def _residual(self, frames_BD: Tensor) -> Tensor:
        centred = frames_BD - self.mean
        return centred - (centred @ self.basis.T) @ self.basis

    def _sizes(self, residual_BD: Tensor) -> Tensor:
        cells = _cells((residual_BD / self.spread).abs().view(-1, 3, SMALL_PX, SMALL_PX))
        return (torch.cat([cells.mean(2), cells.amax(2)], dim=1) + 0.05).log()[:, None]

    @staticmethod
    def _shades(residual_BD: Tensor) -> Tensor:
        means = averaged(residual_BD.view(-1, 3, SMALL_PX, SMALL_PX), CELLS)
        return means.flatten(1)[:, None] / GREY_LEVEL


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


def principal_components(centred_ND: Tensor, components: int) -> Tensor:
    """Return up to ``components`` orthonormal rows (k, D) by randomised subspace iteration.

    Halko, Martinsson, Tropp 2011, algorithm 4.4, with a fixed seed.
    """
    size = min(components, *centred_ND.shape)
    if size < 1:
        return centred_ND[:0]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(len(centred_ND), min(size + 16, len(centred_ND)), generator=generator)
    span = centred_ND.T @ drawn.to(centred_ND)
    for _ in range(3):
        span = centred_ND.T @ (centred_ND @ torch.linalg.qr(span).Q)
    orthonormal = torch.linalg.qr(span).Q
    rotation = torch.linalg.svd(centred_ND @ orthonormal, full_matrices=False).Vh
    components_KD: Tensor = rotation @ orthonormal.T
    return components_KD[:size]


def high_pass(grey_B1HW: Tensor) -> Tensor:
    """Return each pixel minus the mean of its eight neighbours; the border is repeated."""
    x = F.pad(grey_B1HW, (1, 1, 1, 1), mode="replicate")
    rows = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    box = rows[..., :-2, :] + rows[..., 1:-1, :] + rows[..., 2:, :]
    return grey_B1HW + (grey_B1HW - box) / 8


def image_evidences(config: ModalityConfig) -> list[Evidence]:
    """Return the unfitted evidences of an image modality."""
    return [ComponentResidual(config), Texture(config), Tone(config), Repetition()]


def _cells(x_BCHW: Tensor) -> Tensor:
    """Return (B, cells, values in a cell); rows and columns beyond a multiple of 8 are left out."""
    h, w = x_BCHW.shape[2] // CELLS, x_BCHW.shape[3] // CELLS
    cropped = x_BCHW[:, :, : h * CELLS, : w * CELLS]
    batch, channels = x_BCHW.shape[:2]
    split = cropped.reshape(batch, channels, CELLS, h, CELLS, w).permute(0, 2, 4, 1, 3, 5)
    return split.reshape(batch, CELLS**2, channels * h * w)
