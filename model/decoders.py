"""From a latent back to an input: the encoders' mirror images."""

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import GRID, ModalityConfig
from model.encoders import feature_sizes, initialise


class ImageDecoder(nn.Module):
    """Transposed convolutions k5, stride 2; (B, latent) to (B, 3, H, W) in [0, 1] where clean.

    What it computes is added to the mean training image, from which training therefore starts.
    """

    mean_image: Tensor

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        sizes = feature_sizes(config.size_px, len(config.widths))[::-1]
        widths = (*config.widths[::-1], 3)
        layers: list[nn.Module] = []
        for at, (inward, outward) in enumerate(pairwise(widths)):
            # the stride lost a row or column where the size was even
            (h, w), (above_h, above_w) = sizes[at], sizes[at + 1]
            lost = (above_h - 2 * h - 1, above_w - 2 * w - 1)
            layers += [
                nn.ConvTranspose2d(inward, outward, 5, stride=2, padding=1, output_padding=lost),
                nn.ReLU(),
            ]
        self.layers = nn.Sequential(*layers[:-1])
        self.smallest = sizes[0]
        self.register_buffer("mean_image", torch.zeros(3, *config.size_px))
        initialise(self)
        with torch.no_grad():
            next(self.layers[-1].parameters()).mul_(0.1)  # the mean is a better start than noise

    def forward(self, z_BL: Tensor) -> Tensor:
        """Decode latents to images."""
        map_BCHW = z_BL.reshape(len(z_BL), -1, GRID, GRID)
        if self.smallest != (GRID, GRID):
            map_BCHW = F.interpolate(map_BCHW, self.smallest, mode="bilinear")
        difference: Tensor = self.layers(map_BCHW)
        return self.mean_image + 0.1 * difference  # pixels vary by about 0.1


class VectorDecoder(nn.Module):
    """Undoes the pooling with learnt weights, then convolutions k3; (B, latent) to (B, T, C)."""

    def __init__(self, config: ModalityConfig, latent: int) -> None:
        super().__init__()
        deepest = config.widths[-1]
        self.segments = latent // deepest
        self.samples = config.samples
        stride = math.ceil(config.samples / self.segments)
        self.unpool = nn.ConvTranspose1d(deepest, deepest, stride, stride=stride)
        widths = (*config.widths[::-1], config.channels)
        layers: list[nn.Module] = []
        for inward, outward in pairwise(widths):
            layers += [nn.ReLU(), nn.Conv1d(inward, outward, 3, padding=1)]
        self.layers = nn.Sequential(*layers)
        initialise(self)

    def forward(self, z_BL: Tensor) -> Tensor:
        """Decode latents to standardised windows."""
        pooled = z_BL.reshape(len(z_BL), -1, self.segments)
        map_BCT = self.unpool(pooled)[..., : self.samples]
        x_BCT: Tensor = self.layers(map_BCT)
        return x_BCT.transpose(1, 2)


def build_decoder(config: ModalityConfig, latent: int) -> nn.Module:
    """Return the decoder that ``config`` describes."""
    return ImageDecoder(config) if config.kind == "image" else VectorDecoder(config, latent)
