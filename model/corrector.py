"""From the latents of corrupted inputs to those of clean ones (paper 1, section 4)."""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from model.encoders import Standardiser


class Corrector(nn.Module):
    """``depth`` dense layers of the latents' joint width with ReLU between them.

    Latents come and go in their own scale, but the layers see them standardised: coordinates of
    an encoder differ a hundredfold in spread, and the loss should weigh them alike. Without layers
    it changes nothing, and only knows the scale.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.scale = Standardiser((width,))
        dense = [nn.Linear(width, width) for _ in range(depth)]
        layers: list[nn.Module] = [*dense[:1]]
        for _, layer in pairwise(dense):
            layers += [nn.ReLU(), layer]
        self.layers = nn.Sequential(*layers)

    def forward(self, z_BL: Tensor) -> Tensor:
        """Return the corrected joint latents (B, width)."""
        corrected: Tensor = self.scale.inverse(self.layers(self.scale(z_BL)))
        return corrected


def constrain(corrector: Corrector) -> None:
    """Hold every layer's spectral norm at 1 until `release`."""
    for layer in corrector.layers:
        if isinstance(layer, nn.Linear):
            parametrizations.spectral_norm(layer)


def release(corrector: Corrector) -> None:
    """Turn constrained layers into plain weights of the same values."""
    for layer in corrector.layers:
        if isinstance(layer, nn.Linear) and parametrize.is_parametrized(layer):
            parametrize.remove_parametrizations(layer, "weight")
