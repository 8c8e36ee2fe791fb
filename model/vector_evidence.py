"""Evidence from vectors: what the past of all channels does not explain, and unusual levels."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import ModalityConfig
from model.evidence import Evidence, Noticed, Noticing, View, Views
from model.mahalanobis import Mahalanobis
from model.posture import LEAST_SAMPLES, levels_of
from model.vector_net import VectorNet, clues_of

SHRINKAGE = 0.03
RIDGE = 1e-5  # of the samples' number; channels are standardised
POSE = "pose"
TINY = 1e-3  # in standard deviations, under a logarithm
UNCHANGED = 1e-5  # likewise: what interpolation of equal values leaves


class Prediction(Evidence):
    """A linear ridge prediction of each sample from the ``order`` before it, all channels.

    What it leaves over is evidence; how that is weighed, subclasses say.
    """

    session_dependent: ClassVar[bool] = True
    weight: Tensor
    spread: Tensor
    distance: Mahalanobis

    def __init__(self, channels: int, order: int) -> None:
        super().__init__()
        self.order = order
        self.register_buffer("weight", torch.zeros(order * channels + 1, channels))
        self.register_buffer("spread", torch.ones(channels))

    def fit(self, views: Views) -> None:
        """Fit the prediction by its normal equations, then the residual's usual statistics."""
        inputs, outputs = self.weight.shape
        gram = torch.zeros(inputs, inputs, dtype=torch.float64, device=self.weight.device)
        moment = torch.zeros(inputs, outputs, dtype=torch.float64, device=self.weight.device)
        samples = 0
        for view in views:
            past, present = self._unrolled(view.samples.double())
            past, present = past.flatten(0, 1), present.flatten(0, 1)
            gram += past.T @ past
            moment += past.T @ present
            samples += len(past)
        ridge = torch.full((inputs,), RIDGE * samples, dtype=torch.float64, device=gram.device)
        ridge[-1] = 0.0  # the constant is not shrunk
        self.weight.copy_(torch.linalg.solve(gram + torch.diag(ridge), moment))
        square = torch.cat([self.residual(view.samples).square().mean(1) for view in views])
        self.spread.copy_(square.mean(0).sqrt().clamp_min(1e-4))
        self.distance.fit(torch.cat([self.features(view.samples) for view in views]), SHRINKAGE)

    def features(self, x_BTC: Tensor) -> Tensor:
        """Return (B, K, F), the statistics in the blocks that ``distance`` takes."""
        raise NotImplementedError

    def residual(self, x_BTC: Tensor) -> Tensor:
        """Return (B, samples predicted, C): measured minus predicted, standardised units."""
        past, present = self._unrolled(x_BTC)
        return present - past @ self.weight.to(past.dtype)

    def _unrolled(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        past = x_BTC.unfold(1, self.order, 1)[:, :-1].flatten(2)
        constant = torch.ones_like(past[..., :1])
        return torch.cat([past, constant], dim=2), x_BTC[:, self.order :]

    def _statistics(self, x_BTC: Tensor) -> list[Tensor]:
        """Return logarithms (B, C) of the residual's root mean square, maximum and mean.

        As logarithms a residual that is too small counts too: a stuck channel has lost its noise.
        """
        r = self.residual(x_BTC) / self.spread
        # a mean near zero is nothing special: its logarithm must not have a long left tail
        statistics = [r.square().mean(1).sqrt() + TINY, r.abs().amax(1) + TINY]
        statistics.append(r.mean(1).abs() + 20 * TINY)
        return [values.log() for values in statistics]


class Autoregression(Prediction):
    """The residual of values, of all channels together."""

    names: ClassVar[tuple[str, ...]] = ("autoregression",)

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__(config.channels, longest_memory(config.samples))
        self.distance = Mahalanobis(3 * config.channels)

    def features(self, x_BTC: Tensor) -> Tensor:
        """Return (B, 1, 3C)."""
        return torch.cat(self._statistics(x_BTC), dim=1)[:, None]

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,)."""
        return {self.names[0]: self.distance(self.features(view.samples))[:, 0]}


class Dynamics(Prediction):
    """The residual of changes from sample to sample, of the channel that is worst.

    Changes know nothing of levels: a robot that rests in another pose than in training moves as
    ever. A channel's residual is judged beside how far it moves, and by itself, since among 26
    channels one fault is lost in the others' spread: noise of 0.02 rad on one joint of a
    teleoperated robot was found in 94 % of windows so, and in 32 % all together.
    """

    names: ClassVar[tuple[str, ...]] = ("dynamics",)

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__(config.channels, longest_memory(config.samples - 1))
        self.distance = Mahalanobis(4, blocks=config.channels)

    def features(self, x_BTC: Tensor) -> Tensor:
        """Return (B, C, 4)."""
        return torch.stack([*self._statistics(x_BTC), log_range(x_BTC)], dim=2)

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,)."""
        return {self.names[0]: self.distance(self.features(view.samples)).amax(1)}

    def _unrolled(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        return super()._unrolled(x_BTC.diff(dim=1))


class Level(Evidence):
    """Mean of each channel over the window and logarithm of its range, against all of training."""

    names: ClassVar[tuple[str, ...]] = ("level",)
    session_dependent: ClassVar[bool] = True

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        self.distance = Mahalanobis(2 * config.channels)

    def fit(self, views: Views) -> None:
        """Learn usual levels and ranges."""
        self.distance.fit(torch.cat([self._features(view.samples) for view in views]), SHRINKAGE)

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,)."""
        return {self.names[0]: self.distance(self._features(view.samples))[:, 0]}

    @staticmethod
    def _features(x_BTC: Tensor) -> Tensor:
        return torch.cat([x_BTC.mean(1), log_range(x_BTC)], dim=1)[:, None]


class Plateaus(Evidence):
    """How long, and how often, a channel does not change at all, of the channel that is worst.

    Judged beside how far it moves: a joint at rest repeats its speed. A value that was rounded,
    held, clipped or sampled too rarely is smooth enough to look like motion, but for its steps.
    """

    names: ClassVar[tuple[str, ...]] = ("plateaus",)

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        self.distance = Mahalanobis(3, blocks=config.channels)

    def fit(self, views: Views) -> None:
        """Learn how long channels usually stand still."""
        self.distance.fit(torch.cat([self._features(view.samples) for view in views]), SHRINKAGE)

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,)."""
        return {self.names[0]: self.distance(self._features(view.samples)).amax(1)}

    @staticmethod
    def _features(x_BTC: Tensor) -> Tensor:
        same = (x_BTC.diff(dim=1).abs() < UNCHANGED).to(x_BTC)
        run, longest = torch.zeros_like(same[:, 0]), torch.zeros_like(same[:, 0])
        for now in same.unbind(1):
            run = (run + 1) * now
            longest = torch.maximum(longest, run)
        counts = [longest.log1p(), same.sum(1).log1p()]
        return torch.stack([*counts, log_range(x_BTC)], dim=2)


class Unexplained(Evidence):
    """What other channels leave unexplained of some ``channels``, of the one that is worst.

    A channel's root mean square, that of its changes and its mean over the window are judged
    together: what is foretold badly is foretold badly for a while, noise is not.
    """

    session_dependent: ClassVar[bool] = True

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        self.channels = channels
        self.distance = Mahalanobis(3, blocks=len(channels))

    def fit(self, views: Views) -> None:
        """Learn what is usually left unexplained."""
        self.distance.fit(torch.cat([self._features(view) for view in views]), SHRINKAGE)

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,)."""
        return {self.names[0]: self.distance(self._features(view)).amax(1)}

    def _features(self, view: View) -> Tensor:
        left = unexplained(view)[..., self.channels]
        sizes = [(part.square().mean(1).sqrt() + TINY).log() for part in (left, left.diff(dim=1))]
        return torch.stack([*sizes, left.mean(1)], dim=2)


class Motion(Unexplained):
    """A speed does not follow from the angles, or a torque not from the motion."""

    names: ClassVar[tuple[str, ...]] = ("motion",)


class Pose(Unexplained):
    """An angle does not follow from the others, as it does in the poses that a program repeats."""

    names: ClassVar[tuple[str, ...]] = (POSE,)


class LearntVectors(Noticing):
    """What a network says that taught itself on procedural disturbances, as a logit.

    ``past`` is what it is shown besides the view; it is fitted before it.
    """

    names: ClassVar[tuple[str, ...]] = ("learnt",)
    session_dependent: ClassVar[bool] = True

    def __init__(self, config: ModalityConfig) -> None:
        super().__init__()
        self.past = Autoregression(config)
        self.network = VectorNet(config.channels)

    def fit(self, views: Views) -> None:
        """Fit what the past foretells; the networks are taught step by step."""
        self.past.fit(views)

    def noticed(self, view: View) -> tuple[dict[str, Tensor], Noticed]:
        """Return the evidence (B,), and the channels' logits."""
        logit, channels = self.network(self.clues(view))
        return {self.names[0]: logit}, (channels,)

    def where(self, noticed: Noticed) -> Tensor:
        """Return the logits of channels (B, C)."""
        return noticed[0]

    def clues(self, view: View) -> Tensor:
        """Return what the network takes (B, T, 4C)."""
        x_BTC = view.samples
        past = self.past.residual(x_BTC) / self.past.spread
        # the first samples have no past to be foretold from
        past = F.pad(past, (0, 0, x_BTC.shape[1] - past.shape[1], 0))
        return clues_of(x_BTC, past, unexplained(view))


def unexplained(view: View) -> Tensor:
    """Return what the other units leave unexplained (B, T, C)."""
    if view.unexplained is None:
        raise ValueError(
            "this evidence needs what is unexplained, and the view was prepared without"
        )
    return view.unexplained


def longest_memory(samples: int) -> int:
    """Return how many samples a prediction looks back: 8, or half of a short window."""
    return min(8, max(1, samples // 2))


def log_range(x_BTC: Tensor) -> Tensor:
    """Return the logarithm (B, C) of the range that each channel covers."""
    low, high = x_BTC.aminmax(dim=1)
    return (high - low + TINY).log()


def vector_evidences(config: ModalityConfig) -> list[Evidence]:
    """Return the unfitted evidences of a vector modality; short windows have no residual."""
    if config.samples < LEAST_SAMPLES:
        return [Level(config)]
    evidences: list[Evidence] = [
        Autoregression(config),
        Dynamics(config),
        Level(config),
        Plateaus(config),
        LearntVectors(config),
    ]
    levels = levels_of(config)
    others = [at for at in range(config.channels) if at not in levels]
    if levels:
        evidences.append(Pose(levels))
    if others and config.channels > 1:
        evidences.append(Motion(others))
    return evidences
