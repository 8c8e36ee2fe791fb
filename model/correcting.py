"""Stage 2: the corrector, on frozen encoders and decoders (paper 1, section 4).

``L = L_rec + L_sim`` with ``L_sim = |C(z~) - z|^2 + |C(z~) - C(z)|^2``: equation 6's target, so
that the frozen decoder knows what it is given, and equation 13, which alone a constant minimises.
Both are means in units of the clean data's variance, so neither outweighs the other by its scale.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from model.autoencoding import Progress
from model.config import TrainingConfig
from model.corrector import constrain, release
from model.evidence import pixels_of
from model.fusion import Fusion
from model.windows import Corrupt, Index, Pairs, Windows, chunks

SEEN = 4000  # clean windows from which the latents' mean and spread are taken
SHOWN = 512  # of a round's pairs whose frames are kept to be reconstructed
VARIANCE_FRAMES = 128


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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Encoded:
    """Pairs as the corrector is trained on them, N in all.

    ``clean`` and ``faulty`` (N, latent x modalities); ``vectors[name]`` (N, T, C), the clean
    windows, standardised, and ``present[name]`` (N,). Images are large, so only ``frames[name]``
    uint8 (K, H, W, 3) of the pairs at ``shown`` (K,) are kept.
    """

    clean: Tensor
    faulty: Tensor
    vectors: dict[str, Tensor]
    frames: dict[str, Tensor]
    present: dict[str, Tensor]
    shown: Tensor

    def __len__(self) -> int:
        return len(self.clean)


def encode_pairs(fusion: Fusion, pairs: Pairs) -> Encoded:
    """Return what training needs of ``pairs``, on the model's device."""
    everything = np.arange(len(pairs))
    shown = everything[:: max(1, len(pairs) // SHOWN)]
    vectors = {name: torch.from_numpy(values) for name, values in pairs.clean.vectors.items()}
    frames = {name: torch.from_numpy(all_[shown]) for name, all_ in pairs.clean.images.items()}
    present = {name: torch.from_numpy(flags) for name, flags in pairs.clean.present.items()}
    return Encoded(
        clean=encode_windows(fusion, pairs.clean, everything),
        faulty=encode_windows(fusion, pairs.faulty, everything),
        vectors={name: fusion.scale(name)(x.to(fusion.device)) for name, x in vectors.items()},
        frames={name: x.to(fusion.device) for name, x in frames.items()},
        present={name: flags.to(fusion.device) for name, flags in present.items()},
        shown=torch.from_numpy(shown).to(fusion.device),
    )


def joined(parts: Sequence[Encoded]) -> Encoded:
    """Return the pairs of several rounds together."""

    def together(pick: Callable[[Encoded], dict[str, Tensor]]) -> dict[str, Tensor]:
        return {name: torch.cat([pick(part)[name] for part in parts]) for name in pick(parts[0])}

    starts = np.cumsum([0, *map(len, parts)])
    return Encoded(
        clean=torch.cat([part.clean for part in parts]),
        faulty=torch.cat([part.faulty for part in parts]),
        vectors=together(lambda part: part.vectors),
        frames=together(lambda part: part.frames),
        present=together(lambda part: part.present),
        shown=torch.cat([p.shown + int(at) for p, at in zip(parts, starts, strict=False)]),
    )


def train_corrector(
    fusion: Fusion, corrupt: Corrupt, config: TrainingConfig, progress: Progress
) -> float:
    """Train the corrector on ``config.rounds`` rounds of pairs; return the last running loss."""
    fusion.requires_grad_(False)
    rounds = []
    for number in range(config.rounds):
        rounds.append(encode_pairs(fusion, corrupt(number)))
        progress("encoded", number + 1, config.rounds, None)
    fusion.corrector.requires_grad_(True).train()
    if fusion.config.corrector.spectral_norm:
        constrain(fusion.corrector)
    running = _descend(fusion, joined(rounds), config, progress)
    release(fusion.corrector)
    fusion.corrector.eval()
    fusion.requires_grad_(True)
    return running


def _descend(fusion: Fusion, pairs: Encoded, config: TrainingConfig, progress: Progress) -> float:
    """Adam with a rate that falls to zero along a cosine; the running loss at the end."""
    steps = config.corrector_epochs * -(-len(pairs) // config.corrector_batch)
    adam = torch.optim.Adam(fusion.corrector.parameters(), lr=config.corrector_learning_rate)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    random = torch.Generator().manual_seed(config.seed)
    variances = {name: _variance(fusion, pairs, name) for name in fusion.config.names}
    running = float("nan")
    for step in range(steps):
        drawn = torch.randint(len(pairs), (config.corrector_batch,), generator=random)
        shown = torch.randint(len(pairs.shown), (config.reconstructed,), generator=random)
        loss = similarity(fusion, pairs.clean[drawn], pairs.faulty[drawn])
        loss = loss + reconstruction(fusion, pairs, drawn, shown, variances)
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(fusion.corrector.parameters(), config.tau)
        adam.step()
        rate.step()
        value = float(loss.detach())
        running = value if np.isnan(running) else 0.98 * running + 0.02 * value
        progress("corrector", step + 1, steps, running)
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
    fusion: Fusion, pairs: Encoded, drawn: Tensor, shown: Tensor, variances: Mapping[str, float]
) -> Tensor:
    """Return the sum over modalities of the decoded error, in shares of the input's variance.

    Vectors are decoded for all pairs ``drawn``, images, which cost far more, for those ``shown``.
    """
    losses = []
    for name in fusion.config.names:
        if fusion.is_image(name):
            if not len(shown):
                continue
            at, target = pairs.shown[shown], pixels_of(pairs.frames[name][shown])
        else:
            at, target = drawn, pairs.vectors[name][drawn]
        corrected = fusion.split(fusion.corrector(pairs.faulty[at]))[name]
        error = (fusion.decode(name, corrected) - target).square().flatten(1).mean(1)
        losses.append((error * pairs.present[name][at]).mean() / variances[name])
    return torch.stack(losses).sum() if losses else torch.zeros((), device=fusion.device)


def _variance(fusion: Fusion, pairs: Encoded, name: str) -> float:
    """Return the mean variance of the clean inputs of a modality, over windows."""
    if fusion.is_image(name):
        here = pairs.present[name][pairs.shown]
        target = pixels_of(pairs.frames[name][here][:VARIANCE_FRAMES])
    else:
        target = pairs.vectors[name][pairs.present[name]]
    spread = float(target.var(0, correction=0).mean()) if len(target) else 1.0
    return max(spread, 1e-6)
