"""A small synthetic station that the model's tests share, and what is expected of it."""

import functools
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from model.checkpoint import Card
from model.config import (
    CorrectorConfig,
    ModalityConfig,
    ModelConfig,
    TeachingConfig,
    TrainingConfig,
)
from model.fusion import Fusion
from model.training import train
from model.windows import Batch, Pairs, Windows

SIDE_PX, SAMPLES, JOINTS = 64, 32, 4
RATE_HZ, WINDOW_HZ = 125.0, 15.0
CAMERA = ModalityConfig(kind="image", size_px=(SIDE_PX, SIDE_PX), widths=(8, 16, 32))
ARM = ModalityConfig(kind="vector", channels=2 * JOINTS, samples=SAMPLES, widths=(32, 32, 32))
TRAINING = TrainingConfig(
    epochs=3,
    batch=16,
    vector_batch=32,
    learning_rate=2e-3,
    rounds=2,
    corrector_epochs=24,
    corrector_batch=64,
    reconstructed=2,
    teaching=TeachingConfig(
        frame_steps=40,
        frame_batch=8,
        vector_steps=60,
        vector_batch=48,
        concord_steps=40,
        expectation_steps=150,
        foretelling_steps=60,
        restoring_steps=80,
    ),
)
HURRIED = TRAINING.model_copy(
    update={
        "epochs": 1,
        "rounds": 1,
        "corrector_epochs": 1,
        "teaching": TeachingConfig(
            frame_steps=2,
            frame_batch=4,
            vector_steps=2,
            vector_batch=2,
            concord_steps=2,
            expectation_steps=2,
            foretelling_steps=2,
            restoring_steps=2,
        ),
    }
)


def station(episodes: int, frames: int, seed: int, extra: dict[str, str] | None = None) -> Windows:
    """Windows of an arm moving smoothly and a camera seeing a blob at its tip.

    ``extra`` adds modalities by name, "image" or "vector", that see the same motion.
    """
    names = {"camera": "image", "arm": "vector"} if extra is None else extra
    random = np.random.default_rng(seed)
    images: dict[str, list[np.ndarray]] = {n: [] for n, kind in names.items() if kind == "image"}
    vectors: dict[str, list[np.ndarray]] = {n: [] for n, kind in names.items() if kind == "vector"}
    for _ in range(episodes):
        phase, speed = random.uniform(0, 6.28, JOINTS), random.uniform(0.85, 1.15)
        light = random.uniform(0.9, 1.1)
        ends = (np.arange(frames) / WINDOW_HZ + 1.0)[:, None]
        times = ends - np.arange(SAMPLES)[::-1] / RATE_HZ
        rate = speed * np.array([1.1, 1.7, 2.3, 0.9])
        angle = rate * times[..., None] + phase
        moving = np.concatenate([np.sin(angle), rate * np.cos(angle)], axis=2)
        for values in vectors.values():
            values.append(moving + random.normal(0, 0.005, moving.shape))
        for pictures in images.values():
            pictures.append(_pictures(moving[:, -1], light, random))
    total, at = episodes * frames, np.arange(episodes * frames)
    return Windows(
        images={n: np.concatenate(x) for n, x in images.items()},
        previous={n: np.where(at % frames > 0, at - 1, -1) for n in images},
        vectors={n: np.concatenate(x).astype(np.float32) for n, x in vectors.items()},
        present={n: np.ones(total, dtype=np.bool_) for n in names},
        episode=at // frames,
    )


def _pictures(state: np.ndarray, light: float, random: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX
    scene = 90 + 40 * y + 20 * np.sin(40 * x) * np.cos(25 * y)
    centre = 0.5 + 0.3 * state[:, :2]
    distance = (x - centre[:, :1, None]) ** 2 + (y - centre[:, 1:, None]) ** 2
    grey = light * (scene + 90 * np.exp(-distance / 0.006))
    noisy = grey[..., None] * [1.0, 0.9, 0.8] + random.normal(0, 1.5, (*grey.shape, 3))
    return noisy.clip(0, 255).astype(np.uint8)


def without(windows: Windows, name: str) -> Windows:
    """The same windows with modality ``name`` absent."""
    return replace(windows, present={**windows.present, name: np.zeros(len(windows), np.bool_)})


def with_images(windows: Windows, images: np.ndarray, name: str = "camera") -> Windows:
    return replace(windows, images={**windows.images, name: images})


def with_vectors(windows: Windows, values: np.ndarray, name: str = "arm") -> Windows:
    vectors = {**windows.vectors, name: values.astype(np.float32)}
    return replace(windows, vectors=vectors)


def noisy(windows: Windows, size: float = 0.5, seed: int = 0) -> Windows:
    """Noise on two joints, ``size`` in radians."""
    values = windows.vectors["arm"].copy()
    values[..., :2] += np.random.default_rng(seed).normal(0, size, values[..., :2].shape)
    return with_vectors(windows, values)


def occluded(windows: Windows) -> Windows:
    """A grey rectangle over an eighth of the picture."""
    images = windows.images["camera"].copy()
    images[:, 8:40, 12:28] = 60
    return with_images(windows, images)


def corrupt(number: int) -> Pairs:
    """A third of the pairs each: noise on the arm, an occluded camera, nothing."""
    clean = station(4, 48, seed=100 + number)
    kind = np.arange(len(clean)) % 3 - 1
    arm, camera = kind == 0, kind == 1
    values = np.where(arm[:, None, None], noisy(clean).vectors["arm"], clean.vectors["arm"])
    pictures = np.where(
        camera[:, None, None, None], occluded(clean).images["camera"], clean.images["camera"]
    )
    names = {-1: "", 0: "arm.noise", 1: "camera.occlusion"}
    return Pairs(
        clean=clean,
        faulty=with_images(with_vectors(clean, values), pictures),
        faulty_modality=kind,
        fault=tuple(names[int(k)] for k in kind),
        severity=np.where(kind >= 0, 0.5, 0.0),
        effect=np.where(kind >= 0, 10.0, 0.0),
    )


def model_config(name: str = "small") -> ModelConfig:
    return ModelConfig(
        name=name,
        modalities={"camera": CAMERA, "arm": ARM},
        corrector=CorrectorConfig(depth=2),
        precision="fp32",
        window_hz=WINDOW_HZ,
    )


@functools.cache
def trained() -> tuple[Fusion, Card]:
    """A model of the station, trained once for all tests of a run; not to be altered."""
    with tempfile.TemporaryDirectory() as directory:
        windows = station(16, 48, seed=1)
        return train(model_config(), TRAINING, windows, corrupt, directory=Path(directory))


def test_the_synthetic_station_repeats_itself_by_seed_only():
    first, again, other = station(2, 5, seed=3), station(2, 5, seed=3), station(2, 5, seed=4)
    assert (first.images["camera"] == again.images["camera"]).all()
    assert (first.vectors["arm"] != other.vectors["arm"]).any()
    assert first.previous["camera"].tolist() == [-1, 0, 1, 2, 3, -1, 5, 6, 7, 8]


def corrected(fusion: Fusion, batch: Batch) -> dict[str, Tensor]:
    """The corrected latents of every window of ``batch``."""
    said, index = fusion.infer(batch), np.arange(len(batch))
    return {name: fusion.correct(said, index, name) for name in fusion.config.names}
