"""The fine detail of a frame: what dust, drops, scratches and cracks of a lens leave.

A session's own detail is remembered, so that what came since then stands out from it, each pixel
in units of what it usually changes by.
"""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from model.past import REMEMBERED, RENEWED, running_mean
from model.scene import DETAIL_PX
from model.windows import Index

NEAR_PX = 5  # side of the surroundings that a pixel is compared with
LEAST_GRAIN = 0.25 / 255


def detail_of(half: Tensor) -> Tensor:
    """Return the detail (B, 128, 128) of frames (B, 3, 128, 128): grey, less its local mean."""
    grey = half.mean(1, keepdim=True)
    near = F.pad(grey, [NEAR_PX // 2] * 4, mode="replicate")
    for axis in (2, 3):  # sums of slices, three times as fast as pooling
        slices = (near.narrow(axis, at, DETAIL_PX) for at in range(NEAR_PX))
        near = functools.reduce(torch.add, slices)
    return (grey - near / NEAR_PX**2)[:, 0]


def lasting(half: Tensor, before: Tensor, has_before: Tensor) -> Tensor:
    """Return the detail (B, 128, 128) that a frame shares with the one ``before``: their mean.

    Noise and sparks are gone a frame later, dirt is not. Of the frame alone where there is none.
    """
    now = detail_of(half)
    return torch.where(has_before[:, None, None], (now + detail_of(before)) / 2, now)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class UsualDetail:
    """The running means of a modality's detail, as sessions would remember them.

    ``maps`` (K, 128, 128) float16, of which window n is judged by ``maps[of[n]]``; ``of`` (N,) is
    -1 where its session is too young.
    """

    maps: NDArray[np.float16]
    of: Index

    def at(self, index: Index) -> Tensor:
        """Return the means (B, 128, 128) of windows, zeros where nothing is known."""
        which = self.of[index]
        means = torch.from_numpy(self.maps[np.maximum(which, 0)]).float()
        return means * self.known(index)[:, None, None]

    def known(self, index: Index) -> Tensor:
        """Return of which windows, bool (B,), something is known."""
        return torch.from_numpy(self.of[index] >= 0)


def usual_detail(
    details: Iterable[NDArray[np.float32]], episode: Index, present: NDArray[np.bool_]
) -> UsualDetail:
    """Return what sessions remember of the ``details`` (128, 128) of N clean windows, in order.

    Of those ``present`` (N,), and renewed as seldom as a session's memory is.
    """
    maps, of = [np.zeros((DETAIL_PX, DETAIL_PX), np.float16)], np.full(len(episode), -1)
    mean, count, known = np.zeros((DETAIL_PX, DETAIL_PX), np.float32), 0, -1
    for at, detail in enumerate(details):
        if at and episode[at] != episode[at - 1]:
            count, known = 0, -1
        of[at] = known
        if not present[at]:
            continue
        count += 1
        mean = running_mean(mean, detail, count, REMEMBERED)
        if count % RENEWED == 0:
            known = len(maps)
            maps.append(mean.astype(np.float16))
    return UsualDetail(maps=np.stack(maps), of=of)


def fit_grain(left: Sequence[Tensor]) -> Tensor:
    """Return what each pixel (128, 128) of clean windows spreads by, of chunks (B, 128, 128)."""
    squares = sum(one.double().square().sum(0) for one in left)
    assert isinstance(squares, Tensor)
    return (squares / sum(map(len, left))).sqrt().clamp_min(LEAST_GRAIN).float()
