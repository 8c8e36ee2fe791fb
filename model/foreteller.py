"""What other channels foretell of each: speeds from angles, torques from motion, angles from poses.

For vectors this is what a scene is for images. A local polynomial through each channel gives its
slope and curvature, a ridge regression on those foretells what is linear, and a small network what
is not. How far off that usually is depends on the motion, most where friction turns: another small
network says so. Levels whose rates are there too do not follow from other units, but a program
repeats its poses: see `model.posture`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from model.config import ModalityConfig
from model.posture import LEAST_SAMPLES, Posture, descended, levels_of, unit_groups
from model.windows import chunks

HALF = 8  # samples on either side of a local polynomial
ORDER = 3
WIDTH = 96
DOUBTING = 48  # width of the network that says how far off
MOST_DOUBT = 3.0  # as a logarithm
RIDGE = 1e-8  # of the samples' number; features are standardised
STEEP = 30.0  # of a slope near zero, where friction turns
TURNING = 0.05  # of a slope's spread, below which a channel is as good as at rest
TINY = 1e-4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Opinion:
    """What a foreteller leaves over of B windows: ``residual`` (B, T, C), measured minus foretold.

    It is standardised. ``direction`` (B, T, C) in [-1, 1] is where each channel's joint moves;
    zeros without a joint. ``doubt`` (B, T, C) is the logarithm of how many times its usual spread a
    residual then has.
    """

    residual: Tensor
    direction: Tensor
    doubt: Tensor


class Foreteller(nn.Module):
    """Foretells the samples of each unit's channels from those of the other units.

    Levels whose rates are there too do not follow from other units, nor does anything where all
    channels have one: these are foretold by their `Posture`. Nothing is where a window has fewer
    than 4 samples or a single channel, nor are levels without ``poses``.
    """

    fits: Tensor
    scale: Tensor

    def __init__(self, config: ModalityConfig, *, poses: bool = True) -> None:
        super().__init__()
        samples, channels = config.samples, config.channels
        groups, self.levels = unit_groups(config), levels_of(config)
        self.groups = [group for group in groups.values() if not {*group} & {*self.levels}]
        if samples < LEAST_SAMPLES or len(groups) == 1:
            self.groups = []
        self.posture = Posture(self.levels, channels) if poses and self.levels else None
        self.joints = _joints(self.groups, list(groups.values()))
        self.others = [[at for at in range(channels) if at not in group] for group in self.groups]
        self.parts = nn.ModuleList(
            _Part(len(others), len(group))
            for others, group in zip(self.others, self.groups, strict=True)
        )
        fits = local_fits(samples) if self.groups else torch.zeros(3, samples, samples)
        self.register_buffer("fits", fits, persistent=False)
        self.register_buffer("scale", torch.ones(4, channels))

    def forward(self, x_BTC: Tensor) -> Opinion:
        """Return what is left over of standardised samples; zeros where nothing is foretold."""
        foretold = self._from_other_units(x_BTC)
        if self.posture is not None:
            levels, foretold.doubt[..., self.levels] = self.posture(x_BTC)
            foretold.residual[..., self.levels] = x_BTC[..., self.levels] - levels
        return foretold

    def _from_other_units(self, x_BTC: Tensor) -> Opinion:
        """Return the same, of levels zeros."""
        residual, direction, doubt = (torch.zeros_like(x_BTC) for _ in range(3))
        features = self._features(x_BTC)
        for group, others, part in zip(self.groups, self.others, self._parts(), strict=True):
            foretold, doubted = part(features[..., others])
            residual[..., group] = x_BTC[..., group] - foretold
            doubt[..., group] = doubted
        for channel, joint in self.joints.items():
            direction[..., channel] = torch.tanh(features[2, ..., joint] / TURNING)
        return Opinion(residual=residual, direction=direction, doubt=doubt)

    def fit(self, x_NTC: Tensor, steps: int, seed: int) -> Iterator[tuple[int, float]]:
        """Learn from standardised clean windows (N, T, C); yields step and loss.

        The loss is the mean logarithm of each channel's error, so that each counts alike. Levels
        are learnt by `Posture.fit`.
        """
        if not self.groups:
            return
        self._fit_linear(x_NTC)
        unit = torch.cat([part.remains for part in self._parts()])

        def loss_of(at: Tensor) -> Tensor:
            left = self._from_other_units(x_NTC[at]).residual[..., self.foretold] / unit
            loss: Tensor = (left.square().mean((0, 1)) + TINY).log().mean()
            return loss

        networks = [part.network for part in self._parts()]
        yield from descended(networks, loss_of, len(x_NTC), steps, seed)

    def doubting(self) -> list[nn.Module]:
        """Return the networks that say how far off samples foretold from other units may be."""
        return [part.doubts for part in self._parts()]

    def doubted(self, x_BTC: Tensor) -> Tensor:
        """Return what those say alone (B, T, C): see `Opinion.doubt`; zeros of other samples."""
        doubt = torch.zeros_like(x_BTC)
        features = self._features(x_BTC)
        for group, others, part in zip(self.groups, self.others, self._parts(), strict=True):
            doubt[..., group] = part.doubted(_inputs(features[..., others]))
        return doubt

    @torch.no_grad()
    def _fit_linear(self, x_NTC: Tensor) -> None:
        some = x_NTC[:: max(1, len(x_NTC) // 20_000)]
        values = torch.cat([some[None], self._fitted(some)])
        self.scale.copy_(values.std((1, 2), correction=0).clamp_min(TINY))
        for group, others, part in zip(self.groups, self.others, self._parts(), strict=True):
            part.fit_linear(self._features(some)[..., others], some[..., group])

    @property
    def foretold(self) -> list[int]:
        """The channels that are foretold from other units."""
        return [at for group in self.groups for at in group]

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
        self.network = _network(5 * others, WIDTH, channels, depth=3)
        self.doubts = _network(5 * others, DOUBTING, channels, depth=2)

    def forward(self, features_4BTJ: Tensor) -> tuple[Tensor, Tensor]:
        """Return the channels foretold, and the logarithm of how far off that is, (B, T, K)."""
        inputs = _inputs(features_4BTJ)
        linear = _with_constant(features_4BTJ) @ self.weight
        more: Tensor = self.network(inputs).transpose(1, 2) * self.remains
        return linear + more, self.doubted(inputs)

    def doubted(self, inputs_BIT: Tensor) -> Tensor:
        """Return the logarithm of how far off the channels may be (B, T, K)."""
        doubt: Tensor = self.doubts(inputs_BIT).transpose(1, 2)
        return MOST_DOUBT * torch.tanh(doubt / MOST_DOUBT)

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


def _network(inputs: int, width: int, outputs: int, depth: int) -> nn.Sequential:
    """Return convolutions of which the first sees three samples, and which begin at zero."""
    inner = [nn.Conv1d(width, width, 1) for _ in range(depth - 1)]
    layers = [one for layer in inner for one in (nn.GELU(), layer)]
    last = nn.Conv1d(width, outputs, 1)
    for weight in last.parameters():
        nn.init.zeros_(weight)
    return nn.Sequential(nn.Conv1d(inputs, width, 3, padding=1), *layers, nn.GELU(), last)


def _inputs(features_4BTJ: Tensor) -> Tensor:
    """Return what networks are given (B, 5 J, T): features, and slopes steep where motion turns."""
    turning = torch.asinh(STEEP * features_4BTJ[2]) / 3
    return torch.cat([*features_4BTJ, turning], dim=2).transpose(1, 2)


def _with_constant(features_4BTJ: Tensor) -> Tensor:
    rows = torch.cat(list(features_4BTJ), dim=2)
    return torch.cat([rows, torch.ones_like(rows[..., :1])], dim=2)


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
