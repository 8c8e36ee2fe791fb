"""What an inspector learns of a station first: scenes, foretellings, and what has a closed form."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from model.config import TrainingConfig
from model.descent import Progress
from model.detail import UsualDetail, fit_grain, usual_detail
from model.evidence import View
from model.fusion import Fusion
from model.learner import MAIN_MEMORY, Learner
from model.past import WORN, running_mean, together
from model.scene import SMALL_PX, Scene
from model.windows import Index, Windows, chunks, spread_out


def begin(
    fusion: Fusion,
    windows: Windows,
    index: Index,
    config: TrainingConfig,
    progress: Progress,
    device: torch.device = MAIN_MEMORY,
) -> Learner:
    """Fit the scenes on the windows at ``index``; ``fusion`` is in main memory."""
    inspector = fusion.inspector
    assert inspector is not None
    fold = halves(windows.episode, index)
    inputs = sum(
        windows.vectors[name].shape[1] * windows.vectors[name].shape[2]
        for name in inspector.vectors
    )
    scenes = tuple({name: Scene(inputs) for name in inspector.images} for _ in range(2))
    looked = {name: looked_over(fusion, windows, name, progress) for name in inspector.images}
    learner = Learner(
        fusion=fusion,
        inspector=inspector,
        windows=windows,
        index=index,
        small={name: small for name, (small, _) in looked.items()},
        detail={name: detail for name, (_, detail) in looked.items()},
        fold=fold,
        scenes=(scenes[0], scenes[1]),
        device=device,
    )
    for name in inspector.images:
        here = learner.members(name)
        fit_scene(learner, name, learner.scenes[0][name], here[fold[here] == 1], config, progress)
        fit_scene(learner, name, learner.scenes[1][name], here[fold[here] == 0], config, progress)
        fit_scene(learner, name, inspector.scene(name), here, config, progress)
        fit_scene_grain(learner, name, here)
    for name in inspector.vectors:
        fit_foretelling(learner, name, config, progress)
    return learner


def halves(episode: Index, index: Index) -> Index:
    """Return 0 or 1 (N,): halves of the windows at ``index`` that share no episode if they can."""
    numbers = np.unique(episode[index])
    if len(numbers) > 1:
        return np.asarray(np.searchsorted(numbers, episode) % 2)
    return np.asarray(np.arange(len(episode)) >= index[len(index) // 2], np.int64)


def looked_over(
    fusion: Fusion, windows: Windows, name: str, progress: Progress
) -> tuple[np.ndarray, UsualDetail]:
    """Return what is kept of all frames of image modality ``name``.

    The small ones (N, 64, 64, 3), float16 in [0, 1], and what sessions remember of their detail.
    """
    small = np.empty((len(windows), SMALL_PX, SMALL_PX, 3), np.float16)

    def details() -> Iterator[np.ndarray]:
        for part in chunks(len(windows), 64):
            view = fusion.view(windows.take(part, [name]), name)
            small[part] = view.small.permute(0, 2, 3, 1).numpy()
            progress(f"frames {name}", int(part[-1]) + 1, len(windows), None)
            yield from view.detail.numpy()

    return small, usual_detail(details(), windows.episode, windows.present[name])


@torch.no_grad()
def fit_scene(
    learner: Learner,
    name: str,
    scene: Scene,
    index: Index,
    config: TrainingConfig,
    progress: Progress,
) -> None:
    """Fit components, and what poses foretell of them, on the windows at ``index``."""
    some = spread_out(index)
    scene.fit_components(learner.small_frames(name, some))
    coefficients = torch.cat(
        [
            scene.coefficients(learner.small_frames(name, index[at]))
            for at in chunks(len(index), 256)
        ]
    )
    scene.spread.copy_(coefficients.std(0, correction=0).clamp_min(1e-6))
    if not scene.expects:
        return
    poses = torch.cat([learner.pose(index[at]) for at in chunks(len(index), 1024)])
    episode = torch.from_numpy(learner.windows.episode[index])
    with torch.enable_grad():
        steps = config.teaching.expectation_steps
        for step, loss in scene.fit_expectation(poses, coefficients, episode, steps, config.seed):
            progress(f"scene {name}", step, steps, loss)


def fit_scene_grain(learner: Learner, name: str, index: Index) -> None:
    """Fit what fine detail usually differs by from what a session remembers of it."""
    known = index[learner.detail[name].known(index).numpy()]
    if not len(known):
        return
    some = spread_out(known)
    views = ((at, learner.view(name, at)) for at in (some[p] for p in chunks(len(some), 64)))
    grain = fit_grain([view.detail - learner.detail[name].at(at) for at, view in views])
    for scene in (learner.inspector.scene(name), *(one[name] for one in learner.scenes)):
        scene.grain.copy_(grain)


def fit_foretelling(
    learner: Learner, name: str, config: TrainingConfig, progress: Progress
) -> None:
    """Fit what foretells the channels of vector modality ``name``, then what a session adds."""
    foretelling, windows = learner.inspector.foretelling(name), learner.windows
    x_NTC = torch.cat([learner.view(name, at).samples for at in chunks(len(windows), 1024)])
    members = learner.members(name)
    steps = config.teaching.foretelling_steps
    for half, foreteller in enumerate(foretelling.foretellers):
        shown = x_NTC[members[learner.fold[members] == half]]
        for step, loss in foreteller.fit(shown, steps, config.seed):
            progress(f"foretelling {name}", step, steps, loss)
        if foreteller.posture is not None:
            for step, loss in foreteller.posture.fit(shown, steps, config.seed):
                progress(f"posture {name}", step, steps, loss)
    foretold = foretelling.of_all(x_NTC)
    friction = _remembered(foretold.friction(), windows.episode, windows.present[name])
    foretelling.fit_spread(foretelling.unexplained(foretold, friction), members)
    doubting, some = steps // 2, torch.from_numpy(members)
    for step, loss in foretelling.fit_doubt(
        x_NTC[some], foretold.at(some), friction[some], doubting, config.seed
    ):
        progress(f"doubt {name}", step, doubting, loss)
    foretold = foretelling.of_all(x_NTC)  # now with how far off it may be
    foretelling.fit_spread(foretelling.unexplained(foretold, friction), members)
    learner.friction[name] = friction
    learner.left[name] = foretelling.unexplained(foretold, friction)


def _remembered(friction: Tensor, episode: Index, present: np.ndarray) -> Tensor:
    """Return what a session remembers of friction (N, 2, C) before each of its windows."""
    values, known = friction.numpy(), np.zeros_like(friction.numpy())
    mean, count = np.zeros_like(known[0]), 0
    for at in range(len(values)):
        if at and episode[at] != episode[at - 1]:
            count = 0
        known[at] = mean if count else 0.0
        if present[at]:
            count += 1
            mean = running_mean(mean, values[at], count, WORN)
    return torch.from_numpy(known)


@torch.no_grad()
def fit_evidences(learner: Learner) -> Iterator[str]:
    """Fit what has a closed form; yields what is being fitted."""
    for name in learner.fusion.config.names:
        at = learner.members(name)
        if name in learner.inspector.images:
            at = spread_out(at)
        views = _Chunked(learner, at, name)
        for module in learner.inspector.modules_of(name):
            yield f"{name}.{module.names[0]}"
            module.fit(views)


class _Chunked:
    """Views of one modality, prepared anew each time they are passed over."""

    def __init__(self, learner: Learner, index: Index, name: str) -> None:
        self._learner, self._index, self._name = learner, index, name

    def __iter__(self) -> Iterator[View]:
        learner, name = self._learner, self._name
        for fold in (0, 1):
            members = self._index[learner.fold[self._index] == fold]
            for part in chunks(len(members), 64):
                at = members[part]
                if name in learner.inspector.images:
                    yield self._clued(at, fold)
                else:
                    yield learner.vector_view(name, at)

    def _clued(self, at: Index, fold: int) -> View:
        learner = self._learner
        batch = learner.windows.take(at)
        views = learner.fusion.views(batch)
        seen = learner.inspector.seen(views, batch.present, learner.scenes[fold])
        usuals = together([learner.fusion.usual({})] * len(at))
        # of all that a session remembers closed forms look at its detail alone
        detail = learner.detail[self._name]
        usuals[self._name] |= {"detail": detail.at(at), "counts": detail.known(at)}
        return learner.inspector.clued(views, seen, usuals)[self._name]
