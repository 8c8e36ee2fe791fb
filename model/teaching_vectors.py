"""Teaching the networks that see vectors: one to tell disturbed from clean, one to restore."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from model.config import TrainingConfig
from model.descent import Position, Progress, descend
from model.evidence import View, vector_view
from model.learner import FORGOTTEN_SHARE, Learner
from model.restorers import gated
from model.teaching_frames import coefficients_of
from model.teaching_plan import RESTORING_RATE, planned
from model.vector_disturbance import Channels, describe, disturb
from model.vector_evidence import LearntVectors
from model.windows import Index

WHERE_WEIGHT = 2.0
DISTURBED_SHARE = 0.9  # of what a restorer is shown


class Windowful:
    """The clean windows of one vector modality, and disturbed copies of them."""

    def __init__(self, learner: Learner, name: str, learnt: LearntVectors) -> None:
        modality = learner.fusion.config.modalities[name]
        self._learner, self._name = learner, name
        self.scale = learner.fusion.scale(name)
        self.index = learner.members(name)
        self.values = learner.windows.vectors[name]
        spread = learnt.past.spread * self.scale.std
        self.channels: Channels = describe(
            modality.units, spread.double().numpy(), modality.rate_hz or 1.0
        )

    def drawn(
        self, random: Generator, size: int, share: float
    ) -> tuple[Index, Tensor, np.ndarray, np.ndarray]:
        """Return windows' numbers, their standardised values (B, T, C), ``share`` of them
        disturbed, which (B,), and which channels (B, C).
        """
        at = random.choice(self.index, size)
        shown = self.values[at].astype(np.float64)
        disturbed = random.random(size) < share
        hit = np.zeros((size, shown.shape[2]), np.bool_)
        for row in np.flatnonzero(disturbed):
            other = self.values[random.choice(self.index)].astype(np.float64)
            shown[row], hit[row] = disturb(random, shown[row], other, self.channels)
        return at, self.scale(torch.from_numpy(shown.astype(np.float32))), disturbed, hit

    def view(self, random: Generator, at: Index, shown: Tensor) -> View:
        """Return what was made of windows (B, T, C), in sessions that may have just begun."""
        known = torch.from_numpy(random.random(len(at)) > FORGOTTEN_SHARE)
        friction = self._learner.friction[self._name][at] * known[:, None, None]
        foretelling = self._learner.inspector.foretelling(self._name)
        left = foretelling.unexplained(foretelling(shown), friction)
        return replace(vector_view(shown), unexplained=left)

    def clean(self, at: Index) -> Tensor:
        """Return clean windows (K, T, C), standardised."""
        standardised: Tensor = self.scale(torch.from_numpy(self.values[at]))
        return standardised


def teach_vectors(
    learner: Learner, name: str, config: TrainingConfig, resume: Path, progress: Progress
) -> Position | None:
    """Teach the network of vector modality ``name``; None where its windows are too short."""
    learnt = learner.inspector.learnt_vectors(name)
    if learnt is None:
        return None
    windowful = Windowful(learner, name, learnt)
    teaching = config.teaching
    learnt.network.train()

    def loss_of(step: int) -> Tensor:
        random = np.random.default_rng([config.seed, step])
        drawn, shown, disturbed, hit = windowful.drawn(random, teaching.vector_batch, 0.5)
        with torch.no_grad():
            clues = learnt.clues(windowful.view(random, drawn, shown))
        logit, where = learnt.network(clues)
        told, at = torch.from_numpy(disturbed).to(logit), torch.from_numpy(hit).to(logit)
        whole = F.binary_cross_entropy_with_logits(logit, told)
        return whole + WHERE_WEIGHT * F.binary_cross_entropy_with_logits(where, at)

    plan = planned(
        "vectors",
        name,
        windowful.index,
        config,
        resume,
        steps=teaching.vector_steps,
        minutes=teaching.vector_minutes,
    )
    reached = descend(learnt.network, loss_of, plan, progress)
    learnt.network.eval()
    return reached


def teach_vector_restorer(
    learner: Learner, name: str, config: TrainingConfig, resume: Path, progress: Progress
) -> Position | None:
    """Teach the restorer of vector modality ``name`` on disturbed windows."""
    learnt = learner.inspector.learnt_vectors(name)
    if learnt is None:
        return None
    windowful = Windowful(learner, name, learnt)
    beside = beside_of(learner)
    restorer = learner.inspector.vector_restorer(name).train()

    def loss_of(step: int) -> Tensor:
        random = np.random.default_rng([config.seed, step])
        at, shown, _, _ = windowful.drawn(random, 128, DISTURBED_SHARE)
        before, age, known = learner.earlier(random, at)
        with torch.no_grad():
            hit = learnt.network(learnt.clues(windowful.view(random, at, shown)))[1]
        said = restorer(shown, windowful.clean(before), hit, beside[at], age, known)
        wanted = windowful.clean(at)
        predicted, _ = said
        restored = (gated(shown, *said) - wanted).square().mean()
        # the prediction alone stands in for a window that is missing
        loss: Tensor = restored + 0.1 * (predicted - wanted).square().mean()
        return loss

    plan = planned(
        "restorer",
        name,
        windowful.index,
        config,
        resume,
        steps=config.teaching.restoring_steps,
        learning_rate=RESTORING_RATE,
    )
    reached = descend(restorer, loss_of, plan, progress)
    restorer.eval()
    return reached


@torch.no_grad()
def beside_of(learner: Learner) -> Tensor:
    """Return what the images say beside each window (N, components x images)."""
    size = len(learner.windows)
    parts = []
    for name in learner.inspector.images:
        scene = learner.inspector.scene(name)
        there = torch.from_numpy(learner.windows.present[name]).float()[:, None]
        parts.append(coefficients_of(learner, name) / scene.spread * there)
    return torch.cat(parts, dim=1) if parts else torch.zeros(size, 0)
