"""Stage 2: the corrector, on frozen encoders and decoders (paper 1, section 4).

``L = L_rec + L_sim`` with ``L_sim = |C(z~) - z|^2 + |C(z~) - C(z)|^2``: equation 6's target, so
that the frozen decoder knows what it is given, and equation 13, which alone a constant minimises.
Both are means in units of the clean data's variance, so neither outweighs the other by its scale.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from model.autoencoding import Progress
from model.config import TrainingConfig
from model.corrector import constrain, release
from model.fusion import Fusion
from model.windows import Batch, Corrupt, Index, Pairs, Windows, chunks

SEEN = 4000  # clean windows from which the latents' mean and spread are taken


@torch.no_grad()
def encode_windows(fusion: Fusion, windows: Windows, index: Index) -> Tensor:
    """Return the joint latents (N, latent x modalities) of the windows at ``index``."""
    joint = []
    for part in chunks(len(index), 32):
        batch = windows.take(index[part]).to(fusion.device)
        latents = {name: fusion.encode(name, fusion.view(batch, name)) for name in batch.present}
        latents = fusion.imputed(latents, batch.present)
        joint.append(torch.cat([latents[name] for name in fusion.config.names], dim=1))
    return torch.cat(joint)


@torch.no_grad()
def fit_latent_scale(fusion: Fusion, windows: Windows, index: Index) -> None:
    """Learn mean and spread of the clean latents; the mean also stands in for absent ones."""
    some = index[:: max(1, len(index) // SEEN)]
    latents = encode_windows(fusion, windows, some)
    means, stds = [], []
    for at, name in enumerate(fusion.config.names):
        here = torch.from_numpy(windows.present[name][some]).to(fusion.device)
        columns = slice(at * fusion.config.latent, (at + 1) * fusion.config.latent)
        own = latents[here][:, columns].double()
        means.append(own.mean(0))
        stds.append(own.std(0, correction=0))
    fusion.corrector.scale.fit(torch.cat(means).float(), torch.cat(stds).float())


def train_corrector(
    fusion: Fusion, corrupt: Corrupt, config: TrainingConfig, progress: Progress
) -> float:
    """Train the corrector on ``config.rounds`` rounds of pairs; return the last running loss.

    Latents are computed once a pair and kept; only the newest round's clean inputs are, for the
    reconstruction loss of ``config.reconstructed`` windows a step.
    """
    fusion.requires_grad_(False)
    fusion.corrector.requires_grad_(True).train()
    if fusion.config.corrector.spectral_norm:
        constrain(fusion.corrector)
    adam = torch.optim.Adam(fusion.corrector.parameters(), lr=config.corrector_learning_rate)
    clean, faulty = [], []
    running = float("nan")
    for number in range(config.rounds):
        pairs = corrupt(number)
        everything = np.arange(len(pairs))
        clean.append(encode_windows(fusion, pairs.clean, everything))
        faulty.append(encode_windows(fusion, pairs.faulty, everything))
        running = _round(
            fusion, pairs, torch.cat(clean), torch.cat(faulty), adam, config, number, progress
        )
    release(fusion.corrector)
    fusion.corrector.eval()
    fusion.requires_grad_(True)
    return running


def _round(
    fusion: Fusion,
    pairs: Pairs,
    clean: Tensor,
    faulty: Tensor,
    adam: torch.optim.Optimizer,
    config: TrainingConfig,
    number: int,
    progress: Progress,
) -> float:
    newest = len(clean) - len(pairs)  # latents of earlier rounds come first
    random = np.random.default_rng([config.seed, number])
    per_round = max(1, config.corrector_epochs // config.rounds)
    variances = _variances(fusion, pairs.clean)
    steps = per_round * max(1, len(clean) // config.corrector_batch)
    done, running = 0, float("nan")
    for _ in range(per_round):
        order = random.permutation(len(clean))
        for part in chunks(len(order), config.corrector_batch)[: steps // per_round]:
            drawn = torch.from_numpy(order[part]).to(clean.device)
            loss = similarity(fusion, clean[drawn], faulty[drawn])
            some = random.integers(0, len(pairs), min(config.reconstructed, len(pairs)))
            if len(some):
                batch = pairs.clean.take(some).to(fusion.device)
                loss = loss + reconstruction(fusion, batch, faulty[newest + some], variances)
            adam.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(fusion.corrector.parameters(), config.tau)
            adam.step()
            value = float(loss.detach())
            running = value if np.isnan(running) else 0.98 * running + 0.02 * value
            done += 1
            progress("corrector", number + done / steps, config.rounds, running)
    return running


def similarity(fusion: Fusion, clean: Tensor, faulty: Tensor) -> Tensor:
    """Return equations 6 and 13 for joint latents (B, width), in standardised units."""
    scale = fusion.corrector.scale
    corrected = scale(fusion.corrector(faulty))
    undisturbed = scale(fusion.corrector(clean))
    to_clean: Tensor = (corrected - scale(clean)).square().mean()
    to_undisturbed: Tensor = (corrected - undisturbed).square().mean()
    return to_clean + to_undisturbed


def reconstruction(
    fusion: Fusion, clean: Batch, faulty: Tensor, variances: Mapping[str, float]
) -> Tensor:
    """Return the sum over modalities of the decoded error, in shares of the input's variance."""
    corrected = fusion.split(fusion.corrector(faulty))
    losses = []
    for name, latent in corrected.items():
        view = fusion.view(clean, name)
        error = (fusion.decode(name, latent) - fusion.target(name, view)).square()
        weights = clean.present[name].float().reshape(-1, *[1] * (error.dim() - 1))
        losses.append((error * weights).mean() / variances[name])
    return torch.stack(losses).sum()


@torch.no_grad()
def _variances(fusion: Fusion, windows: Windows) -> dict[str, float]:
    some = np.arange(0, len(windows), max(1, len(windows) // 128))
    batch = windows.take(some).to(fusion.device)
    result = {}
    for name in fusion.config.names:
        target = fusion.target(name, fusion.view(batch, name))[batch.present[name]]
        spread = target.var(0, correction=0).mean() if len(target) else torch.ones(())
        result[name] = max(float(spread), 1e-6)
    return result
