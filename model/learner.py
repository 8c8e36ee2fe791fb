"""What the networks of method `evidence` are taught on: clean windows, and what is known of them.

Whatever is fitted on what a scene leaves over is fitted on windows that this scene has not seen:
the episodes are halved, each half is looked at with the scene of the other, and only the one that
stays sees all. On its own windows a residual would be too small.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from model.detail import UsualDetail
from model.evidence import View
from model.frame_lessons import Classroom
from model.fusion import Fusion
from model.inspector import Inspector
from model.scene import Scene
from model.windows import Index, Windows

OLDEST = 120  # windows since the last clean one, while restoring is learnt
MAIN_MEMORY = torch.device("cpu")
FORGOTTEN_SHARE = 0.1  # of the windows are restored without any


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Learner:
    """What teaching works on: clean windows, their small frames, and scenes that are fair to them.

    ``index`` are the windows to learn from; ``small[name]`` float16 (N, 64, 64, 3) of all windows,
    ``detail[name]`` what their sessions would remember of fine detail; ``fold`` (N,) 0 or 1, and
    ``scenes[fold][name]`` the scene that has not seen windows of it.
    Of vectors, ``friction[name]`` (N, 2, C) is what a session would remember at each window, and
    ``left[name]`` (N, T, C) what it leaves unexplained there. All of it is in main memory;
    ``device`` is where the networks that look at frames are taught.
    """

    fusion: Fusion
    inspector: Inspector
    windows: Windows
    index: Index
    small: Mapping[str, np.ndarray]
    detail: Mapping[str, UsualDetail]
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
        return replace(self.view(name, at), unexplained=self.left[name][at])

    def classroom(self, name: str) -> Classroom:
        """Return the frames of image modality ``name`` that lessons are drawn from."""
        return Classroom(
            windows=self.windows,
            name=name,
            small=self.small[name],
            detail=self.detail[name],
            index=self.members(name),
        )

    def view(self, name: str, at: Index) -> View:
        """Return windows of a modality by themselves."""
        return self.fusion.view(self.windows.take(at, [name]), name)

    def small_frames(self, name: str, at: Index) -> Tensor:
        """Return small frames (K, 3, 64, 64) in [0, 1]."""
        return torch.from_numpy(self.small[name][at]).permute(0, 3, 1, 2).float()
