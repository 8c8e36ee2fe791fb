"""Windows into the tensors that a model takes."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from model.config import ModalityConfig
from model.windows import Batch
from stream.images import fit
from stream.messages import Frame, ImageView, Pixels, VectorView, Window

MASKED = ImageView(frame=None, previous=None, skew_ns=0, largest_gap_ns=0)


def collate(
    windows: Sequence[Window], modalities: Mapping[str, ModalityConfig], at_least: int = 0
) -> Batch:
    """B windows as a batch; what is masked is zero and not present."""
    size = max(len(windows), at_least)
    images, previous, has_previous, vectors, present = {}, {}, {}, {}, {}
    for name, modality in modalities.items():
        if modality.kind == "image":
            images[name], present[name] = _frames(windows, name, modality.size_px, size)
            previous[name], has_previous[name] = _previous(windows, name, modality.size_px, size)
        else:
            vectors[name], present[name] = _vectors(windows, name, modality, size)
    return Batch(
        images=images,
        previous=previous,
        has_previous=has_previous,
        vectors=vectors,
        present=present,
    )


def _frames(
    windows: Sequence[Window], name: str, size_px: tuple[int, int], size: int
) -> tuple[Tensor, Tensor]:
    frames = [_image_view(window, name).frame for window in windows]
    return _stacked(frames, size_px, size)


def _previous(
    windows: Sequence[Window], name: str, size_px: tuple[int, int], size: int
) -> tuple[Tensor, Tensor]:
    frames = [_image_view(window, name).previous for window in windows]
    return _stacked(frames, size_px, size)


def _image_view(window: Window, name: str) -> ImageView:
    view = window.views.get(name)
    return view if isinstance(view, ImageView) else MASKED


def _stacked(
    frames: Sequence[Frame | None], size_px: tuple[int, int], size: int
) -> tuple[Tensor, Tensor]:
    pixels, there = np.zeros((size, *size_px, 3), np.uint8), np.zeros(size, np.bool_)
    for at, frame in enumerate(frames):
        if frame is not None:
            pixels[at], there[at] = _pixels(frame, size_px), True
    return torch.from_numpy(pixels), torch.from_numpy(there)


def _vectors(
    windows: Sequence[Window], name: str, modality: ModalityConfig, size: int
) -> tuple[Tensor, Tensor]:
    values = np.zeros((size, modality.samples, modality.channels), np.float32)
    there = np.zeros(size, np.bool_)
    for at, window in enumerate(windows):
        view = window.views.get(name)
        if isinstance(view, VectorView) and view.present:
            values[at], there[at] = view.values, True
    return torch.from_numpy(values), torch.from_numpy(there)


def _pixels(frame: Frame, size_px: tuple[int, int]) -> Pixels:
    if frame.pixels is None:
        raise ValueError(f"{frame.modality} at {frame.time_ns} was never decoded")
    return fit(frame.pixels, size_px)
