"""From clean windows to a calibrated model: stage 1, evidence, stage 2, calibration."""

import time
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch

from model.autoencoding import Trained, train_autoencoder
from model.checkpoint import Autoencoders, Card, TrainingFacts
from model.config import ModelConfig, TrainingConfig
from model.correcting import fit_latent_scale
from model.correction_errors import reconstruction_error
from model.descent import Progress
from model.fusion import Fusion
from model.mmae import train_mmae
from model.mmssl import train_mmssl
from model.precision import choose, choose_device
from model.recalibration import calibrated
from model.stillness import find_conditions
from model.teaching_all import teach
from model.windows import Corrupt, Index, Windows

VECTOR_SHARE = 0.2  # of stage 1's minutes, where there are images as well


def silent(stage: str, done: float, total: float, loss: float | None) -> None:
    """Show no progress."""


def split_episodes(
    windows: Windows, config: TrainingConfig, held_out: Collection[int] = ()
) -> tuple[Index, Index]:
    """Return the windows (indices) to train on and those to calibrate on, by whole episodes.

    Those ``held_out`` calibrate, or, where none are, a share of all that is drawn by the seed.
    Raises ValueError where nothing is left for one of both: what a model has seen calibrates
    nothing.
    """
    episodes = np.unique(windows.episode)
    if len(episodes) < 2:
        raise ValueError(f"{len(episodes)} episode: at least 2 are needed, one to calibrate on")
    shuffled = np.random.default_rng(config.seed).permutation(episodes)
    kept = min(len(episodes) - 1, max(1, round(config.calibration_share * len(episodes))))
    chosen = np.isin(windows.episode, list(held_out) or shuffled[:kept])
    if chosen.all() or not chosen.any():
        raise ValueError("no window is left to train on, or none to calibrate on")
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def train(
    model: ModelConfig,
    config: TrainingConfig,
    windows: Windows,
    corrupt: Corrupt,
    *,
    directory: Path,
    held_out: Collection[int] = (),
    encoders: Autoencoders | None = None,
    progress: Progress = silent,
    device: str = "auto",
) -> tuple[Fusion, Card]:
    """Train ``model`` on clean ``windows``; ``corrupt(round)`` gives stage 2's, or MMAE's, pairs.

    Episodes ``held_out`` calibrate, as `split_episodes` has it. With ``encoders`` stage 1 is left
    out, and the autoencoders are those of that checkpoint. Long stages keep their state in
    ``directory`` and go on from there after an interruption. The same seed gives the same weights
    unless minutes run out. Raises ValueError on unusable windows.
    """
    check(model, windows)
    started = time.monotonic()
    train_index, calibration_index = split_episodes(windows, config, held_out)
    target = choose_device(device)
    kept = {name: directory / f".{model.name}.{name}.state" for name in model.names}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        fusion = Fusion(model).to(target)
        fusion.precision = choose(model.precision, target)
        fusion.fit_scales(windows, train_index)
        if model.method == "mmae":
            resume = directory / f".{model.name}.mmae.state"
            whole = train_mmae(fusion, windows, train_index, corrupt, config, resume, progress)
            trained, figures = dict.fromkeys(model.names, whole), {}  # all share the minutes
        else:
            if encoders is None:
                trained = _train_autoencoders(fusion, windows, train_index, config, kept, progress)
            else:
                trained = take_encoders(fusion, encoders)
            fit_latent_scale(fusion, windows, train_index)
            if model.method == "mmssl":
                figures = train_mmssl(fusion, corrupt, config, progress)
            else:
                figures = teach(fusion, windows, train_index, config, directory, progress)
            rates = config.false_alarm_rates
            fusion.calibration = calibrated(fusion, windows, calibration_index, rates)
    minutes = (time.monotonic() - started) / 60
    figures |= _figures(fusion, windows, calibration_index, trained)
    card = _card(fusion, config, windows, trained, minutes, figures)
    for path in directory.glob(f".{model.name}.*.state"):
        path.unlink()
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


def take_encoders(fusion: Fusion, encoders: Autoencoders) -> dict[str, Trained]:
    """Take scales, encoders and decoders from a checkpoint of the same modalities, of any method.

    Raises ValueError where it has others.
    """
    theirs = encoders.card.model
    if (theirs.modalities, theirs.latent) != (fusion.config.modalities, fusion.config.latent):
        raise ValueError(f"{theirs.name} was trained on other modalities or other widths")
    fusion.load_state_dict(encoders.tensors, strict=False)
    facts = encoders.card.training
    return {
        name: Trained(
            epochs=facts.epochs.get(name, 0.0),
            minutes=facts.figures.get(f"{name}_minutes", 0.0),
            loss=facts.figures.get(f"{name}_loss", float("nan")),
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
