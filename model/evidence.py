"""Evidence that a modality is at fault: numbers a window, fitted on clean data in closed form.

No fault is ever shown to it. An evidence is larger the less a window looks like clean ones; what
is large is decided by the calibration. New kinds join by subclassing `Evidence`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from torch import Tensor, nn

from model.detail import lasting
from model.frame_net import Clues
from model.scene import DETAIL_PX, SMALL_PX, averaged


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class View:
    """One modality's part of a batch, prepared once for all its evidences.

    ``samples`` float (B, T, C), standardised, of a vector modality, else empty. Of an image
    modality ``frame`` and ``previous`` uint8 (B, H, W, 3), ``has_previous`` bool (B,), ``pixels``
    float (B, 3, H, W) in [0, 1]; ``small`` and ``small_before``, frame and previous averaged to
    (B, 3, 64, 64); ``detail`` (B, 128, 128) what both show of fine detail. Where evidence asks for
    it, ``clues`` say more of an image, and ``unexplained`` (B, T, C) what other channels
    and the session leave over of a vector, in usual spreads.
    """

    samples: Tensor
    frame: Tensor
    previous: Tensor
    has_previous: Tensor
    pixels: Tensor
    small: Tensor
    small_before: Tensor
    detail: Tensor
    clues: Clues | None = None
    unexplained: Tensor | None = None


def image_view(frame: Tensor, previous: Tensor, has_previous: Tensor) -> View:
    """Prepare frames and those before, uint8 (B, H, W, 3)."""
    pixels = pixels_of(frame)
    half, half_before = averaged(pixels, DETAIL_PX), averaged(pixels_of(previous), DETAIL_PX)
    return View(
        samples=pixels.new_empty(0),
        frame=frame,
        previous=previous,
        has_previous=has_previous,
        pixels=pixels,
        small=averaged(half, SMALL_PX),
        small_before=averaged(half_before, SMALL_PX),
        detail=lasting(half, half_before, has_previous),
    )


def pixels_of(frame_BHWC: Tensor) -> Tensor:
    """Return uint8 frames (B, H, W, 3) as float (B, 3, H, W) in [0, 1]."""
    return frame_BHWC.permute(0, 3, 1, 2).float() / 255


def vector_view(samples_BTC: Tensor) -> View:
    """Wrap standardised samples of a vector modality."""
    none = samples_BTC.new_empty(0)
    return View(
        samples=samples_BTC,
        frame=none,
        previous=none,
        has_previous=none,
        pixels=none,
        small=none,
        small_before=none,
        detail=none,
    )


def clues_in(view: View) -> Clues:
    """Return what an image's evidence is judged by. Raises ValueError where that was left out."""
    if view.clues is None:
        raise ValueError("this evidence needs clues, and the view was prepared without")
    return view.clues


Views: TypeAlias = Iterable[View]
"""Clean training windows of one modality, in chunks, as often as a fit passes over them."""

Noticed: TypeAlias = tuple[Tensor, ...]
"""What a network made of B windows on the way to its evidence, each (B, …)."""


class Evidence(nn.Module):
    """One kind of evidence, a number for each of its ``names``.

    ``session_dependent``: the light, the mount or the resting pose of a session move its level.
    ``crossed`` are those names that compare this modality with another, either of which may lie.
    """

    names: ClassVar[tuple[str, ...]]
    session_dependent: ClassVar[bool] = False
    crossed: ClassVar[tuple[str, ...]] = ()

    def fit(self, views: Views) -> None:
        """Learn what clean windows look like."""
        raise NotImplementedError

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,) of each window, by name."""
        raise NotImplementedError


class Noticing(Evidence):
    """Evidence of a network that also tells where a window looks disturbed.

    What it noticed is handed on, so that where is asked only of windows that are corrected.
    """

    def noticed(self, view: View) -> tuple[dict[str, Tensor], Noticed]:
        """Return the evidence (B,), by name, and what `where` reads."""
        raise NotImplementedError

    def where(self, noticed: Noticed) -> Tensor:
        """Return logits of each part being disturbed: cells (B, 32, 32) or channels (B, C)."""
        raise NotImplementedError

    def forward(self, view: View) -> dict[str, Tensor]:
        """Return the evidence (B,), by name."""
        evidence, _ = self.noticed(view)
        return evidence
