"""From recordings to a checkpoint, and from a checkpoint to its report."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from model.checkpoint import load, load_autoencoders, save
from model.config import (
    CorrectorConfig,
    DetectorConfig,
    Dispensable,
    Hertz,
    LatentSize,
    Method,
    ModalityConfig,
    ModalityName,
    ModelConfig,
    ModelName,
    Precision,
    TrainingConfig,
)
from model.descent import Progress as TrainingProgress
from model.recalibration import recalibrated
from model.training import split_episodes, train
from model.windows import Pairs
from simulators.datasets import (
    clean_windows,
    completed_modalities,
    open_dataset,
)
from simulators.injected import faulty_pairs
from simulators.recordings.recording import Recording
from stream.messages import Kind

PROTOCOLS = ("A", "B")
ROUND_EPISODES = 6  # of the training share, corrupted anew in each round of stage 2


class TrainSettings(BaseModel):
    """``kind: train``. Modalities left out are all of the recording's, at their defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["train"]
    name: ModelName
    method: Method = "evidence"
    modalities: dict[ModalityName, ModalityConfig] = {}
    latent: LatentSize = 288
    corrector: CorrectorConfig = CorrectorConfig()
    detector: DetectorConfig = DetectorConfig()
    precision: Precision = "auto"
    session_baseline: bool = True
    without: tuple[Dispensable, ...] = ()
    window_hz: Hertz | None = None
    training: TrainingConfig = TrainingConfig()

    def model_for(self, recording: Recording) -> ModelConfig:
        """The model, with channels and units as the recording has them."""
        return ModelConfig(
            name=self.name,
            method=self.method,
            modalities=completed_modalities(self.modalities, recording),
            latent=self.latent,
            corrector=self.corrector,
            detector=self.detector,
            precision=self.precision,
            session_baseline=self.session_baseline,
            without=self.without,
            window_hz=self.window_hz or _anchor_hz(self.modalities, recording),
        )

    def seeded(self, seed: int | None) -> "TrainSettings":
        """The same with another seed, if there is one."""
        if seed is None:
            return self
        training = self.training.model_copy(update={"seed": seed})
        return self.model_copy(update={"training": training})


def _anchor_hz(wanted: Mapping[str, ModalityConfig], recording: Recording) -> float:
    """The rate of the anchor: the first image, else the first vector."""
    used = [one for name, one in recording.modalities.items() if not wanted or name in wanted]
    images = [one for one in used if one.kind is Kind.IMAGE]
    return (images or used)[0].rate_hz


def train_checkpoint(
    settings: TrainSettings,
    data: Sequence[str],
    directory: Path,
    map_path: Path | None,
    progress: TrainingProgress,
    encoders: Path | None = None,
    calibration: Sequence[str] = (),
) -> Path:
    """Train on recordings; write the checkpoint and return its path.

    ``encoders`` is a checkpoint whose autoencoders are taken over instead of training them.
    ``calibration`` are recordings to set thresholds on; without them a share of ``data`` is.
    """

    def counted(stage: str, done: int, total: int) -> None:
        progress(stage, done, total, None)

    dataset = open_dataset([*data, *calibration], settings.model_for, map_path=map_path)
    trained_episodes = sum(len(one.episodes) for one in dataset.recordings[: len(data)])
    held_out = range(trained_episodes, len(dataset.episodes))
    kept = directory / f".{settings.name}.windows"
    windows = clean_windows(dataset, counted, kept)
    trained_on, _ = split_episodes(windows, settings.training, held_out)
    episodes = np.unique(windows.episode[trained_on])

    def corrupt(round_number: int) -> Pairs:
        rng = np.random.default_rng([settings.training.seed, round_number])
        count = min(ROUND_EPISODES, len(episodes))
        chosen = [int(one) for one in rng.choice(episodes, count, replace=False)]
        seed = settings.training.seed * 1000 + round_number
        return faulty_pairs(dataset, "B", seed, counted, chosen)

    directory.mkdir(parents=True, exist_ok=True)
    fusion, card = train(
        dataset.model,
        settings.training,
        windows,
        corrupt,
        directory=directory,
        held_out=held_out,
        encoders=None if encoders is None else load_autoencoders(encoders),
        progress=progress,
    )
    del windows
    rmtree(kept)
    facts = card.training.model_copy(
        update={
            "command": shlex.join(["weldfusion", *(_without_folders(one) for one in sys.argv[1:])]),
            "data": tuple(Path(one).name for one in [*data, *calibration]),
        }
    )
    return save(directory, settings.name, fusion, card.model_copy(update={"training": facts}))


def calibrate_checkpoint(
    path: Path,
    data: Sequence[str],
    directory: Path,
    map_path: Path | None,
    progress: TrainingProgress,
    without: Sequence[str] = (),
) -> Path:
    """Write a checkpoint of the same weights, with thresholds from clean recordings.

    Evidences ``without``, such as "camera.tone", no longer count.
    """

    def counted(stage: str, done: int, total: int) -> None:
        progress(stage, done, total, None)

    loaded = load(path, "cpu")
    model = loaded.card.model
    dataset = open_dataset(data, lambda _: model, map_path=map_path)
    with TemporaryDirectory(prefix="weldfusion-") as frames:
        windows = clean_windows(dataset, counted, Path(frames))
        names = tuple(Path(one).name for one in data)
        card = recalibrated(loaded.fusion, loaded.card, windows, names, without)
    return save(directory, path.stem, loaded.fusion, card)


def _without_folders(argument: str) -> str:
    """An absolute path tells more of the machine than of the training."""
    return Path(argument).name if Path(argument).is_absolute() else argument
