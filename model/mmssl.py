"""Stage 2 as published: corrector and detector on frozen autoencoders (paper 1, section 4).

``L = L_rec + L_con + L_sim + L_detect + L_reg``, each with its weight. Encoders are frozen, so the
contrastive loss acts where it can, on the detector's embedding, and the two networks share no
weight: what the loss of one weighs never reaches the other.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import MmsslConfig, TrainingConfig
from model.correcting import (
    Encoded,
    clip,
    descend_on_pairs,
    encode_rounds,
    reconstruction,
    similarity,
    slope_figures,
    spectral_norm_of,
    variances_of,
)
from model.descent import Progress
from model.detector import Detector
from model.fusion import Fusion
from model.lipschitz import layer_products
from model.windows import Corrupt


def train_mmssl(
    fusion: Fusion, corrupt: Corrupt, config: TrainingConfig, progress: Progress
) -> dict[str, float]:
    """Train corrector and detector on ``config.rounds`` rounds of pairs; return what they reached.

    The figures are the running losses at the end, unweighted (figure 12), and `slope_figures`.
    """
    assert fusion.detector is not None
    fusion.requires_grad_(False)
    pairs = encode_rounds(fusion, corrupt, config, progress)
    variances = variances_of(fusion, pairs)
    corrector = list(fusion.corrector.requires_grad_(True).train().parameters())
    detector = list(fusion.detector.requires_grad_(True).train().parameters())
    embedding = list(fusion.detector.embedding.parameters())

    def terms_of(drawn: Tensor, shown: Tensor) -> dict[str, Tensor]:
        return losses(fusion, pairs, drawn, shown, variances, config.mmssl)

    def modulate() -> None:
        clip(corrector, config.tau)
        amplify(embedding, detector, config.mmssl.alpha, config.tau)

    weights = [*corrector, *detector]
    with spectral_norm_of(fusion):
        reached = descend_on_pairs(
            pairs, config, progress, weights, terms_of, factors(config.mmssl), modulate
        )
    fusion.corrector.eval()
    fusion.requires_grad_(True)
    return {f"mmssl_{key}": value for key, value in reached.items()} | slope_figures(fusion, pairs)


def factors(config: MmsslConfig) -> dict[str, float]:
    """Return the weight of each term that `losses` gives; the reconstruction's is 1."""
    return {
        "con": config.lambda_con,
        "sim": config.lambda_sim,
        "detect": config.lambda_detect,
        "reg": config.lambda_reg,
    }


def losses(
    fusion: Fusion,
    pairs: Encoded,
    drawn: Tensor,
    shown: Tensor,
    variances: Mapping[str, float],
    config: MmsslConfig,
) -> dict[str, Tensor]:
    """Return the unweighted terms of equation 18 for the pairs ``drawn`` and frames ``shown``."""
    assert fusion.detector is not None
    scale = fusion.corrector.scale
    clean, faulty = scale(pairs.clean[drawn]), scale(pairs.faulty[drawn])
    hit = pairs.faulty_modality[drawn]
    return {
        "rec": reconstruction(fusion, pairs, drawn, shown, variances),
        "sim": similarity(fusion, pairs.clean[drawn], pairs.faulty[drawn]),
        "con": contrast(fusion.detector, clean, faulty, hit >= 0, config.margin),
        "detect": detection(fusion.detector(faulty), hit),
        "reg": regulariser(fusion.detector, fusion.corrector.layers, clean, faulty, config),
    }


def contrast(
    detector: Detector, clean: Tensor, faulty: Tensor, hit: Tensor, margin: float
) -> Tensor:
    """Return equation 9 on the detector's embedding, the mean over the pairs that are ``hit``."""
    distance = (detector.embedding(clean) - detector.embedding(faulty)).norm(dim=1)
    missing = F.relu(margin - distance) * hit
    return missing.sum() / hit.sum().clamp_min(1)


def detection(logits_BM: Tensor, hit: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of each modality; ``hit`` (B,) is -1 for clean."""
    modalities = torch.arange(logits_BM.shape[1], device=hit.device)
    return F.binary_cross_entropy_with_logits(logits_BM, (hit[:, None] == modalities).float())


def regulariser(
    detector: Detector, corrector: nn.Sequential, clean: Tensor, faulty: Tensor, config: MmsslConfig
) -> Tensor:
    """Return equation 17, a mean over the batch, estimated with one random vector a pair."""
    if not config.lambda_reg:
        return torch.zeros((), device=clean.device)
    v = torch.randn_like(clean)
    here, there = (layer_products(detector.layers, x, v) for x in (clean, faulty))
    change = sum_of_squares([after - before for before, after in zip(here, there, strict=True)])
    norm = sum_of_squares(layer_products(corrector, clean, v))
    return config.lambda_jacobian_change * change + config.lambda_jacobian * norm


def sum_of_squares(products: Sequence[Tensor]) -> Tensor:
    """Return the sum over layers of the mean squared length of rows."""
    return torch.stack([product.square().sum(1).mean() for product in products]).sum()


def amplify(
    amplified: Sequence[nn.Parameter],
    everything: Sequence[nn.Parameter],
    alpha: float,
    tau: float | None,
) -> None:
    """Scale the gradients of a subset by ``alpha``, then all of them to a norm of at most ``tau``.

    Algorithm 1. The subset is the detector's embedding, the layers that see the latents: those of
    the encoder, of which the paper speaks too, are frozen in this stage.
    """
    for weight in amplified:
        if weight.grad is not None:
            weight.grad.mul_(alpha)
    clip(everything, tau)
