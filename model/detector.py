"""From the latents of one window to how anomalous each modality is (paper 1, section 4.2)."""

from itertools import pairwise

from torch import Tensor, nn

from model.config import DetectorConfig

LOGIT = "detector"  # the name under which a modality's logit is its evidence


class Detector(nn.Module):
    """A dense embedding ``h = H(z)`` and from it one logit a modality, ReLU between all layers.

    It takes joint latents in standard deviations of clean ones, as the corrector's layers do.
    """

    def __init__(self, width: int, config: DetectorConfig, modalities: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inward, outward in pairwise((width, *config.widths)):
            layers += [nn.Linear(inward, outward), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(config.widths[-1], modalities))

    @property
    def embedding(self) -> nn.Sequential:
        """H, which ends before the last ReLU."""
        return self.layers[:-2]

    def forward(self, z_BL: Tensor) -> Tensor:
        """Return the logits (B, modalities) of standardised joint latents (B, width)."""
        logits: Tensor = self.layers(z_BL)
        return logits
