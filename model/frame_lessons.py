"""Frames from which a network learns what is clean: half of them disturbed, all under nuisances.

Light, tint, a shift of the mount and another JPEG are not faults. They come to clean and disturbed
frames alike, and to what the session remembers, so that nothing can be learnt from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cv2
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from model.detail import UsualDetail, detail_of
from model.evidence import pixels_of
from model.frame_disturbance import Disturbance, block_change, draw_disturbance
from model.frame_net import MASK_CELLS
from model.past import LEAST, REMEMBERED
from model.scene import DETAIL_PX, averaged
from model.windows import Index, Windows

Pixels: TypeAlias = NDArray[np.uint8]
Levels: TypeAlias = NDArray[np.float32]

JPEG_QUALITY = 90
VISIBLE_LEVELS = 2.0  # RMS change of the worst sixteenth of a side, below which nothing was done
CELL_LEVELS = (1.5, 4.5)  # RMS change at which a cell begins to count as hit, and counts wholly
RECALLED = (8, 17)  # clean frames whose mean stands for the session
TRIES = 4
NUISANCE_SHARE = 0.7
KNOWN_SHARE = 0.85  # of the windows whose session has lasted long enough remember it
SPOILT_SHARE = 0.08  # of the disturbed ones: the session began with the fault
LASTING_SHARE = 0.93  # of the disturbances were there a frame ago


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Lesson:
    """B frames. ``frames`` and ``previous`` uint8 (B, H, W, 3); ``usual`` float (B, 64, 64, 3) in
    [0, 1], the mean of the frames at ``recalled`` (B, K), -1 where there are fewer; ``detail``
    (B, 128, 128) what the session remembers of it; ``index`` (B,) of the windows; ``disturbed``
    (B,); ``cells`` (B, 32, 32) in [0, 1], where.
    """

    index: Index
    frames: Pixels
    previous: Pixels
    has_previous: NDArray[np.bool_]
    usual: Levels
    detail: Levels
    recalled: Index
    has_usual: NDArray[np.bool_]
    disturbed: NDArray[np.bool_]
    cells: Levels


def joined(lessons: Sequence[Lesson]) -> Lesson:
    """Return the frames of several lessons together."""
    return Lesson(
        **{key: np.concatenate([getattr(one, key) for one in lessons]) for key in Lesson.__slots__}
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Nuisance:
    """What may change without a fault: ``gain`` (3,), a ramp of light and a shift in pixels."""

    gain: Levels
    ramp: float
    heading: float
    shift_px: tuple[float, float]

    def __call__(self, frame: NDArray[Any], scale: float = 1.0) -> NDArray[Any]:
        """Apply it to a frame (H, W, 3) that is ``scale`` times as large as the shift is meant.

        Of uint8 or float, which the result is too.
        """
        height, width = frame.shape[:2]
        across = np.cos(self.heading) * np.linspace(-1, 1, width, dtype=np.float32)[None, :]
        down = np.sin(self.heading) * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
        light = (1 + self.ramp * (across + down)).astype(np.float32)
        x_px, y_px = (scale * shift for shift in self.shift_px)
        matrix = np.array([[1, 0, x_px], [0, 1, y_px]], np.float32)
        # whole frames hardly blur where they are shifted, remembered ones of few pixels would
        smooth = cv2.INTER_LINEAR if scale == 1 else cv2.INTER_CUBIC
        moved = cv2.warpAffine(
            frame, matrix, (width, height), flags=smooth, borderMode=cv2.BORDER_REPLICATE
        )
        gains = light[..., None] * self.gain
        whole = cv2.CV_8U if frame.dtype == np.uint8 else cv2.CV_32F  # rounds, and cuts at 255
        return cv2.multiply(moved, gains, dtype=whole)


def draw_nuisance(random: Generator) -> Nuisance:
    """Draw a change of light by up to a quarter and of the mount by a pixel or so."""
    gain = np.exp(random.uniform(np.log(0.78), np.log(1.25))) * random.uniform(0.95, 1.05, 3)
    x_px, y_px = random.normal(0, 0.9, 2)
    return Nuisance(
        gain=gain.astype(np.float32),
        ramp=float(random.uniform(0, 0.12)),
        heading=float(random.uniform(0, 2 * np.pi)),
        shift_px=(float(x_px), float(y_px)),
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Classroom:
    """The clean frames of one modality that lessons are drawn from.

    ``small`` float16 (N, 64, 64, 3) in [0, 1], of all ``windows``, and ``detail`` what their
    sessions would remember; ``index`` those to be shown.
    """

    windows: Windows
    name: str
    small: NDArray[np.float16]
    detail: UsualDetail
    index: Index

    def lesson(self, random: Generator, size: int) -> Lesson:
        """Draw ``size`` frames, an even number: each once as it is and once disturbed.

        Side by side in a lesson, the two differ in nothing but the disturbance.
        """
        pairs = [self._pair(random, int(at)) for at in random.choice(self.index, size // 2)]
        drawn = [one for pair in pairs for one in pair]
        return Lesson(
            **{key: np.stack([getattr(one, key) for one in drawn]) for key in _Shown.__slots__}
        )

    def _pair(self, random: Generator, at: int) -> "tuple[_Shown, _Shown]":
        nuisance = draw_nuisance(random) if random.random() < NUISANCE_SHARE else None
        before = int(self.windows.previous[self.name][at])
        frame = _under(nuisance, self.windows.images[self.name][at])
        previous = _under(nuisance, self.windows.images[self.name][max(before, 0)])
        recalled, has_usual = self._recalled(random, at)
        clean = _Shown(
            index=np.int64(at),
            frames=_recoded(frame),
            previous=_recoded(previous),
            has_previous=np.bool_(before >= 0),
            usual=self._usual(recalled[recalled >= 0], nuisance),
            detail=self._detail(at, nuisance),
            recalled=recalled,
            has_usual=has_usual & self.detail.known(np.array([at])).numpy()[0],
            disturbed=np.False_,
            cells=np.zeros((MASK_CELLS, MASK_CELLS), np.float32),
        )
        other = elsewhere(random, self.windows.episode, self.index, at)
        shown = _under(nuisance, self.windows.images[self.name][other])
        disturbance, disturbed = _disturbed(random, frame, shown)
        cells = _hit_cells(frame, disturbed)
        if random.random() < LASTING_SHARE:
            previous = disturbance(previous, random)
        faulty = replace(
            clean,
            frames=_recoded(disturbed),
            previous=_recoded(previous),
            disturbed=np.True_,
            cells=cells,
        )
        return clean, _spoilt(random, clean, faulty, disturbance)

    def _recalled(self, random: Generator, at: int) -> tuple[Index, bool]:
        """Some of the windows before, as the session would remember; else the window itself."""
        recalled = np.full(RECALLED[1], -1)
        episode = self.windows.episode
        pool = np.arange(max(0, at - REMEMBERED - 2), max(at - 1, 0))
        pool = pool[episode[pool] == episode[at]]
        if len(pool) < LEAST or random.random() > KNOWN_SHARE:
            recalled[0] = at
            return recalled, False
        count = int(random.integers(*RECALLED))
        recalled[:count] = random.choice(pool, count)
        return recalled, True

    def _usual(self, recalled: Index, nuisance: Nuisance | None) -> Levels:
        """The mean of small frames; a nuisance is linear, so it can come after the mean."""
        mean = self.small[recalled].mean(0, dtype=np.float32)
        return mean if nuisance is None else nuisance(mean, len(mean) / self._height_px)

    def _detail(self, at: int, nuisance: Nuisance | None) -> Levels:
        """What its session remembers of fine detail, which is linear too."""
        known = self.detail.at(np.array([at]))[0].numpy()
        if nuisance is None:
            return known
        grey = nuisance(known[..., None].repeat(3, 2), len(known) / self._height_px)
        return np.asarray(grey.mean(2), np.float32)

    @property
    def _height_px(self) -> int:
        return int(self.windows.images[self.name].shape[1])


def elsewhere(random: Generator, episode: Index, index: Index, at: int) -> int:
    """Draw a window of another time than ``at``: mostly of its own episode (N,), some way back.

    Else any of those at ``index``.
    """
    if random.random() < 0.2:
        return int(random.choice(index))
    back = int(np.exp(random.uniform(0, np.log(300))))
    there = max(at - back, 0)
    return there if episode[there] == episode[at] else max(at - 1, 0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Shown:
    """One frame of a `Lesson`, under the same names."""

    index: np.int64
    frames: Pixels
    previous: Pixels
    has_previous: np.bool_
    usual: Levels
    detail: Levels
    recalled: Index
    has_usual: np.bool_
    disturbed: np.bool_
    cells: Levels


def _spoilt(random: Generator, clean: _Shown, faulty: _Shown, disturbance: Disturbance) -> _Shown:
    """Let some sessions begin with the fault, so that they remember it as usual."""
    if random.random() >= SPOILT_SHARE:
        return faulty
    usual = _shrunk(disturbance(_grown(faulty.usual, faulty.frames.shape), random))
    pixels = pixels_of(torch.from_numpy(np.stack([clean.frames, faulty.frames])))
    shown = detail_of(averaged(pixels, DETAIL_PX))
    return replace(faulty, usual=usual, detail=faulty.detail + (shown[1] - shown[0]).numpy())


def _under(nuisance: Nuisance | None, frame: Pixels) -> Pixels:
    if nuisance is None:
        return frame
    return nuisance(np.ascontiguousarray(frame))


def _disturbed(random: Generator, clean: Pixels, other: Pixels) -> tuple[Disturbance, Pixels]:
    height, width = clean.shape[:2]
    for _ in range(TRIES):
        disturbance = draw_disturbance(random, height, width, other.astype(np.float32))
        frame = disturbance(clean, random)
        if block_change(clean, frame, height // 16).max() > VISIBLE_LEVELS:
            break
    return disturbance, frame


def _hit_cells(clean: Pixels, frame: Pixels) -> Levels:
    change = block_change(clean, frame, clean.shape[0] // MASK_CELLS)
    low, high = CELL_LEVELS
    return np.asarray(np.clip((change - low) / (high - low), 0, 1), np.float32)


def _recoded(frame: Pixels) -> Pixels:
    """Through a JPEG, as every replayed frame went."""
    bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def _grown(small: Levels, shape: tuple[int, ...]) -> Pixels:
    levels = np.clip(255 * small, 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(levels, (shape[1], shape[0])), np.uint8)


def _shrunk(frame: Pixels) -> Levels:
    side = 2 * MASK_CELLS
    small = cv2.resize(frame, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small / np.float32(255), np.float32)
