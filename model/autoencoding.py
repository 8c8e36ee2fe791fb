"""Stage 1: one modality's autoencoder, on clean data only (paper 1, section 4).

No denoising: that would teach the encoder to hide faults. The loss is a sum over modalities that
share no weight, so each is trained by itself, with the batch size that suits it.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.config import TrainingConfig
from model.descent import Plan, Progress, descend
from model.fusion import Fusion
from model.windows import Index, Windows

RESUMED_WITH = {"seed", "batch", "vector_batch", "learning_rate"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What a stage took, ``epochs`` fractional where minutes ran out, and its running loss."""

    epochs: float
    minutes: float
    loss: float


def train_autoencoder(
    fusion: Fusion,
    name: str,
    windows: Windows,
    index: Index,
    config: TrainingConfig,
    *,
    minutes: float | None,
    resume: Path,
    progress: Progress,
) -> Trained:
    """Train encoder and decoder of modality ``name`` on the windows at ``index``.

    Goes on from ``resume`` where that file is of the same training, and keeps it up to date. The
    loss is the squared error as a share of the input's variance, so 1 is what the mean scores.
    """
    pair = nn.ModuleList([fusion.encoder(name), fusion.decoder(name)]).train()
    if fusion.is_image(name):
        pair.to(memory_format=torch.channels_last)
    batch = config.batch if fusion.is_image(name) else config.vector_batch
    per_epoch = max(1, len(index) // batch)
    variance = input_variance(fusion, name, windows, index)

    def loss_of(step: int) -> Tensor:
        drawn = index[_drawn(len(index), batch, step, per_epoch, config.seed)]
        view = fusion.view(windows.take(drawn, [name]).to(fusion.device), name)
        decoded = fusion.decode(name, fusion.encode(name, view))
        return (decoded - fusion.target(name, view)).square().mean() / variance

    plan = Plan(
        stage=f"autoencoder {name}",
        steps=config.epochs * per_epoch,
        minutes=minutes,
        learning_rate=config.learning_rate,
        origin=_fingerprint(fusion, name, index, config),
        resume=resume,
        save_every_s=config.save_every_s,
    )
    reached = descend(pair, loss_of, plan, progress)
    pair.eval()
    return Trained(
        epochs=reached.step / per_epoch, minutes=reached.elapsed_s / 60, loss=reached.loss
    )


def _drawn(size: int, batch: int, step: int, per_epoch: int, seed: int) -> Index:
    """Return the batch of ``step``: a slice of its epoch's own shuffle, so any step can resume."""
    epoch, within = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(size)
    return order[within * batch : (within + 1) * batch]


@torch.no_grad()
def input_variance(fusion: Fusion, name: str, windows: Windows, index: Index) -> float:
    """Return the mean square distance of inputs from their mean, of up to 128 windows."""
    some = index[:: max(1, len(index) // 128)]
    view = fusion.view(windows.take(some, [name]).to(fusion.device), name)
    target = fusion.target(name, view)
    if not fusion.is_image(name):
        return 1.0
    return float(target.var(0, correction=0).mean().clamp_min(1e-6))


def _fingerprint(fusion: Fusion, name: str, index: Index, config: TrainingConfig) -> str:
    """Return what must be equal for a training to be resumed; its length may change."""
    of_config = config.model_dump_json(include=RESUMED_WITH)
    of_model = fusion.config.modalities[name].model_dump_json()
    text = f"{of_model} {of_config} {fusion.config.latent}"
    return hashlib.sha256(text.encode() + index.tobytes()).hexdigest()
