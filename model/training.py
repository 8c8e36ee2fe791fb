"""From clean windows to a calibrated model: stage 1, evidence, stage 2, calibration."""

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from model.autoencoding import Progress, Trained, train_autoencoder
from model.calibration import calibrate
from model.checkpoint import Card, TrainingFacts
from model.config import ModelConfig, TrainingConfig
from model.correcting import fit_latent_scale, train_corrector
from model.fusion import Fusion
from model.judging import reconstruction_error, session_dependent, weigh_windows
from model.mmae import train_mmae
from model.mmssl import train_mmssl
from model.precision import choose, choose_device
from model.stillness import find_conditions
from model.windows import Corrupt, Index, Windows

VECTOR_SHARE = 0.2  # of stage 1's minutes, where there are images as well


def silent(stage: str, done: float, total: float, loss: float | None) -> None:
    """Show no progress."""


def split_episodes(windows: Windows, config: TrainingConfig) -> tuple[Index, Index]:
    """Return the windows (indices) to train on and those to calibrate on, by whole episodes.

    Raises ValueError where there is only one episode: what a model has seen calibrates nothing.
    """
    episodes = np.unique(windows.episode)
    if len(episodes) < 2:
        raise ValueError(f"{len(episodes)} episode: at least 2 are needed, one to calibrate on")
    shuffled = np.random.default_rng(config.seed).permutation(episodes)
    kept = min(len(episodes) - 1, max(1, round(config.calibration_share * len(episodes))))
    held_out = np.isin(windows.episode, shuffled[:kept])
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def train(
    model: ModelConfig,
    config: TrainingConfig,
    windows: Windows,
    corrupt: Corrupt,
    *,
    directory: Path,
    progress: Progress = silent,
    device: str = "auto",
) -> tuple[Fusion, Card]:
    """Train ``model`` on clean ``windows``; ``corrupt(round)`` gives stage 2's, or MMAE's, pairs.

    Stage 1 keeps its state in ``directory`` and goes on from there after an interruption. The same
    seed gives the same weights unless minutes run out. Raises ValueError on unusable windows.
    """
    check(model, windows)
    started = time.monotonic()
    train_index, calibration_index = split_episodes(windows, config)
    target = choose_device(device)
    kept = {name: directory / f".{model.name}.{name}.stage1" for name in model.names}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        fusion = Fusion(model).to(target)
        fusion.precision = choose(model.precision, target)
        fusion.fit_scales(windows, train_index)
        if model.method == "mmae":
            whole = train_mmae(fusion, windows, train_index, corrupt, config, progress)
            trained, figures = dict.fromkeys(model.names, whole), {}  # all share the minutes
        else:
            trained = _train_autoencoders(fusion, windows, train_index, config, kept, progress)
            fit_latent_scale(fusion, windows, train_index)
            _fit_evidence(fusion, windows, train_index, progress)
            stage2 = train_mmssl if model.method == "mmssl" else train_corrector
            figures = stage2(fusion, corrupt, config, progress)
            _calibrate(fusion, windows, calibration_index, config)
    minutes = (time.monotonic() - started) / 60
    figures |= _figures(fusion, windows, calibration_index, trained)
    card = _card(fusion, config, windows, trained, minutes, figures)
    for path in kept.values():
        path.unlink(missing_ok=True)
    return fusion.eval(), card


def _train_autoencoders(
    fusion: Fusion,
    windows: Windows,
    index: Index,
    config: TrainingConfig,
    kept: Mapping[str, Path],
    progress: Progress,
) -> dict[str, Trained]:
    return {
        name: train_autoencoder(
            fusion,
            name,
            windows,
            index[windows.present[name][index]],
            config,
            minutes=_minutes(fusion.config, config, name),
            resume=kept[name],
            progress=progress,
        )
        for name in fusion.config.names
    }


def check(model: ModelConfig, windows: Windows) -> None:
    """Raise ValueError with the first way in which ``windows`` do not fit ``model``."""
    if set(windows.names) != set(model.names):
        raise ValueError(f"windows have {windows.names}, the model {model.names}")
    for name, modality in model.modalities.items():
        if modality.kind == "image":
            expected: tuple[int, ...] = (*modality.size_px, 3)
            found = windows.images[name].shape[1:] if name in windows.images else ()
        else:
            expected = (modality.samples, modality.channels)
            found = windows.vectors[name].shape[1:] if name in windows.vectors else ()
        if tuple(found) != expected:
            raise ValueError(f"{name}: windows of shape {tuple(found)}, the model has {expected}")
        if modality.kind == "vector" and not np.isfinite(windows.vectors[name]).all():
            raise ValueError(f"{name}: values that are not finite")


def _minutes(model: ModelConfig, config: TrainingConfig, name: str) -> float | None:
    """Return this modality's part of the minutes: images are by far the slower ones."""
    if config.minutes is None:
        return None
    kinds = [modality.kind for modality in model.modalities.values()]
    kind = model.modalities[name].kind
    if len(set(kinds)) == 1:
        return config.minutes / len(kinds)
    share = VECTOR_SHARE if kind == "vector" else 1 - VECTOR_SHARE
    return config.minutes * share / kinds.count(kind)


def _fit_evidence(fusion: Fusion, windows: Windows, index: Index, progress: Progress) -> None:
    total = sum(len(fusion.evidence_modules(name)) for name in fusion.config.names)
    if not total:
        return
    for done, _ in enumerate(fusion.fit_evidences(windows, index)):
        progress("evidence", done, total, None)
    progress("evidence", total, total, None)


def _calibrate(fusion: Fusion, windows: Windows, index: Index, config: TrainingConfig) -> None:
    fusion.calibration = calibrate(
        weigh_windows(fusion, windows, index),
        {name: flags[index] for name, flags in windows.present.items()},
        windows.episode[index],
        config.false_alarm_rates,
        session_dependent(fusion),
    )


def _figures(
    fusion: Fusion,
    windows: Windows,
    calibration_index: Index,
    trained: Mapping[str, Trained],
) -> dict[str, float]:
    figures = {}
    for name, result in trained.items():
        present = calibration_index[windows.present[name][calibration_index]]
        figures[f"{name}_loss"] = result.loss
        figures[f"{name}_minutes"] = result.minutes
        figures[f"{name}_mse"] = reconstruction_error(fusion, name, windows, present)
    return figures


def _card(
    fusion: Fusion,
    config: TrainingConfig,
    windows: Windows,
    trained: dict[str, Trained],
    minutes: float,
    figures: dict[str, float],
) -> Card:
    facts = TrainingFacts(
        seed=config.seed,
        config=config,
        windows=len(windows),
        episodes=len(np.unique(windows.episode)),
        epochs={name: result.epochs for name, result in trained.items()},
        minutes=minutes,
        figures={key: value for key, value in figures.items() if np.isfinite(value)},
    )
    return Card(
        model=fusion.config,
        calibration=fusion.calibration,
        conditions=find_conditions(fusion.config, windows),
        spreads={
            name: [float(value) for value in fusion.scale(name).std]
            for name in fusion.config.names
            if not fusion.is_image(name)
        },
        training=facts,
    )
