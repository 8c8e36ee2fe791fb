"""What vectors foretell of each other in a session, by two that learnt it from different sessions.

Where the two differ, neither was shown what lies there, such as a part in a place that none had in
training: how far they are apart counts as doubt beside what each expects. Friction is a session's
own (Coulomb's, along the direction of motion): how much of it there is more than usual comes from
the session's memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import cast

import torch
from torch import Tensor, nn

from model.config import ModalityConfig
from model.foreteller import TINY, Foreteller
from model.posture import Posture, descended
from model.windows import Index, chunks

WEIGHT_OF_NONE = 0.03  # of a session without friction, against one in which all samples move


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Foretold:
    """What is left over of B windows: see `Opinion`, of which this is the mean of two.

    They are ``apart`` (B, T, C) from each other; ``doubt`` is the larger of theirs.
    """

    residual: Tensor
    direction: Tensor
    doubt: Tensor
    apart: Tensor

    def at(self, index: Tensor) -> "Foretold":
        """Return the same of the windows at ``index``."""
        return Foretold(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def friction(self) -> Tensor:
        """Return what a window says of friction (B, 2, C): see `Foretelling.unexplained`."""
        along = (self.residual * self.direction).mean(1)
        return torch.stack([along, self.direction.square().mean(1)], dim=1)


class Foretelling(nn.Module):
    """Two foretellers; ``spread`` (T, C) is what clean windows leave over."""

    spread: Tensor

    def __init__(self, config: ModalityConfig, *, poses: bool = True) -> None:
        super().__init__()
        self.both = nn.ModuleList(Foreteller(config, poses=poses) for _ in range(2))
        self.register_buffer("spread", torch.ones(config.samples, config.channels))

    def forward(self, x_BTC: Tensor) -> Foretold:
        """Return what is left over of standardised samples; zeros where nothing is foretold."""
        one, other = (each(x_BTC) for each in self.foretellers)
        return Foretold(
            residual=(one.residual + other.residual) / 2,
            direction=(one.direction + other.direction) / 2,
            doubt=torch.maximum(one.doubt, other.doubt),
            apart=(one.residual - other.residual).abs(),
        )

    @property
    def foretellers(self) -> tuple[Foreteller, Foreteller]:
        """The two, each to be fitted on sessions of its own."""
        one, other = self.both
        return cast(Foreteller, one), cast(Foreteller, other)

    @property
    def postures(self) -> list[Posture]:
        """What foretells levels from poses, of each of the two, if anything does."""
        return [one.posture for one in self.foretellers if one.posture is not None]

    def unexplained(self, foretold: Foretold, friction: Tensor) -> Tensor:
        """Return what also the session's ``friction`` leaves over (B, T, C), in usual spreads.

        ``friction`` (B, 2, C) are means over windows of the session: residual times direction, and
        direction squared; zeros where nothing is known. Their quotient is what is usual here.
        """
        more = friction[:, 0] / (friction[:, 1] + WEIGHT_OF_NONE)
        left = foretold.residual - more[:, None] * foretold.direction
        return left / self._usual(foretold)

    def _usual(self, foretold: Foretold) -> Tensor:
        """Return how far off samples usually are (B, T, C)."""
        return torch.hypot(self.spread * foretold.doubt.exp(), foretold.apart)

    @torch.no_grad()
    def of_all(self, x_NTC: Tensor) -> Foretold:
        """Return what is left over of many windows, as `forward` does of a batch."""
        parts = [self(x_NTC[at]) for at in chunks(len(x_NTC), 1024)]
        return Foretold(
            **{
                field.name: torch.cat([getattr(one, field.name) for one in parts])
                for field in fields(Foretold)
            }
        )

    def fit_doubt(
        self, x_NTC: Tensor, foretold: Foretold, friction: Tensor, steps: int, seed: int
    ) -> Iterator[tuple[int, float]]:
        """Learn how far off samples of clean windows may be that other units foretell.

        Yields step and loss: the negative logarithm of the likelihood of what ``foretold`` of the
        same windows and ``friction`` (N, 2, C) leave over, of a Gaussian.
        """
        doubting = [network for one in self.foretellers for network in one.doubting()]
        if not doubting:
            return
        columns = self.foretellers[0].foretold

        def loss_of(at: Tensor) -> Tensor:
            doubt = torch.stack([one.doubted(x_NTC[at]) for one in self.foretellers]).amax(0)
            here = replace(foretold.at(at), doubt=doubt)
            left = self.unexplained(here, friction[at])
            likely = self._usual(here).log() + left.square() / 2
            loss: Tensor = likely[..., columns].mean()
            return loss

        yield from descended(doubting, loss_of, len(x_NTC), steps, seed)

    @torch.no_grad()
    def fit_spread(self, left_NTC: Tensor, index: Index) -> None:
        """Learn from the windows at ``index`` what is usually left, in spreads so far."""
        self.spread.mul_(left_NTC[index].square().mean(0).sqrt().clamp_min(TINY))
