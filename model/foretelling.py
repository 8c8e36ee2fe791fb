"""What the other units' channels foretell of each: speeds from angles, torques from motion.

For vectors this is what a scene is for images. A local polynomial through each channel gives its
slope and curvature, a ridge regression on those foretells what is linear, and a small network what
is not. Friction is a session's own (Coulomb's, along the direction of motion): how much of it there
is more than usual comes from the session's memory.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from model.config import ModalityConfig
from model.windows import Index, chunks

HALF = 8  # samples on either side of a local polynomial
ORDER = 3
WIDTH = 96
RIDGE = 1e-8  # of the samples' number; features are standardised
BATCH = 64
STEEP = 30.0  # of a slope near zero, where friction turns
TURNING = 0.05  # of a slope's spread, below which a channel is as good as at rest
WEIGHT_OF_NONE = 0.03  # of a session without friction, against one in which all samples move
TINY = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Foretold:
    """What B windows leave over: ``residual`` measured minus foretold (B, T, C), standardised.

    ``direction`` (B, T, C) in [-1, 1] is where each channel's joint moves; zeros without a joint.
    """

    residual: Tensor
    direction: Tensor

    def friction(self) -> Tensor:
        """Return what a window says of friction (B, 2, C): see `unexplained`."""
        along = (self.residual * self.direction).mean(1)
        return torch.stack([along, self.direction.square().mean(1)], dim=1)


class Foretelling(nn.Module):
    """Foretells the samples of each unit's channels from those of the other units.

    What does not follow from the others is not foretold: levels whose rates are there too, and
    nothing at all where all channels have one unit or a window has fewer than 4 samples.
    ``spread`` (T, C) is what clean windows leave over.
    """

    fits: Tensor
    scale: Tensor
    spread: Tensor

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        samples, channels = config.samples, config.channels
        groups = unit_groups(config)
        enough = len(groups) > 1 and samples >= 4
        self.groups = [
            group for unit, group in groups.items() if enough and f"{unit}/s" not in groups
        ]
        self.joints = _joints(self.groups, list(groups.values()))
        self.others = [[at for at in range(channels) if at not in group] for group in self.groups]
        self.parts = nn.ModuleList(
            _Part(len(others), len(group))
            for others, group in zip(self.others, self.groups, strict=True)
        )
        fits = local_fits(samples) if self.groups else torch.zeros(3, samples, samples)
        self.register_buffer("fits", fits, persistent=False)
        self.register_buffer("scale", torch.ones(4, channels))
        self.register_buffer("spread", torch.ones(samples, channels))

    def forward(self, x_BTC: Tensor) -> Foretold:
        """Return what is left over of standardised samples; zeros where nothing is foretold."""
        residual, direction = torch.zeros_like(x_BTC), torch.zeros_like(x_BTC)
        features = self._features(x_BTC)
        for group, others, part in zip(self.groups, self.others, self.parts, strict=True):
            residual[..., group] = x_BTC[..., group] - part(features[..., others])
        for channel, joint in self.joints.items():
            direction[..., channel] = torch.tanh(features[2, ..., joint] / TURNING)
        return Foretold(residual=residual, direction=direction)

    def unexplained(self, foretold: Foretold, friction: Tensor) -> Tensor:
        """Return what also the session's ``friction`` leaves over (B, T, C), in usual spreads.

        ``friction`` (B, 2, C) are means over windows of the session: residual times direction, and
        direction squared; zeros where nothing is known. Their quotient is what is usual here.
        """
        more = friction[:, 0] / (friction[:, 1] + WEIGHT_OF_NONE)
        return (foretold.residual - more[:, None] * foretold.direction) / self.spread

    def fit(self, x_NTC: Tensor, steps: int, seed: int) -> Iterator[tuple[int, float]]:
        """Learn from standardised clean windows (N, T, C); yields step and loss.

        The loss is the mean logarithm of each channel's error, so that each counts alike.
        """
        if not self.groups:
            return
        self._fit_linear(x_NTC)
        adam = torch.optim.AdamW(self.parts.parameters(), lr=3e-3, weight_decay=1e-4)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        random = torch.Generator().manual_seed(seed)
        unit = torch.cat([part.remains for part in self._parts()])
        order = [at for group in self.groups for at in group]
        for step in range(steps):
            drawn = x_NTC[torch.randint(len(x_NTC), (BATCH,), generator=random)]
            left = self(drawn).residual[..., order] / unit
            loss = (left.square().mean((0, 1)) + TINY).log().mean()
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            rate.step()
            yield step + 1, float(loss.detach())

    @torch.no_grad()
    def fit_spread(self, left_NTC: Tensor, index: Index) -> Tensor:
        """Learn from the windows at ``index`` what is usually left; return it in that spread."""
        usual = left_NTC[index].square().mean(0).sqrt().clamp_min(TINY)
        self.spread.mul_(usual)
        return left_NTC / usual

    @torch.no_grad()
    def _fit_linear(self, x_NTC: Tensor) -> None:
        some = x_NTC[:: max(1, len(x_NTC) // 20_000)]
        values = torch.cat([some[None], self._fitted(some)])
        self.scale.copy_(values.std((1, 2), correction=0).clamp_min(TINY))
        for group, others, part in zip(self.groups, self.others, self._parts(), strict=True):
            part.fit_linear(self._features(some)[..., others], some[..., group])

    def _parts(self) -> "list[_Part]":
        return [part for part in self.parts if isinstance(part, _Part)]

    def _fitted(self, x_BTC: Tensor) -> Tensor:
        """Return value, slope and curvature (3, B, T, C) of local polynomials."""
        return torch.einsum("kts,bsc->kbtc", self.fits, x_BTC)

    def _features(self, x_BTC: Tensor) -> Tensor:
        """Return the samples and their local fits (4, B, T, C), each in its spread."""
        if not self.groups:
            return x_BTC[None]
        return torch.cat([x_BTC[None], self._fitted(x_BTC)]) / self.scale[:, None, None]


class _Part(nn.Module):
    """Foretells K channels from the features of J others."""

    weight: Tensor
    remains: Tensor

    def __init__(self, others: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(4 * others + 1, channels))
        self.register_buffer("remains", torch.ones(channels))
        last = nn.Conv1d(WIDTH, channels, 1)
        nn.init.zeros_(last.weight)
        self.network = nn.Sequential(
            nn.Conv1d(5 * others, WIDTH, 3, padding=1),
            nn.GELU(),
            nn.Conv1d(WIDTH, WIDTH, 1),
            nn.GELU(),
            nn.Conv1d(WIDTH, WIDTH, 1),
            nn.GELU(),
            last,
        )

    def forward(self, features_4BTJ: Tensor) -> Tensor:
        """Return the channels foretold (B, T, K)."""
        linear = _with_constant(features_4BTJ) @ self.weight
        turning = torch.asinh(STEEP * features_4BTJ[2]) / 3
        inputs = torch.cat([*features_4BTJ, turning], dim=2).transpose(1, 2)
        more: Tensor = self.network(inputs).transpose(1, 2) * self.remains
        return linear + more

    def fit_linear(self, features_4BTJ: Tensor, wanted_BTK: Tensor) -> None:
        """Fit the ridge regression by its normal equations, in double precision."""
        size = self.weight.shape[0]
        gram = torch.zeros(size, size, dtype=torch.float64)
        moment = torch.zeros(self.weight.shape, dtype=torch.float64)
        for part in chunks(len(wanted_BTK), 1000):
            features, wanted = features_4BTJ[:, part], wanted_BTK[part]
            rows = _with_constant(features).double().flatten(0, 1)
            gram += rows.T @ rows
            moment += rows.T @ wanted.double().flatten(0, 1)
        samples = wanted_BTK.shape[0] * wanted_BTK.shape[1]
        ridge = RIDGE * samples * torch.eye(size, dtype=torch.float64)
        self.weight.copy_(torch.linalg.solve(gram + ridge, moment))
        left = wanted_BTK - _with_constant(features_4BTJ) @ self.weight
        self.remains.copy_(left.std((0, 1), correction=0).clamp_min(TINY))


def _with_constant(features_4BTJ: Tensor) -> Tensor:
    rows = torch.cat(list(features_4BTJ), dim=2)
    return torch.cat([rows, torch.ones_like(rows[..., :1])], dim=2)


def unit_groups(config: ModalityConfig) -> dict[str, list[int]]:
    """Return the columns of each unit; one group of all where the units are not known."""
    named = list(config.units) or [""] * config.channels
    return {
        unit: [at for at, one in enumerate(named) if one == unit] for unit in dict.fromkeys(named)
    }


def _joints(groups: Iterable[list[int]], among: Sequence[list[int]]) -> dict[int, int]:
    """Pair the k-th channel of a unit with the k-th of the first other unit that has as many."""
    paired: dict[int, int] = {}
    for group in groups:
        alike = [one for one in among if one is not group and len(one) == len(group)]
        if alike:
            paired.update(zip(group, alike[0], strict=True))
    return paired


def local_fits(samples: int) -> Tensor:
    """Return matrices (3, T, T) that take T samples to value, slope and curvature at each.

    They are those of a cubic through the nearest 17 samples by least squares (A. Savitzky,
    M. Golay, 1964), at the ends of a window through the 17 at that end; per sample of time.
    """
    half = min(HALF, (samples - 1) // 2)
    order = min(ORDER, 2 * half)
    matrices = np.zeros((3, samples, samples))
    for at in range(samples):
        first = min(max(at - half, 0), samples - 2 * half - 1)
        near = np.arange(first, first + 2 * half + 1)
        powers = np.vander(near - at, order + 1, increasing=True)
        value, slope, bend = np.linalg.pinv(powers)[:3]
        matrices[:, at, near] = value, slope, 2 * bend
    return torch.from_numpy(matrices).float()
