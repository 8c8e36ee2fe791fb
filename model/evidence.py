"""Evidence that a modality is at fault: numbers a window, fitted on clean data in closed form.

No fault is ever shown to it. An evidence is larger the less a window looks like clean ones; what
is large is decided by the calibration. New kinds join by subclassing `Evidence`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.windows import Batch

SMALL_PX = 64  # side to which frames are averaged for the principal components


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """One modality's part of a batch, prepared once for all its evidences.

    ``samples`` float (B, T, C), standardised, of a vector modality, else empty. Of an image
    modality ``frame`` and ``previous`` uint8 (B, H, W, 3), ``has_previous`` bool (B,), ``pixels``
    float (B, 3, H, W) in [0, 1], and ``small``, the same averaged to (B, 3, 64, 64).
    """

    samples: Tensor
    frame: Tensor
    previous: Tensor
    has_previous: Tensor
    pixels: Tensor
    small: Tensor


def image_view(batch: Batch, name: str) -> View:
    """Prepare image modality ``name`` of ``batch``."""
    frame = batch.images[name]
    pixels = pixels_of(frame)
    return View(
        samples=pixels.new_empty(0),
        frame=frame,
        previous=batch.previous[name],
        has_previous=batch.has_previous[name],
        pixels=pixels,
        small=averaged(pixels, SMALL_PX),
    )


def pixels_of(frame_BHWC: Tensor) -> Tensor:
    """Return uint8 frames (B, H, W, 3) as float (B, 3, H, W) in [0, 1]."""
    return frame_BHWC.permute(0, 3, 1, 2).float() / 255


def vector_view(samples_BTC: Tensor) -> View:
    """Wrap standardised samples of a vector modality."""
    none = samples_BTC.new_empty(0)
    return View(
        samples=samples_BTC, frame=none, previous=none, has_previous=none, pixels=none, small=none
    )


def averaged(x_BCHW: Tensor, side_px: int) -> Tensor:
    """Return ``x`` averaged over equal areas to (B, C, side, side)."""
    height, width = x_BCHW.shape[2:]
    if height % side_px == 0 and width % side_px == 0:
        kernel = (height // side_px, width // side_px)
        return x_BCHW if kernel == (1, 1) else F.avg_pool2d(x_BCHW, kernel)
    return F.adaptive_avg_pool2d(x_BCHW, side_px)


class Evidence(nn.Module):
    """One kind of evidence, a number for each of its ``names``.

    ``session_dependent``: the light, the mount or the resting pose of a session move its level.
    """

    names: ClassVar[tuple[str, ...]]
    session_dependent: ClassVar[bool] = False

    def fit(self, views: "Views") -> None:
        """Learn what clean windows look like."""
        raise NotImplementedError

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,) of each window, by name."""
        raise NotImplementedError


class Views:
    """Clean training windows of one modality, in chunks, as often as a fit passes over them.

    ``episode`` (N,) numbers the episode of each window, in the order of the chunks.
    """

    def __init__(self, chunks: "Iterable[View]", episode: Tensor) -> None:
        self._chunks = chunks
        self.episode = episode

    def __iter__(self) -> Iterator[View]:
        return iter(self._chunks)

    def __len__(self) -> int:
        return len(self.episode)

    def folds(self) -> Tensor:
        """Return 0 or 1 (N,): two halves that share no episode where there are two or more."""
        numbers = torch.unique(self.episode)
        if len(numbers) > 1:
            return torch.searchsorted(numbers, self.episode) % 2
        return (torch.arange(len(self)) >= len(self) // 2).long()
