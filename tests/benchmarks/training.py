"""Training beside plain loops over the same networks and frames, as one writes them first.

Plain is: single precision, PyTorch's default memory layout, one thing after another.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from model.autoencoding import train_autoencoder
from model.config import TeachingConfig, TrainingConfig
from model.frame_net import FrameNet
from model.fusion import Fusion
from model.learner import Learner
from model.precision import choose
from model.teaching import begin
from model.teaching_frames import expectations, lesson_clues, lesson_loss, teach_frames
from model.training import silent
from simulators.datasets import clean_windows, open_dataset
from simulators.demo import RECORDING
from simulators.training import TrainSettings

CAMERA = "camera"
STEPS = 12
PAIRS = 5
CONFIG = TrainingConfig(
    epochs=1,
    teaching=TeachingConfig(
        frame_steps=STEPS, frame_minutes=None, expectation_steps=1, foretelling_steps=1
    ),
)
Loop: TypeAlias = Callable[[Path], object]


def measure() -> dict[str, float]:
    """Frames a second, as multiples of the plain loops' in the same run; medians of pairs."""
    learner = _learner()
    return {
        "autoencoder_over_plain_loop": _ratio(
            lambda folder: _autoencoder(learner, folder), lambda _: _plain_autoencoder(learner)
        ),
        "frame_network_over_plain_loop": _ratio(
            lambda folder: teach_frames(learner, CAMERA, CONFIG, folder / "state", silent),
            lambda _: _plain_frame_network(learner),
        ),
    }


def _learner() -> Learner:
    settings = TrainSettings(kind="train", name="bench")
    dataset = open_dataset([str(RECORDING)], settings.model_for)
    windows = clean_windows(dataset, lambda *_: None)
    fusion, index = Fusion(dataset.model), np.arange(len(windows))
    fusion.precision = choose("auto", fusion.device)
    fusion.fit_scales(windows, index)
    return begin(fusion, windows, index, CONFIG, silent)


def _ratio(ours: Loop, plain: Loop) -> float:
    return statistics.median(_seconds(plain) / _seconds(ours) for _ in range(PAIRS))


def _seconds(loop: Loop) -> float:
    with TemporaryDirectory() as folder:
        begun = time.perf_counter()
        loop(Path(folder))
        return time.perf_counter() - begun


def _autoencoder(learner: Learner, folder: Path) -> None:
    index = learner.index[: STEPS * CONFIG.batch]
    given = learner.fusion, CAMERA, learner.windows, index, CONFIG
    train_autoencoder(*given, minutes=None, resume=folder / "state", progress=silent)


def _plain_autoencoder(learner: Learner) -> None:
    fusion = Fusion(learner.fusion.config)
    pair = nn.Sequential(fusion.encoder(CAMERA), fusion.decoder(CAMERA))
    frames = learner.windows.images[CAMERA]

    def loss_of(step: int) -> Tensor:
        drawn = frames[step * CONFIG.batch : (step + 1) * CONFIG.batch]
        pixels = torch.from_numpy(drawn).permute(0, 3, 1, 2).contiguous().float() / 255
        loss: Tensor = (pair(pixels) - pixels).square().mean()
        return loss

    _descend_plainly(pair, loss_of)


def _plain_frame_network(learner: Learner) -> None:
    network = FrameNet()
    classroom = learner.classroom(CAMERA)
    expected = expectations(learner, CAMERA)

    def loss_of(step: int) -> Tensor:
        random = np.random.default_rng([CONFIG.seed, step])
        lesson = classroom.lesson(random, CONFIG.teaching.frame_batch)
        clues = lesson_clues(learner, CAMERA, lesson, expected, CONFIG.seed, step)
        return lesson_loss(network(clues.pixels, clues.planes()), lesson)

    _descend_plainly(network, loss_of)


def _descend_plainly(module: nn.Module, loss_of: Callable[[int], Tensor]) -> None:
    adam = torch.optim.Adam(module.parameters(), lr=CONFIG.learning_rate)
    for step in range(STEPS):
        adam.zero_grad()
        loss_of(step).backward()
        adam.step()
