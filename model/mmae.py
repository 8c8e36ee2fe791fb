"""The denoising multimodal autoencoder that MMSSL is compared with, trained end to end.

The same encoders, corrector (here the fusing network) and decoders, from scratch on
``L = sum_i |x_i - D_i(C(E(x~))_i)|^2``; half of each batch is clean, half corrupted.
"""

import time
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from model.autoencoding import Trained, input_variance
from model.config import TrainingConfig
from model.descent import Progress, set_rate
from model.fusion import Fusion
from model.windows import Batch, Corrupt, Index, Pairs, Windows


def train_mmae(
    fusion: Fusion,
    windows: Windows,
    index: Index,
    corrupt: Corrupt,
    config: TrainingConfig,
    progress: Progress,
) -> Trained:
    """Train all of ``fusion`` on clean ``windows`` at ``index`` and on rounds of corrupted pairs.

    One round at a time is in memory, for an equal part of the training each; making them does not
    count towards its minutes. An epoch is as many steps as pass over the windows once.
    """
    fusion.train().to(memory_format=torch.channels_last)
    present = {name: index[windows.present[name][index]] for name in fusion.config.names}
    variances = {name: input_variance(fusion, name, windows, at) for name, at in present.items()}
    adam = torch.optim.Adam(fusion.parameters(), lr=config.learning_rate)
    random = np.random.default_rng(config.seed)
    per_epoch = max(1, len(index) // config.batch)
    step, elapsed_s, running = 0, 0.0, float("nan")
    for number in range(config.rounds):
        pairs = corrupt(number)
        while (share := _share(step / per_epoch, elapsed_s, config)) * config.rounds < number + 1:
            started = time.monotonic()
            set_rate(adam, config.learning_rate, share)
            halves = _drawn(fusion, windows, index, pairs, random, config.batch)
            loss = torch.stack([denoising_error(fusion, *half, variances) for half in halves])
            adam.zero_grad(set_to_none=True)
            loss.mean().backward()  # type: ignore[no-untyped-call]
            adam.step()
            value = float(loss.detach().mean())
            running = value if np.isnan(running) else 0.98 * running + 0.02 * value
            step += 1
            elapsed_s += time.monotonic() - started
            progress("mmae", step / per_epoch, config.epochs, running)
        del pairs  # before the next: two rounds at once may not fit
    fusion.eval()
    return Trained(epochs=step / per_epoch, minutes=elapsed_s / 60, loss=running)


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


def _share(epochs: float, elapsed_s: float, config: TrainingConfig) -> float:
    """Return how much of the training is over."""
    share = epochs / config.epochs if config.epochs else 1.0
    return share if config.minutes is None else max(share, elapsed_s / (60 * config.minutes))
