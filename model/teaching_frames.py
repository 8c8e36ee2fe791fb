"""Teaching the networks that see frames: one to tell disturbed from clean, one to restore."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.config import TrainingConfig
from model.descent import Position, Progress, descend
from model.evidence import image_view
from model.frame_lessons import Lesson, joined
from model.frame_net import Clues
from model.glance import Glance, clues_of, usual_of
from model.learner import MAIN_MEMORY, Learner
from model.scene import COMPONENTS, Scene
from model.teaching_plan import RESTORING_RATE, planned
from model.windows import Index, chunks

BLIND_SHARE = 0.3  # of the frames are shown without what the vectors foretell
WHERE_WEIGHT = 2.0
HIT_WEIGHT = 4.0  # of a cell that is hit, against one that is not
SHOWN = 2  # times that a frame is shown: making it costs more than learning from it


@torch.no_grad()
def expectations(learner: Learner, name: str) -> Tensor:
    """Return what each window's vectors foretell (N, components), by the scene that is fair to it.

    In coefficients of that scene.
    """
    everything = np.arange(len(learner.windows))
    expected = torch.zeros(len(everything), COMPONENTS)
    for fold in (0, 1):
        members = everything[learner.fold == fold]
        scene = learner.scenes[fold][name]
        for part in chunks(len(members), 1024):
            expected[members[part]] = scene.expected(learner.pose(members[part]))
    return expected


def teach_frames(
    learner: Learner, name: str, config: TrainingConfig, resume: Path, progress: Progress
) -> Position:
    """Teach the network of image modality ``name`` to tell disturbed frames from clean ones."""
    network, device = learner.inspector.learnt_frames(name).network, learner.device
    network.to(device).to(memory_format=torch.channels_last).train()
    index = learner.members(name)
    classroom = learner.classroom(name)
    expected = expectations(learner, name)
    teaching = config.teaching

    def make(number: int) -> Lesson:
        random = np.random.default_rng([config.seed, number])
        return classroom.lesson(random, teaching.frame_batch // SHOWN)

    with ThreadPoolExecutor(1, "lessons") as pool:
        ahead = _Ahead(pool=pool, make=make, waiting={})

        def loss_of(step: int) -> Tensor:
            lesson = ahead.get(step)
            clues = lesson_clues(learner, name, lesson, expected, config.seed, step)
            pixels = clues.pixels.to(device).contiguous(memory_format=torch.channels_last)
            with learner.fusion.mixed_precision(device):
                said = network(pixels, clues.planes().to(device))
            return lesson_loss(said, lesson)

        plan = planned(
            "frames",
            name,
            index,
            config,
            resume,
            steps=teaching.frame_steps,
            minutes=teaching.frame_minutes,
        )
        reached = descend(network, loss_of, plan, progress)
    # as a loaded one is, which is bit for bit the same and no slower for a window at a time
    network.to(MAIN_MEMORY).to(memory_format=torch.contiguous_format).eval()
    return reached


def lesson_loss(said: tuple[Tensor, Tensor], lesson: Lesson) -> Tensor:
    """Return the loss of a network's logits: whether each frame is disturbed, and where."""
    logit, cells = (one.float() for one in said)
    told = torch.from_numpy(lesson.disturbed).to(logit)
    where = torch.from_numpy(lesson.cells).to(cells)
    hit = F.binary_cross_entropy_with_logits(cells, where, pos_weight=cells.new_tensor(HIT_WEIGHT))
    return F.binary_cross_entropy_with_logits(logit, told) + WHERE_WEIGHT * hit


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Ahead:
    """Lessons made on a thread of their own while the network learns from those before.

    Each is shown in as many steps as `SHOWN` says, every time beside others.
    """

    pool: ThreadPoolExecutor
    make: Callable[[int], Lesson]
    waiting: dict[int, Future[Lesson]]

    def get(self, step: int) -> Lesson:
        shown = range(step, step + SHOWN)
        for number in (*shown, shown.stop):
            if number not in self.waiting:
                self.waiting[number] = self.pool.submit(self.make, number)
        lessons = [self.waiting[number].result() for number in shown]
        del self.waiting[step]
        return joined(lessons)


@torch.no_grad()
def lesson_clues(
    learner: Learner, name: str, lesson: Lesson, expected: Tensor, seed: int, step: int
) -> Clues:
    """Return the clues of a lesson's frames, each with the scene that has not seen it."""
    fold = learner.fold[lesson.index]
    order = np.argsort(fold, kind="stable")
    blind = np.random.default_rng([seed, step, 1]).random(len(order)) < BLIND_SHARE
    parts = []
    for number in (0, 1):
        at = order[fold[order] == number]
        if len(at):
            scene = learner.scenes[number][name]
            parts.append(_scene_clues(learner, name, lesson, expected, scene, at, blind))
    back = torch.from_numpy(np.argsort(order))
    fields = Clues.__dataclass_fields__
    return Clues(**{key: torch.cat([getattr(p, key) for p in parts])[back] for key in fields})


def _scene_clues(
    learner: Learner,
    name: str,
    lesson: Lesson,
    expected: Tensor,
    scene: Scene,
    at: Index,
    blind: np.ndarray,
) -> Clues:
    recalled = torch.from_numpy(lesson.recalled[at])
    counted = (recalled >= 0).float()[..., None]
    usual_expected = (expected[recalled.clamp_min(0)] * counted).sum(1) / counted.sum(1)
    usual = torch.from_numpy(lesson.usual[at]).permute(0, 3, 1, 2).float()
    foretold = ~blind[at] & scene.expects
    for vector in learner.inspector.vectors:
        foretold &= learner.windows.present[vector][lesson.index[at]]
    shown = (lesson.frames[at], lesson.previous[at], lesson.has_previous[at])
    view = image_view(*(torch.from_numpy(one) for one in shown))
    seen = Glance(
        scene=scene,
        coefficients=scene.coefficients(view.small),
        expected=expected[lesson.index[at]],
        glimpse=view.pixels.new_empty(len(at), 0),  # which this network does not look at
        foretold=torch.from_numpy(foretold),
    )
    counts = torch.from_numpy(lesson.has_usual[at])
    detail = torch.from_numpy(lesson.detail[at])
    return clues_of(view, seen, usual_of(scene, usual, usual_expected, detail, counts))


def teach_frame_restorer(
    learner: Learner, name: str, config: TrainingConfig, resume: Path, progress: Progress
) -> Position:
    """Teach the restorer of image modality ``name`` on pairs of clean windows of one episode."""
    restorer = learner.inspector.frame_restorer(name).train()
    scene = learner.inspector.scene(name)
    index = learner.members(name)
    with torch.no_grad():
        spread = scene.spread
        found = coefficients_of(learner, name)
        expected = _fair_expectations(learner, name, scene) / spread
        found = found / spread

    def loss_of(step: int) -> Tensor:
        random = np.random.default_rng([config.seed, step])
        at = random.choice(index, 256)
        before, age, known = learner.earlier(random, at)
        said = restorer(found[before], expected[before], expected[at], age, known)
        weight = spread.square() / spread.square().sum()
        error: Tensor = ((said - found[at]).square().mean(0) * weight).sum()
        return error

    plan = planned(
        "restorer",
        name,
        index,
        config,
        resume,
        steps=config.teaching.restoring_steps,
        learning_rate=RESTORING_RATE,
        weight_decay=1e-2,
    )
    reached = descend(restorer, loss_of, plan, progress)
    restorer.eval()
    return reached


@torch.no_grad()
def coefficients_of(learner: Learner, name: str) -> Tensor:
    """Return the coefficients (N, components) of every window's frame, by the scene that stays."""
    parts = [learner.small_frames(name, at) for at in chunks(len(learner.windows), 256)]
    return torch.cat([learner.inspector.scene(name).coefficients(part) for part in parts])


def _fair_expectations(learner: Learner, name: str, scene: Scene) -> Tensor:
    """Return the expectations of the fair scenes in coefficients of ``scene`` (N, components)."""
    expected = expectations(learner, name)
    for fold in (0, 1):
        members = np.flatnonzero(learner.fold == fold)
        fair = learner.scenes[fold][name]
        for part in chunks(len(members), 256):
            at = members[part]
            expected[at] = scene.coefficients(fair.picture(expected[at]))
    return expected
