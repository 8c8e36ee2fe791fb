"""Stage 2: the corrector, on frozen encoders and decoders (paper 1, section 4).

``L = L_rec + L_sim`` with ``L_sim = |C(z~) - z|^2 + |C(z~) - C(z)|^2``: equation 6's target, so
that the frozen decoder knows what it is given, and equation 13, which alone a constant minimises.
Both are means in units of the clean data's variance, so neither outweighs the other by its scale.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from model.config import TrainingConfig
from model.corrector import constrain, release
from model.descent import Progress
from model.evidence import pixels_of
from model.fusion import Fusion
from model.lipschitz import largest_slope, product_bound
from model.windows import Corrupt, Index, Pairs, Windows, chunks

SEEN = 4000  # clean windows from which the latents' mean and spread are taken
SHOWN = 512  # of a round's pairs whose frames are kept to be reconstructed
VARIANCE_FRAMES = 128
SAMPLED = 64  # pairs at which slopes are looked for


@torch.no_grad()
def encode_windows(fusion: Fusion, windows: Windows, index: Index) -> Tensor:
    """Return the joint latents (N, latent x modalities) of the windows at ``index``."""
    joint = []
    for part in chunks(len(index), 32):
        batch = windows.take(index[part]).to(fusion.device)
        joint.append(fusion.joint(fusion.encode_all(fusion.views(batch), batch.present)))
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

    ``clean`` and ``faulty`` (N, latent x modalities); ``faulty_modality`` (N,) as in `Pairs`;
    ``vectors[name]`` (N, T, C), the clean windows, standardised, and ``present[name]`` (N,). Images
    are large, so only ``frames[name]`` uint8 (K, H, W, 3) of the pairs at ``shown`` (K,) are kept.
    """

    clean: Tensor
    faulty: Tensor
    faulty_modality: Tensor
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
        faulty_modality=torch.from_numpy(pairs.faulty_modality).to(fusion.device),
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
        faulty_modality=torch.cat([part.faulty_modality for part in parts]),
        vectors=together(lambda part: part.vectors),
        frames=together(lambda part: part.frames),
        present=together(lambda part: part.present),
        shown=torch.cat([p.shown + int(at) for p, at in zip(parts, starts, strict=False)]),
    )


def encode_rounds(
    fusion: Fusion, corrupt: Corrupt, config: TrainingConfig, progress: Progress
) -> Encoded:
    """Return the pairs of all rounds together."""
    rounds = []
    for number in range(config.rounds):
        rounds.append(encode_pairs(fusion, corrupt(number)))
        progress("encoded", number + 1, config.rounds, None)
    return joined(rounds)


@contextmanager
def spectral_norm_of(fusion: Fusion) -> Iterator[None]:
    """Hold the corrector's layers at a spectral norm of 1 where the model asks for it."""
    if fusion.config.spectral_norm:
        constrain(fusion.corrector)
    yield
    release(fusion.corrector)


def clip(weights: Sequence[nn.Parameter], tau: float | None) -> None:
    """Scale the gradient to a norm of at most ``tau`` (equation 19)."""
    if tau is not None:
        nn.utils.clip_grad_norm_(weights, tau)


def descend_on_pairs(
    pairs: Encoded,
    config: TrainingConfig,
    progress: Progress,
    weights: Sequence[nn.Parameter],
    terms_of: Callable[[Tensor, Tensor], dict[str, Tensor]],
    factors: Mapping[str, float],
    modulate: Callable[[], None],
) -> dict[str, float]:
    """Adam on ``weights`` with a rate that falls to zero along a cosine.

    ``terms_of(drawn, shown)`` gives the terms of the loss for indices of pairs and of frames;
    ``factors`` weigh them, 1 where left out; ``modulate()`` alters the gradients before each step.
    Returns each term's running mean at the end, unweighted, and that of the ``loss``.
    """
    steps = config.corrector_epochs * -(-len(pairs) // config.corrector_batch)
    adam = torch.optim.Adam(weights, lr=config.corrector_learning_rate)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    random = torch.Generator().manual_seed(config.seed)
    running: dict[str, float] = {}
    for step in range(steps):
        drawn = torch.randint(len(pairs), (config.corrector_batch,), generator=random)
        shown = torch.randint(len(pairs.shown), (config.reconstructed,), generator=random)
        terms = terms_of(drawn, shown)
        loss = torch.stack([factors.get(key, 1.0) * term for key, term in terms.items()]).sum()
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        modulate()
        adam.step()
        rate.step()
        for key, term in (terms | {"loss": loss}).items():
            value = float(term.detach())
            running[key] = 0.98 * running.get(key, value) + 0.02 * value
        progress("corrector", step + 1, steps, running["loss"])
    return running


def slope_figures(fusion: Fusion, pairs: Encoded) -> dict[str, float]:
    """Return bound and largest sampled slope of the corrector, and of a detector's logits.

    In standard deviations of clean latents. Sampled at clean and faulty latents, between the two,
    and between clean ones that follow one another.
    """
    at = torch.arange(0, len(pairs) - 1, max(1, len(pairs) // SAMPLED), device=pairs.clean.device)
    scale = fusion.corrector.scale
    points = scale(torch.cat([pairs.faulty[at], pairs.clean[at]]))
    others = scale(torch.cat([pairs.clean[at], pairs.clean[at + 1]]))
    networks = {"corrector": fusion.corrector.layers}
    if fusion.detector is not None:
        networks["detector"] = fusion.detector.layers
    figures = {}
    for name, network in networks.items():
        figures[f"{name}_bound"] = product_bound(network)
        figures[f"{name}_slope"] = largest_slope(network, points, others)
    return figures


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


def variances_of(fusion: Fusion, pairs: Encoded) -> dict[str, float]:
    """Return the mean variance of each modality's clean inputs, the unit of its errors."""
    return {name: _variance(fusion, pairs, name) for name in fusion.config.names}


def _variance(fusion: Fusion, pairs: Encoded, name: str) -> float:
    """Return the mean variance of the clean inputs of a modality, over windows."""
    if fusion.is_image(name):
        here = pairs.present[name][pairs.shown]
        target = pixels_of(pairs.frames[name][here][:VARIANCE_FRAMES])
    else:
        target = pairs.vectors[name][pairs.present[name]]
    spread = float(target.var(0, correction=0).mean()) if len(target) else 1.0
    return max(spread, 1e-6)
