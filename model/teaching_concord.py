"""Teaching what compares frames with vectors: half of the frames come from another moment."""

from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from model.concord import concord_loss
from model.config import TrainingConfig
from model.descent import Position, Progress, descend
from model.frame_lessons import NUISANCE_SHARE, draw_nuisance, elsewhere
from model.learner import MAIN_MEMORY, Learner
from model.scene import SMALL_PX
from model.teaching_plan import planned
from model.windows import Index, chunks

BATCH = 128
APART_SHARE = 0.5
WEIGHT_DECAY = 1e-2


def teach_concord(
    learner: Learner, name: str, config: TrainingConfig, resume: Path, progress: Progress
) -> Position | None:
    """Teach what compares image modality ``name`` with the vectors; None where nothing does."""
    concord = learner.inspector.concord(name)
    if concord is None:
        return None
    network, teaching, device = concord.network, config.teaching, learner.device
    network.to(device).train()
    glimpses, index = glimpses_of(learner), complete(learner, name)

    def loss_of(step: int) -> Tensor:
        random = np.random.default_rng([config.seed, step])
        at = random.choice(index, BATCH)
        shown = moments(random, learner, index, at)
        frames = under_nuisances(random, learner, name, shown)
        apart = torch.from_numpy(shown != at).float()
        given = frames.to(device), glimpses[at].to(device)
        return concord_loss(network(*given), apart.to(device), glimpses[shown][:, 0].to(device))

    plan = planned(
        "concord",
        name,
        index,
        config,
        resume,
        steps=teaching.concord_steps,
        minutes=teaching.concord_minutes,
        weight_decay=WEIGHT_DECAY,
    )
    reached = descend(network, loss_of, plan, progress)
    network.to(MAIN_MEMORY).eval()
    return reached


def complete(learner: Learner, name: str) -> Index:
    """Return the windows to learn from in which the image and all vectors are present."""
    present = learner.windows.present
    members = learner.members(name)
    vectors = np.stack([present[one][members] for one in learner.inspector.vectors])
    return members[np.all(vectors, axis=0)]


@torch.no_grad()
def glimpses_of(learner: Learner) -> Tensor:
    """Return what the vectors did lately at every window (N, moments, C)."""
    return torch.cat([learner.glimpse(at) for at in chunks(len(learner.windows), 1024)])


def moments(random: Generator, learner: Learner, index: Index, at: Index) -> Index:
    """Draw which window's frame is shown beside the vectors of those ``at`` (B,): half the same."""
    episode = learner.windows.episode
    return np.array(
        [
            elsewhere(random, episode, index, int(one)) if random.random() < APART_SHARE else one
            for one in at
        ]
    )


def under_nuisances(random: Generator, learner: Learner, name: str, at: Index) -> Tensor:
    """Return small frames (B, 3, 64, 64) in [0, 1] in other lights and mounts."""
    scale = SMALL_PX / learner.windows.images[name].shape[1]
    small: NDArray[np.float32] = learner.small[name][at].astype(np.float32)
    for number in np.flatnonzero(random.random(len(at)) < NUISANCE_SHARE):
        small[number] = draw_nuisance(random)(small[number], scale)
    return torch.from_numpy(small).permute(0, 3, 1, 2).clamp(0, 1)
