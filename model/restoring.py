"""What a modality would have said, had it told the truth, put together from what is trusted."""

import torch
import torch.nn.functional as F
from torch import Tensor

from model.evidence import Noticed
from model.frame_net import Clues
from model.inspector import Inspected, Inspector
from model.past import Last
from model.restorers import gated

HALF = 0.5  # chance from which a cell looks disturbed


def restored(inspector: Inspector, name: str, said: Inspected, at: Tensor, last: Last) -> Tensor:
    """Return what modality ``name`` would have said, as if all others said the truth.

    Of the windows ``at`` (K,): images (K, 3, H, W) in [0, 1], vectors (K, T, C) standardised.
    """
    noticed = tuple(one[at] for one in said.noticed.get(name, ()))
    present = said.present[name][at]
    if name in inspector.images:
        clues = said.views[name].clues
        assert clues is not None
        return _restored_frames(inspector, name, clues, noticed, present, at, last)
    samples = said.views[name].samples[at]
    window = samples * present[:, None, None].to(samples)
    learnt = inspector.learnt_vectors(name)
    channels = inspector.config.modalities[name].channels
    hit = window.new_zeros(len(window), channels) if learnt is None else learnt.where(noticed)
    hit = hit * present[:, None]
    given = (window, last.arrays["last_samples"], hit, _beside(inspector, said, at))
    predicted, gates = inspector.vector_restorer(name)(*given, last.age, last.known)
    return torch.where(present[:, None, None], gated(window, predicted, gates), predicted)


def _beside(inspector: Inspector, said: Inspected, at: Tensor) -> Tensor:
    """Return what the images say to a vector restorer (K, components x images)."""
    parts = []
    for name in inspector.images:
        clues = said.views[name].clues
        assert clues is not None
        there = said.present[name][at, None].float()
        parts.append(clues.coefficients[at] / inspector.scene(name).spread * there)
    return torch.cat(parts, dim=1) if parts else torch.zeros(len(at), 0, device=at.device)


def _restored_frames(
    inspector: Inspector,
    name: str,
    clues: Clues,
    maps: Noticed,
    present: Tensor,
    at: Tensor,
    last: Last,
) -> Tensor:
    pixels = clues.pixels[at]
    size = pixels.shape[2:]
    small = _restored_small(inspector, name, clues, at, last)
    painted = F.interpolate(small, size, mode="bicubic").clamp(0, 1)
    share = torch.sigmoid(inspector.learnt_frames(name).where(maps))
    # where no part of the frame looks disturbed, all of it is: a frame of another time
    whole = (share.flatten(1).amax(1) < HALF) | ~present
    share = torch.where(whole[:, None, None], torch.ones_like(share), share)
    mask = F.interpolate(share[:, None], size, mode="bilinear")
    return torch.lerp(pixels, painted, mask)


def _restored_small(
    inspector: Inspector, name: str, clues: Clues, at: Tensor, last: Last
) -> Tensor:
    """Return the small frames (K, 3, 64, 64) that should have been seen.

    What the components never explain in this session is taken from what it usually shows.
    """
    scene = inspector.scene(name)
    coefficients = inspector.frame_restorer(name)(
        last.arrays["last_coefficients"] / scene.spread,
        last.arrays["last_expected"] / scene.spread,
        clues.expected[at] / scene.spread,
        last.age,
        last.known,
    )
    usual = clues.has_usual[at].view(-1, 1, 1, 1).to(clues.small)
    return scene.picture(coefficients * scene.spread) + usual * clues.usual_residual[at]
