"""From recordings to a checkpoint, and from a checkpoint to its report."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from model.autoencoding import Progress as TrainingProgress
from model.checkpoint import Card, Loaded, load, save
from model.config import (
    CorrectorConfig,
    DetectorConfig,
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
from model.evaluation import (
    CLEAN,
    bootstrap,
    class_figures,
    classify,
    macro_f1,
    measured_false_alarms,
    operating_point,
)
from model.judging import correction_errors, score_pairs, score_windows
from model.training import split_episodes, train
from model.windows import Pairs
from simulators.datasets import (
    Dataset,
    Progress,
    clean_windows,
    completed_modalities,
    faulty_pairs,
    open_dataset,
)
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
            window_hz=self.window_hz or _anchor_hz(self.modalities, recording),
        )


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
) -> Path:
    """Train on recordings; write the checkpoint and return its path."""

    def counted(stage: str, done: int, total: int) -> None:
        progress(stage, done, total, None)

    dataset = open_dataset(data, settings.model_for, map_path=map_path)
    windows = clean_windows(dataset, counted)
    trained_on, _ = split_episodes(windows, settings.training)
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
        progress=progress,
    )
    facts = card.training.model_copy(
        update={
            "command": shlex.join(["weldfusion", *(_without_folders(one) for one in sys.argv[1:])]),
            "data": tuple(Path(one).name for one in data),
        }
    )
    return save(directory, settings.name, fusion, card.model_copy(update={"training": facts}))


def _without_folders(argument: str) -> str:
    """An absolute path tells more of the machine than of the training."""
    return Path(argument).name if Path(argument).is_absolute() else argument


def evaluate_checkpoint(
    path: Path,
    data: Sequence[str],
    seed: int,
    map_path: Path | None,
    progress: Progress,
) -> dict[str, Any]:
    """Judge recordings that training never saw, by protocols A and B; return the report."""
    loaded = load(path)
    dataset = _dataset_for(loaded.card, data, map_path)
    clean = clean_windows(dataset, progress)
    clean_scores = score_windows(loaded.fusion, clean)
    protocols = {
        protocol: _protocol(loaded, dataset, clean_scores, protocol, seed, progress)
        for protocol in PROTOCOLS
    }
    return {
        **protocols["A"],
        "windows": len(clean),
        "clean_false_alarms": measured_false_alarms(clean_scores, np.full(len(clean), CLEAN)),
        "episodes": len(dataset.episodes),
        "seed": seed,
        "model": {"name": loaded.card.model.name, "hash": loaded.hash},
        "data": [Path(one).name for one in data],
        "protocols": protocols,
    }


def _dataset_for(card: Card, data: Sequence[str], map_path: Path | None) -> Dataset:
    spreads = {name: np.array(values) for name, values in card.spreads.items()}
    return open_dataset(data, lambda _: card.model, spreads=spreads, map_path=map_path)


def _protocol(
    loaded: Loaded,
    dataset: Dataset,
    clean_scores: Mapping[str, NDArray[np.float64]],
    protocol: str,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    pairs = faulty_pairs(dataset, protocol, seed, progress)
    fusion, card = loaded.fusion, loaded.card
    scores = score_pairs(fusion, pairs)
    names = sorted(card.model.modalities)
    truth, predicted = pairs.faulty_modality, classify(scores)
    figures = class_figures(truth, predicted, names)
    interval = bootstrap(
        lambda at: macro_f1(class_figures(truth[at], predicted[at], names)), pairs.clean.episode
    )
    return {
        "classes": figures,
        "macro_f1": macro_f1(figures),
        "macro_f1_interval": interval,
        "recall_at_far": _recall_at_far(loaded, scores, pairs, clean_scores, names),
        "error": correction_errors(fusion, pairs),
        "recall_by_fault": _by_fault(scores, pairs, names),
        "faulty_windows": int((pairs.faulty_modality >= 0).sum()),
    }


def _recall_at_far(
    loaded: Loaded,
    scores: Mapping[str, NDArray[np.float64]],
    pairs: Pairs,
    clean_scores: Mapping[str, NDArray[np.float64]],
    names: Sequence[str],
) -> dict[str, Any]:
    """Recall at the thresholds frozen on calibration, beside the false alarms measured here.

    A model without thresholds detects nothing, at any of them.
    """
    calibration = loaded.card.calibration
    report: dict[str, Any] = {}
    for label, rate in (("1e-2", "0.01"), ("1e-3", "0.001")):
        report[label] = {}
        for name in names:
            threshold = np.inf
            if calibration is not None:
                threshold = calibration.thresholds[rate][loaded.fusion.precision]
            point = operating_point(scores, pairs.faulty_modality, name, threshold)
            measured = float((clean_scores[name] > threshold).mean())
            report[label][name] = {"recall": point["recall"], "measured_far": measured}
    return report


def _by_fault(
    scores: Mapping[str, NDArray[np.float64]], pairs: Pairs, names: Sequence[str]
) -> dict[str, dict[str, float]]:
    predicted = classify(scores)
    faults = np.array(pairs.fault)
    table = {}
    for fault in sorted(set(pairs.fault) - {""}):
        at = faults == fault
        table[fault] = {
            "recall": float((predicted[at] == pairs.faulty_modality[at]).mean()),
            "windows": int(at.sum()),
            "median_effect": float(np.median(pairs.effect[at])),
        }
    return table


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write it as JSON; what could not be measured is null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_without_nan(report), indent=2, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
