"""What a camera usually shows: principal components of its small frame, and what poses foretell."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

COMPONENTS = 160
FRAMES = 3000  # as many as the components are fitted on
SMALL_PX = 64  # side to which frames are averaged
DETAIL_PX = 128  # likewise, to look at what is fine
WIDTH = 384
JITTER = 0.03  # standard deviations, added to the vectors while the expectation is learnt


class Scene(nn.Module):
    """A linear picture of one image modality, and its expectation from the vector modalities.

    ``inputs`` is the length of all vector windows together, standardised; 0 where the station has
    none, and nothing is expected then. ``grain`` (128, 128) is what a pixel's fine detail usually
    differs by from what its session usually shows.
    """

    mean: Tensor
    basis: Tensor
    spread: Tensor
    grain: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        values = 3 * SMALL_PX**2
        self.register_buffer("mean", torch.zeros(values))
        # rows beyond the components that could be fitted stay zero
        self.register_buffer("basis", torch.zeros(COMPONENTS, values))
        self.register_buffer("spread", torch.ones(COMPONENTS))
        self.register_buffer("grain", torch.ones(DETAIL_PX, DETAIL_PX))
        self.expectation = (
            nn.Sequential(
                nn.Linear(inputs, WIDTH),
                nn.GELU(),
                nn.Linear(WIDTH, WIDTH),
                nn.GELU(),
                nn.Linear(WIDTH, COMPONENTS),
            )
            if inputs
            else None
        )

    @property
    def expects(self) -> bool:
        """Whether there are vectors to expect anything from."""
        return self.expectation is not None

    def coefficients(self, small: Tensor) -> Tensor:
        """Return (B, components) of small frames (B, 3, 64, 64)."""
        coefficients: Tensor = (small.flatten(1) - self.mean) @ self.basis.T
        return coefficients

    def picture(self, coefficients: Tensor) -> Tensor:
        """Return the small frames (B, 3, 64, 64) that coefficients (B, components) stand for."""
        frames: Tensor = coefficients @ self.basis + self.mean
        return frames.view(-1, 3, SMALL_PX, SMALL_PX)

    def residual(self, small: Tensor) -> Tensor:
        """Return what the components leave over of small frames (B, 3, 64, 64)."""
        return small - self.picture(self.coefficients(small))

    def expected(self, vectors: Tensor) -> Tensor:
        """Return the coefficients that standardised vector windows (B, inputs) foretell."""
        if self.expectation is None:
            return vectors.new_zeros(len(vectors), COMPONENTS)
        expected: Tensor = self.expectation(vectors) * self.spread
        return expected

    def fit_components(self, small: Tensor) -> None:
        """Fit on small frames (N, 3, 64, 64)."""
        frames = small[:: max(1, len(small) // FRAMES)].flatten(1)
        self.mean.copy_(frames.mean(0))
        found = principal_components(frames - self.mean, min(COMPONENTS, len(frames) // 2))
        # half precision is enough, and halves what is stored
        self.basis.zero_()[: len(found)] = found.half().float()

    def fit_expectation(
        self, vectors: Tensor, coefficients: Tensor, episode: Tensor, steps: int, seed: int
    ) -> Iterable[tuple[int, float]]:
        """Learn the coefficients (N, components) from vectors (N, inputs); yields step and loss.

        Each session's mean is taken out first: light and mount are no matter of the pose.
        """
        assert self.expectation is not None
        self.spread.copy_(coefficients.std(0, correction=0).clamp_min(1e-6))
        target = _centred(coefficients, episode) / self.spread
        weight = self.spread.square() / self.spread.square().sum()
        adam = torch.optim.AdamW(self.expectation.parameters(), lr=1e-3, weight_decay=1e-2)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        random = torch.Generator().manual_seed(seed)
        for step in range(steps):
            at = torch.randint(len(vectors), (256,), generator=random)
            jitter = JITTER * torch.randn(len(at), vectors.shape[1], generator=random)
            said = self.expectation(vectors[at] + jitter.to(vectors))
            loss = ((said - target[at]).square().mean(0) * weight).sum()
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            rate.step()
            yield step + 1, float(loss.detach())


def _centred(coefficients: Tensor, episode: Tensor) -> Tensor:
    centred = coefficients - coefficients.mean(0)
    for number in torch.unique(episode):
        here = episode == number
        centred[here] -= centred[here].mean(0)
    return centred


def averaged(x_BCHW: Tensor, side_px: int) -> Tensor:
    """Return ``x`` averaged over equal areas to (B, C, side, side)."""
    height, width = x_BCHW.shape[2:]
    if height % side_px == 0 and width % side_px == 0:
        kernel = (height // side_px, width // side_px)
        return x_BCHW if kernel == (1, 1) else F.avg_pool2d(x_BCHW, kernel)
    return F.adaptive_avg_pool2d(x_BCHW, side_px)


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
