"""The denoising multimodal autoencoder that MMSSL is compared with, trained end to end.

The same encoders, corrector (here the fusing network) and decoders, from scratch on
``L = sum_i |x_i - D_i(C(E(x~))_i)|^2``; half of each batch is clean, half corrupted.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.autoencoding import Trained, input_variance
from model.config import TrainingConfig
from model.descent import Plan, Progress, descend, share_over
from model.fusion import Fusion
from model.windows import Batch, Corrupt, Index, Pairs, Windows


def train_mmae(
    fusion: Fusion,
    windows: Windows,
    index: Index,
    corrupt: Corrupt,
    config: TrainingConfig,
    resume: Path,
    progress: Progress,
) -> Trained:
    """Train all of ``fusion`` on clean ``windows`` at ``index`` and on rounds of corrupted pairs.

    One round at a time is in memory, for an equal part of the training each; making them does not
    count towards its minutes. An epoch is as many steps as pass over the windows once. Goes on
    from ``resume`` where that file is of the same training.
    """
    fusion.train().to(memory_format=torch.channels_last)
    present = {name: index[windows.present[name][index]] for name in fusion.config.names}
    variances = {name: input_variance(fusion, name, windows, at) for name, at in present.items()}
    per_epoch = max(1, len(index) // config.batch)
    plan = Plan(
        stage="mmae",
        steps=config.epochs * per_epoch,
        minutes=config.minutes,
        learning_rate=config.learning_rate,
        origin=_fingerprint(fusion, index, config),
        resume=resume,
        save_every_s=config.save_every_s,
    )

    def loss_of(pairs: Pairs, step: int) -> Tensor:
        random = np.random.default_rng([config.seed, step])
        halves = _drawn(fusion, windows, index, pairs, random, config.batch)
        return torch.stack([denoising_error(fusion, *half, variances) for half in halves]).mean()

    begun = min(int(share_over(plan) * config.rounds), config.rounds - 1)
    for number in range(begun, config.rounds):
        step_loss = partial(loss_of, corrupt(number))
        reached = descend(fusion, step_loss, plan, progress, until=(number + 1) / config.rounds)
    fusion.eval()
    return Trained(
        epochs=reached.step / per_epoch, minutes=reached.elapsed_s / 60, loss=reached.loss
    )


def denoising_error(
    fusion: Fusion, given: Batch, wanted: Batch, variances: Mapping[str, float]
) -> Tensor:
    """Return the sum over modalities of the squared error, in shares of the input's variance."""
    corrected = fusion.corrected(fusion.encode_all(fusion.views(given), given.present))
    errors = []
    for name, latent in corrected.items():
        target = fusion.target(name, fusion.view(wanted, name))
        error = (fusion.decode(name, latent) - target).square().flatten(1).mean(1)
        errors.append((error * wanted.present[name]).mean() / variances[name])
    return torch.stack(errors).sum()


def _drawn(
    fusion: Fusion,
    windows: Windows,
    index: Index,
    pairs: Pairs,
    random: np.random.Generator,
    batch: int,
) -> list[tuple[Batch, Batch]]:
    """Return what is given and what is wanted, for the clean half of a batch and the faulty one."""
    clean = windows.take(random.choice(index, batch - batch // 2)).to(fusion.device)
    hit = np.flatnonzero(pairs.faulty_modality >= 0)
    if batch < 2 or not len(hit):
        return [(clean, clean)]
    at = random.choice(hit, batch // 2)
    faulty = pairs.faulty.take(at).to(fusion.device), pairs.clean.take(at).to(fusion.device)
    return [(clean, clean), faulty]


def _fingerprint(fusion: Fusion, index: Index, config: TrainingConfig) -> str:
    """Return what must be equal for a training to be resumed; its length may change."""
    drawn_from = config.model_dump_json(include={"seed", "batch", "rounds", "learning_rate"})
    text = f"{fusion.config.model_dump_json()} {drawn_from}"
    return hashlib.sha256(text.encode() + index.tobytes()).hexdigest()
