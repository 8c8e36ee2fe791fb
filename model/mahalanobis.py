"""How far statistics lie from what clean data showed."""

import torch
from torch import Tensor, nn

CLAMP_FIT = 8.0
CLAMP_USE = 30.0
LEAST_STD = 0.03


class Mahalanobis(nn.Module):
    """Log of the squared Mahalanobis distance for each feature, in K blocks of F features.

    Features are standardised and clamped, and their correlation matrix is shrunk towards the
    identity, so that few windows are enough. The logarithm keeps a hundredfold distance comparable
    with a tenfold one.
    """

    mean: Tensor
    std: Tensor
    whitener: Tensor

    def __init__(self, features: int, blocks: int = 1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(blocks, features))
        self.register_buffer("std", torch.ones(blocks, features))
        self.register_buffer("whitener", torch.eye(features).repeat(blocks, 1, 1))

    def fit(self, features_NKF: Tensor, shrinkage: float) -> None:
        """Fit on clean features (N, K, F)."""
        x = features_NKF.double()
        mean, std = x.mean(0), x.std(0, correction=0).clamp_min(LEAST_STD)
        z_KNF = ((x - mean) / std).clamp(-CLAMP_FIT, CLAMP_FIT).transpose(0, 1)
        z_KNF = z_KNF - z_KNF.mean(1, keepdim=True)
        identity = torch.eye(x.shape[2], dtype=torch.float64, device=x.device)
        correlation = z_KNF.transpose(1, 2) @ z_KNF / max(len(x), 1)
        factor = torch.linalg.cholesky((1 - shrinkage) * correlation + shrinkage * identity)
        self.mean.copy_(mean)
        self.std.copy_(std)
        self.whitener.copy_(torch.linalg.solve_triangular(factor, identity, upper=False))

    def forward(self, features_BKF: Tensor) -> Tensor:
        """Return (B, K): 0 where the mean square deviation is that of clean data, more beyond."""
        z = ((features_BKF - self.mean) / self.std).clamp(-CLAMP_USE, CLAMP_USE)
        white_KBF = z.transpose(0, 1) @ self.whitener.transpose(1, 2)
        return white_KBF.square().mean(2).add(1e-3).log().T
