"""How steep what method `evidence` has learnt is: bounds, and the largest slopes found on data.

Each network by itself, against its own inputs in their own units (paper 1, theorem 3.6): a logit
against frame and planes, or against the clues of a vector window; what is restored against what a
restorer is given. How the gates of a vector restorer blend what it predicts with what was measured
has no bound that holds everywhere, and is left out; nor has what compares frames with vectors,
which multiplies the two: of that only the largest slope is told.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from model.concord import MOMENTS
from model.frame_lessons import Lesson
from model.frame_net import CELL_GAIN, HIGHEST, PLANES, Clues, FrameNet
from model.learner import Learner
from model.lipschitz import largest_slope, product_bound, spectral_norm
from model.polynomials import slope_bound
from model.posture import Posture
from model.restorers import FrameRestorer, VectorRestorer
from model.scene import SMALL_PX
from model.teaching_concord import complete, glimpses_of
from model.teaching_frames import expectations, lesson_clues
from model.teaching_vectors import Windowful, beside_of
from model.vector_evidence import LearntVectors
from model.vector_net import VectorNet
from model.windows import Index

FRAMES, WINDOWS = 16, 64  # at which slopes are looked for, disturbed and clean
OF_A_LOGIT = 2  # iterations: its Jacobian has a single row


class OfRows(nn.Module):
    """A network as a function of rows (B, N)."""

    def __init__(self, network: nn.Module, said: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.network = network
        self.said = said

    def forward(self, rows: Tensor) -> Tensor:
        """Return what is said of each row (B, M)."""
        return self.said(self.network, rows)


def inspector_slopes(learner: Learner, seed: int) -> dict[str, float]:
    """Return bound and largest sampled slope of each network and restorer, by modality.

    Sampled at disturbed and clean windows, between the two, and between clean ones that follow one
    another.
    """
    inspector, figures = learner.inspector, dict[str, float]()
    random = np.random.default_rng([seed, 0])
    for name in inspector.images:
        figures |= frame_slopes(learner, name, random, seed)
        figures |= frame_restorer_slopes(learner, name, random)
        figures |= concord_slopes(learner, name, random)
    for name in inspector.vectors:
        learnt = inspector.learnt_vectors(name)
        if learnt is not None:
            figures |= vector_slopes(learner, name, learnt, random)
        for posture in inspector.foretelling(name).postures:
            found = posture_slopes(learner, name, posture, random)
            figures |= {key: max(value, figures.get(key, 0.0)) for key, value in found.items()}
    return figures


def frame_bound(network: FrameNet) -> float:
    """Return a bound of the slope of a frame's logit against its 256 pixels a side and planes.

    What is pooled of a map, maximum and mean of each channel, differs by no more than
    ``sqrt(1 + 1 / cells)`` of what the maps do; a mean of the K highest cells by no more than
    ``1 / sqrt(K)`` of what the cells do, for which the coarser map is stretched to twice its side.
    """
    reach = max(product_bound(network.patches), 1.0)  # planes stand beside the patches
    maps, pooled, side = [], [], SMALL_PX
    for block in network.blocks:
        assert isinstance(block, nn.Sequential)
        reach, side = reach * product_bound(block), side // 2
        maps.append(reach)
        pooled.append(reach * math.sqrt(1 + 1 / side**2))
    cells = product_bound(network.mask) * math.hypot(maps[0], 2 * maps[1])
    pooled += [CELL_GAIN * cells / math.sqrt(most) for most in HIGHEST]
    return product_bound(network.head) * math.hypot(*pooled)


def vector_bound(network: VectorNet, samples: int) -> float:
    """Return a bound of the slope of the logit of a window of ``samples`` against its clues."""
    pooled = math.sqrt(1 + 1 / -(-samples // 4))
    head, last = network.head[:-1], network.head[-1]
    return product_bound(network.layers) * pooled * product_bound(head) * _rows_norm(last, 1)


def posture_bound(posture: Posture) -> float:
    """Return a bound of the slope of all levels foretold, each of which takes a way of its own."""
    first = spectral_norm(posture.enter.weight) * product_bound(posture.layers)
    last = posture.last.detach()[..., 0] * posture.loose()[:, None]
    return first * float(last.norm()) + slope_bound(posture.polynomials)


def frame_restorer_bound(restorer: FrameRestorer) -> float:
    """Return a bound of the slope of restored coefficients, three of which are plainly added."""
    return math.sqrt(3) + product_bound(restorer.layers)


def vector_restorer_bound(restorer: VectorRestorer) -> float:
    """Return a bound of the slope of a predicted window."""
    layers, last = restorer.layers[:-1], restorer.layers[-1]
    return product_bound(layers) * _rows_norm(last, math.prod(restorer.shape))


def _rows_norm(layer: nn.Module, rows: int) -> float:
    """Return the norm of a dense layer of which only the first outputs are looked at."""
    assert isinstance(layer, nn.Linear)
    return spectral_norm(layer.weight[:rows])


def frame_slopes(
    learner: Learner, name: str, random: np.random.Generator, seed: int
) -> dict[str, float]:
    """Return the figures of the network of image modality ``name``."""
    windows, network = learner.windows, learner.inspector.learnt_frames(name).network
    images = windows.images[name]
    disturbed = learner.classroom(name).lesson(random, FRAMES)
    before = np.maximum(windows.previous[name][disturbed.index], 0)
    after = _following(learner, disturbed.index)
    clean = replace(disturbed, frames=images[disturbed.index], previous=images[before])
    following = replace(clean, index=after, frames=images[after], previous=clean.frames)
    expected = expectations(learner, name)

    def rows(lesson: Lesson) -> Tensor:
        clues = lesson_clues(learner, name, lesson, expected, seed, 0)
        return _frame_rows(network, clues)

    points, others = _chords(rows(disturbed), rows(clean), rows(following))
    return {
        f"{name}_network_bound": frame_bound(network),
        f"{name}_network_slope": largest_slope(
            OfRows(network, _frame_logit), points, others, OF_A_LOGIT
        ),
    }


def _frame_rows(network: FrameNet, clues: Clues) -> Tensor:
    pixels = network.resampled(clues.pixels)
    return torch.cat([pixels.flatten(1), clues.planes().flatten(1)], dim=1)


def _frame_logit(network: nn.Module, rows: Tensor) -> Tensor:
    side = 4 * SMALL_PX
    pixels, planes = rows[:, : 3 * side**2], rows[:, 3 * side**2 :]
    logit, _ = network(
        pixels.reshape(-1, 3, side, side), planes.reshape(-1, PLANES, SMALL_PX, SMALL_PX)
    )
    return torch.as_tensor(logit)[:, None]


@torch.no_grad()
def _restorer_rows(
    learner: Learner, name: str, at: Index, before: Index, age: Tensor, known: Tensor
) -> Tensor:
    scene = learner.inspector.scene(name)
    last, now = (learner.small_frames(name, before), learner.pose(at))
    return learner.inspector.frame_restorer(name).given(
        scene.coefficients(last) / scene.spread,
        scene.expected(learner.pose(before)) / scene.spread,
        scene.expected(now) / scene.spread,
        age,
        known,
    )


def frame_restorer_slopes(
    learner: Learner, name: str, random: np.random.Generator
) -> dict[str, float]:
    """Return the figures of the restorer of image modality ``name``; it sees no disturbed frame."""
    restorer = learner.inspector.frame_restorer(name)
    at = random.choice(learner.members(name), WINDOWS)
    remembered = learner.earlier(random, at)
    points = _restorer_rows(learner, name, at, *remembered)
    others = _restorer_rows(learner, name, _following(learner, at), *remembered)
    return {
        f"{name}_restorer_bound": frame_restorer_bound(restorer),
        f"{name}_restorer_slope": largest_slope(OfRows(restorer, _restored), points, others),
    }


def _restored(restorer: nn.Module, rows: Tensor) -> Tensor:
    assert isinstance(restorer, FrameRestorer)
    return restorer.restored(rows)


def concord_slopes(learner: Learner, name: str, random: np.random.Generator) -> dict[str, float]:
    """Return the largest slope of what compares image modality ``name`` with the vectors, if any.

    Found at frames beside vectors of their own and of another moment, and between the two.
    """
    concord = learner.inspector.concord(name)
    if concord is None:
        return {}
    index, glimpses = complete(learner, name), glimpses_of(learner)
    at, other = random.choice(index, (2, WINDOWS))
    frames = learner.small_frames(name, at).flatten(1)
    points, others = (torch.cat([frames, glimpses[one].flatten(1)], dim=1) for one in (at, other))
    slope = largest_slope(OfRows(concord.network, _concord_logit), points, others, OF_A_LOGIT)
    return {f"{name}_concord_slope": slope}


def _concord_logit(network: nn.Module, rows: Tensor) -> Tensor:
    small, glimpse = rows[:, : 3 * SMALL_PX**2], rows[:, 3 * SMALL_PX**2 :]
    logit, _, _ = network(
        small.reshape(-1, 3, SMALL_PX, SMALL_PX), glimpse.reshape(len(rows), MOMENTS, -1)
    )
    return torch.as_tensor(logit)[:, None]


def vector_slopes(
    learner: Learner, name: str, learnt: LearntVectors, random: np.random.Generator
) -> dict[str, float]:
    """Return the figures of network and restorer of vector modality ``name``."""
    network, restorer = learnt.network, learner.inspector.vector_restorer(name)
    windowful = Windowful(learner, name, learnt)
    at, disturbed, _, _ = windowful.drawn(random, WINDOWS, 1.0)
    after = _following(learner, at)
    before, age, known = learner.earlier(random, at)
    beside, last = beside_of(learner), windowful.clean(before)
    looked, given = [], []
    for index, shown in (
        (at, disturbed),
        (at, windowful.clean(at)),
        (after, windowful.clean(after)),
    ):
        with torch.no_grad():
            same = np.random.default_rng(0)  # the same windows remember their session each time
            clues = learnt.clues(windowful.view(same, index, shown))
            hit = network(clues)[1]
        looked.append(clues.flatten(1))
        given.append(restorer.given(shown, last, hit, beside[index], age, known))
    logit = OfRows(network, _vector_logit)
    predicted = OfRows(restorer, _predicted)
    return {
        f"{name}_network_bound": vector_bound(network, learner.windows.vectors[name].shape[1]),
        f"{name}_network_slope": largest_slope(logit, *_chords(*looked), OF_A_LOGIT),
        f"{name}_restorer_bound": vector_restorer_bound(restorer),
        f"{name}_restorer_slope": largest_slope(predicted, *_chords(*given)),
    }


def posture_slopes(
    learner: Learner, name: str, posture: Posture, random: np.random.Generator
) -> dict[str, float]:
    """Return the figures of what foretells the levels of vector modality ``name``."""
    at = random.choice(learner.members(name), WINDOWS)
    points, others = (
        learner.view(name, one).samples[:, -1] for one in (at, _following(learner, at))
    )
    return {
        f"{name}_posture_bound": posture_bound(posture),
        f"{name}_posture_slope": largest_slope(OfRows(posture, _levels), points, others),
    }


def _levels(posture: nn.Module, rows: Tensor) -> Tensor:
    foretold, _ = posture(rows[:, None])
    return torch.as_tensor(foretold)[:, 0]


def _vector_logit(network: nn.Module, rows: Tensor) -> Tensor:
    assert isinstance(network, VectorNet)
    logit, _ = network(rows.reshape(len(rows), -1, network.inputs))
    return torch.as_tensor(logit)[:, None]


def _predicted(restorer: nn.Module, rows: Tensor) -> Tensor:
    assert isinstance(restorer, VectorRestorer)
    return torch.as_tensor(restorer.layers(rows))[:, : math.prod(restorer.shape)]


def _chords(disturbed: Tensor, clean: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    return torch.cat([disturbed, clean]), torch.cat([clean, following])


def _following(learner: Learner, at: Index) -> Index:
    return np.minimum(at + 1, len(learner.windows) - 1)
