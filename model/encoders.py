"""From a clean or corrupted input to its latent (paper 1, section 4)."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import GRID, ModalityConfig, reduced_px


class Standardiser(nn.Module):
    """``(x - mean) / std`` with what was measured on clean training data, kept with the weights."""

    mean: Tensor
    std: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("std", torch.ones(shape))

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Keep ``mean`` and ``std``; a channel that never moved keeps its own unit."""
        self.mean.copy_(mean.reshape(self.mean.shape))
        std = std.reshape(self.std.shape)
        self.std.copy_(torch.where(std > 1e-7, std, torch.ones_like(std)))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` in standard deviations from the mean."""
        return (x - self.mean) / self.std

    def inverse(self, x: Tensor) -> Tensor:
        """Return standardised ``x`` in its own unit again."""
        return x * self.std + self.mean


def feature_sizes(size_px: tuple[int, int], layers: int) -> list[tuple[int, int]]:
    """Return (height, width) of the input and after each of the encoder's ``layers``."""
    sizes = [size_px]
    for _ in range(layers):
        height, width = sizes[-1]
        sizes.append((reduced_px(height), reduced_px(width)))
    return sizes


class ImageEncoder(nn.Module):
    """Convolutions k5, stride 2, padding 1 with ReLU between them; (B, 3, H, W) to (B, latent).

    256 pixels leave a 3x3 map; other sizes are averaged to 3x3. The last layer is linear, so that
    no coordinate of the latent dies.
    """

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        widths = (3, *config.widths)
        layers: list[nn.Module] = []
        for inward, outward in pairwise(widths):
            layers += [nn.Conv2d(inward, outward, 5, stride=2, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        initialise(self)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Encode standardised images."""
        map_BCHW: Tensor = self.layers(x_BCHW)
        if map_BCHW.shape[2:] != (GRID, GRID):
            map_BCHW = F.adaptive_avg_pool2d(map_BCHW, GRID)
        return map_BCHW.flatten(1)


class VectorEncoder(nn.Module):
    """Convolutions k3 over time, pooled; (B, T, C) to (B, latent).

    With the paper's depth of 288 each channel is averaged over the window; a slimmer last layer
    is averaged over as many segments of it as fill the latent.
    """

    def __init__(self, config: ModalityConfig, latent: int) -> None:
        super().__init__()
        widths = (config.channels, *config.widths)
        layers: list[nn.Module] = []
        for inward, outward in pairwise(widths):
            layers += [nn.Conv1d(inward, outward, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        self.segments = latent // config.widths[-1]
        initialise(self)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Encode standardised windows."""
        map_BCT = self.layers(x_BTC.transpose(1, 2))
        return F.adaptive_avg_pool1d(map_BCT, self.segments).flatten(1)


def initialise(module: nn.Module) -> None:
    """Draw weights so that the signal neither dies nor grows through ReLU layers (He, 2015).

    A transposed convolution of stride s touches each output with 1/s of its kernel per axis.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d):
            reach = float(math.prod(layer.kernel_size))
            if isinstance(layer, nn.ConvTranspose1d | nn.ConvTranspose2d):
                reach = max(reach / math.prod(layer.stride), 1.0)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (layer.in_channels * reach)))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def build_encoder(config: ModalityConfig, latent: int) -> nn.Module:
    """Return the encoder that ``config`` describes."""
    return ImageEncoder(config) if config.kind == "image" else VectorEncoder(config, latent)
