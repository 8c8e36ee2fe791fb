"""What a frame says by itself, and beside what its session usually shows."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.evidence import View
from model.frame_net import Clues
from model.past import Usual
from model.scene import SMALL_PX, Scene


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Glance:
    """What B frames say by themselves: their ``coefficients`` in the ``scene``'s components.

    And what vectors say of them: the ``expected`` coefficients (B, components), a ``glimpse``
    (B, moments, C) of what they did, and in which windows both are worth something (B,).
    """

    scene: Scene
    coefficients: Tensor
    expected: Tensor
    glimpse: Tensor
    foretold: Tensor


def usual_of(
    scene: Scene, small: Tensor, expected: Tensor, detail: Tensor, counts: Tensor
) -> Usual:
    """Return what B frames are judged by.

    From their sessions' mean ``small`` frame (B, 3, 64, 64), ``expected`` coefficients
    (B, components) and ``detail`` (B, 128, 128), where they count, bool (B,).
    """
    return {
        "residual": scene.residual(small),
        "surprise": small - scene.picture(expected),
        "detail": detail,
        "counts": counts,
    }


def clues_of(view: View, seen: Glance, usual: Usual) -> Clues:
    """Return the clues of one image modality."""
    scene = seen.scene
    return Clues(
        pixels=view.pixels,
        small=view.small,
        previous=view.small_before,
        change=_largest_change(view),
        coefficients=seen.coefficients,
        expected=seen.expected,
        residual=view.small - scene.picture(seen.coefficients),
        usual_residual=usual["residual"],
        surprise=view.small - scene.picture(seen.expected),
        usual_surprise=usual["surprise"],
        lasting=(view.detail - usual["detail"]) / scene.grain * usual["counts"][:, None, None],
        glimpse=seen.glimpse,
        has_previous=view.has_previous,
        has_usual=usual["counts"],
        has_expected=seen.foretold,
    )


def _largest_change(view: View) -> Tensor:
    """Return the largest change of a pixel of each cell since the frame before (B, 1, 64, 64)."""
    now, before = view.frame, view.previous
    # as grey levels, whose difference has no sign to lose
    change = (torch.maximum(now, before) - torch.minimum(now, before)).amax(3)
    height, width = change.shape[1:]
    if height % SMALL_PX == 0 and width % SMALL_PX == 0:
        cells = change.view(-1, SMALL_PX, height // SMALL_PX, SMALL_PX, width // SMALL_PX)
        return cells.amax((2, 4))[:, None].float() / 255
    return F.adaptive_max_pool2d(change[:, None].float() / 255, SMALL_PX)
