"""Windows as arrays: what training reads and what a model is given."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Index: TypeAlias = NDArray[np.int64]

ENOUGH_FRAMES = 6000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """B windows as tensors, by the names of the modalities.

    ``images`` and ``previous`` are uint8 (B, H, W, 3), RGB; ``has_previous`` and ``present`` bool
    (B,); ``vectors`` float32 (B, T, C). What is not present may hold anything.
    """

    images: Mapping[str, Tensor]
    previous: Mapping[str, Tensor]
    has_previous: Mapping[str, Tensor]
    vectors: Mapping[str, Tensor]
    present: Mapping[str, Tensor]

    def __len__(self) -> int:
        return int(next(iter(self.present.values())).shape[0])

    def to(self, device: torch.device) -> "Batch":
        """Return the same windows on ``device``."""

        def moved(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()}

        return Batch(
            images=moved(self.images),
            previous=moved(self.previous),
            has_previous=moved(self.has_previous),
            vectors=moved(self.vectors),
            present=moved(self.present),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Windows:
    """N windows, those of one episode together and in time order.

    ``images`` are uint8 (N, H, W, 3) and may be memory-mapped; ``previous`` int64 (N,), the index
    of the frame before in the same array, -1 for none; ``vectors`` float32 (N, T, C); ``present``
    bool (N,) for every modality; ``episode`` int64 (N,).
    """

    images: Mapping[str, NDArray[np.uint8]]
    previous: Mapping[str, Index]
    vectors: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    episode: Index

    def __post_init__(self) -> None:
        expected = len(self.episode)
        sizes = {f"images.{name}": len(x) for name, x in self.images.items()}
        sizes |= {f"previous.{name}": len(x) for name, x in self.previous.items()}
        sizes |= {f"vectors.{name}": len(x) for name, x in self.vectors.items()}
        sizes |= {f"present.{name}": len(x) for name, x in self.present.items()}
        for key, size in sizes.items():
            if size != expected:
                raise ValueError(f"{key}: {size} windows, episode {expected}")
        if set(self.images) | set(self.vectors) != set(self.present):
            raise ValueError("present: must name every modality of images and vectors")
        if set(self.images) != set(self.previous):
            raise ValueError("previous: must name every modality of images")

    def __len__(self) -> int:
        return len(self.episode)

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities, sorted."""
        return tuple(sorted(self.present))

    def take(self, index: Index, names: Collection[str] | None = None) -> Batch:
        """Return the windows at ``index`` (B,) as tensors in memory, of all modalities or some."""
        wanted = self.names if names is None else names
        images = [name for name in self.images if name in wanted]
        before = {name: np.maximum(self.previous[name][index], 0) for name in images}
        return Batch(
            images={name: _gather(self.images[name], index) for name in images},
            previous={name: _gather(self.images[name], before[name]) for name in images},
            has_previous={name: _gather(self.previous[name], index) >= 0 for name in images},
            vectors={n: _gather(x, index) for n, x in self.vectors.items() if n in wanted},
            present={name: _gather(self.present[name], index) for name in wanted},
        )


def _gather(array: NDArray[np.generic], index: Index) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array[index]))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pairs:
    """N windows twice: clean, and with at most one modality corrupted.

    ``faulty_modality`` int64 (N,) indexes the sorted modality names, -1 for untouched pairs;
    ``severity`` and ``effect`` float (N,), the latter in units of the sensor's noise.
    """

    clean: Windows
    faulty: Windows
    faulty_modality: Index
    fault: tuple[str, ...]
    severity: NDArray[np.float64]
    effect: NDArray[np.float64]

    def __post_init__(self) -> None:
        sizes = {
            "faulty": len(self.faulty),
            "faulty_modality": len(self.faulty_modality),
            "fault": len(self.fault),
            "severity": len(self.severity),
            "effect": len(self.effect),
        }
        for key, size in sizes.items():
            if size != len(self.clean):
                raise ValueError(f"{key}: {size} pairs, clean {len(self.clean)}")

    def __len__(self) -> int:
        return len(self.clean)


Corrupt: TypeAlias = Callable[[int], Pairs]
"""Gives the pairs of one round; the same round gives the same pairs."""


def spread_out(index: Index) -> Index:
    """Return `ENOUGH_FRAMES` of these or somewhat more, spread over all: neighbours are alike."""
    return index[:: max(1, len(index) // ENOUGH_FRAMES)]


def chunks(size: int, chunk: int) -> list[Index]:
    """Return the indices 0 … size-1 in consecutive pieces of at most ``chunk``."""
    return [np.arange(at, min(at + chunk, size)) for at in range(0, size, chunk)]
