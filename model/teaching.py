"""How an inspector learns a station from its clean windows: scenes, evidences, networks, restorers.

Whatever is fitted on what a scene leaves over is fitted on windows that this scene has not seen:
the episodes are halved, each half is looked at with the scene of the other, and only the one that
stays sees all. On its own windows a residual would be too small.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from model.config import TrainingConfig
from model.descent import Progress
from model.evidence import View, pixels_of
from model.fusion import Fusion
from model.inspector import Inspector
from model.past import WORN, running_mean, together
from model.scene import SMALL_PX, Scene, averaged
from model.windows import Index, Windows, chunks

ENOUGH_FRAMES = 6000  # spread over all; neighbours in time are much alike
OLDEST = 120  # windows since the last clean one, while restoring is learnt
MAIN_MEMORY = torch.device("cpu")
FORGOTTEN_SHARE = 0.1  # of the windows are restored without any


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Learner:
    """What teaching works on: clean windows, their small frames, and scenes that are fair to them.

    ``index`` are the windows to learn from; ``small[name]`` float16 (N, 64, 64, 3) of all windows;
    ``fold`` (N,) 0 or 1, and ``scenes[fold][name]`` the scene that has not seen windows of it.
    Of vectors, ``friction[name]`` (N, 2, C) is what a session would remember at each window, and
    ``left[name]`` (N, T, C) what it leaves unexplained there. All of it is in main memory;
    ``device`` is where the networks that look at frames are taught.
    """

    fusion: Fusion
    inspector: Inspector
    windows: Windows
    index: Index
    small: Mapping[str, np.ndarray]
    fold: Index
    scenes: tuple[Mapping[str, Scene], Mapping[str, Scene]]
    device: torch.device
    friction: dict[str, Tensor] = field(default_factory=dict)
    left: dict[str, Tensor] = field(default_factory=dict)

    def members(self, name: str) -> Index:
        """Return the windows to learn from in which modality ``name`` is present."""
        return self.index[self.windows.present[name][self.index]]

    def earlier(self, random: Generator, at: Index) -> tuple[Index, Tensor, Tensor]:
        """Draw a window before each of those ``at``, as the last clean one before a fault.

        Returns its number, how many windows it is old, and whether it counts: it is of the same
        episode and was not forgotten, each (K,).
        """
        age = np.exp(random.uniform(0, np.log(OLDEST), len(at))).astype(np.int64)
        before = np.maximum(at - age, 0)
        same = self.windows.episode[before] == self.windows.episode[at]
        known = same & (random.random(len(at)) > FORGOTTEN_SHARE)
        return before, torch.from_numpy(age - 1).float(), torch.from_numpy(known)

    def pose(self, at: Index) -> Tensor:
        """Return the standardised vectors (K, inputs) of windows."""
        return self.inspector.pose(*self._vectors(at))

    def glimpse(self, at: Index) -> Tensor:
        """Return what the vectors of windows did lately (K, moments, C), standardised."""
        return self.inspector.glimpse(*self._vectors(at))

    def _vectors(self, at: Index) -> tuple[dict[str, View], dict[str, Tensor]]:
        batch = self.windows.take(at, self.inspector.vectors)
        views = {name: self.fusion.view(batch, name) for name in self.inspector.vectors}
        present = {
            name: torch.from_numpy(flags[at]) for name, flags in self.windows.present.items()
        }
        return views, present

    def vector_view(self, name: str, at: Index) -> View:
        """Return windows of a vector modality with what their session leaves unexplained."""
        view = self.fusion.view(self.windows.take(at, [name]), name)
        return replace(view, unexplained=self.left[name][at])

    def small_frames(self, name: str, at: Index) -> Tensor:
        """Return small frames (K, 3, 64, 64) in [0, 1]."""
        return torch.from_numpy(self.small[name][at]).permute(0, 3, 1, 2).float()


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
    learner = Learner(
        fusion=fusion,
        inspector=inspector,
        windows=windows,
        index=index,
        small={name: shrunk(windows, name) for name in inspector.images},
        fold=fold,
        scenes=(scenes[0], scenes[1]),
        device=device,
    )
    for name in inspector.images:
        here = learner.members(name)
        fit_scene(learner, name, learner.scenes[0][name], here[fold[here] == 1], config, progress)
        fit_scene(learner, name, learner.scenes[1][name], here[fold[here] == 0], config, progress)
        fit_scene(learner, name, inspector.scene(name), here, config, progress)
    for name in inspector.vectors:
        fit_foretelling(learner, name, config, progress)
    return learner


def halves(episode: Index, index: Index) -> Index:
    """Return 0 or 1 (N,): halves of the windows at ``index`` that share no episode if they can."""
    numbers = np.unique(episode[index])
    if len(numbers) > 1:
        return np.asarray(np.searchsorted(numbers, episode) % 2)
    return np.asarray(np.arange(len(episode)) >= index[len(index) // 2], np.int64)


def shrunk(windows: Windows, name: str) -> np.ndarray:
    """Return the small frames (N, 64, 64, 3) of all windows, float16 in [0, 1]."""
    frames = windows.images[name]
    small = np.empty((len(frames), SMALL_PX, SMALL_PX, 3), np.float16)
    for part in chunks(len(frames), 64):
        pixels = pixels_of(torch.from_numpy(np.ascontiguousarray(frames[part])))
        small[part] = averaged(pixels, SMALL_PX).permute(0, 2, 3, 1).numpy()
    return small


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
    some = index[:: max(1, len(index) // ENOUGH_FRAMES)]
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


def fit_foretelling(
    learner: Learner, name: str, config: TrainingConfig, progress: Progress
) -> None:
    """Fit what foretells the channels of vector modality ``name``, then what a session adds."""
    foretelling, windows = learner.inspector.foretelling(name), learner.windows
    x_NTC = torch.cat(
        [
            learner.fusion.view(windows.take(at, [name]), name).samples
            for at in chunks(len(windows), 1024)
        ]
    )
    members = learner.members(name)
    steps = config.teaching.foretelling_steps
    for step, loss in foretelling.fit(x_NTC[members], steps, config.seed):
        progress(f"foretelling {name}", step, steps, loss)
    parts = list(chunks(len(x_NTC), 1024))
    with torch.no_grad():
        foretold = [foretelling(x_NTC[at]) for at in parts]
        said = torch.cat([one.friction() for one in foretold])
        friction = _remembered(said, windows.episode, windows.present[name])
        left = [
            foretelling.unexplained(one, friction[at])
            for one, at in zip(foretold, parts, strict=True)
        ]
        learner.friction[name] = friction
        learner.left[name] = foretelling.fit_spread(torch.cat(left), members)


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
            at = at[:: max(1, len(at) // ENOUGH_FRAMES)]
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
        return learner.inspector.clued(views, seen, usuals)[self._name]
