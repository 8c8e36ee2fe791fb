"""A model's verdict on many windows at once, with each session's baseline as it would have been."""

import numpy as np
import torch
from torch import Tensor

from model.baseline import running_medians
from model.calibration import Evidences, Floats
from model.evidence import View
from model.fusion import Fusion
from model.windows import Index, Pairs, Windows, chunks


@torch.inference_mode()
def weigh_windows(
    fusion: Fusion, windows: Windows, index: Index | None = None, batch: int = 32
) -> dict[str, dict[str, Floats]]:
    """Return ``evidence[modality][name]`` (N,) of the windows at ``index``, or of all."""
    index = np.arange(len(windows)) if index is None else index
    parts: dict[str, dict[str, list[Tensor]]] = {name: {} for name in fusion.config.names}
    for part in chunks(len(index), batch):
        taken = windows.take(index[part]).to(fusion.device)
        for name, evidence in fusion.weigh_batch(taken).items():
            for kind, values in evidence.items():
                parts[name].setdefault(kind, []).append(values.cpu())
    return {
        name: {kind: torch.cat(values).double().numpy() for kind, values in kinds.items()}
        for name, kinds in parts.items()
    }


def session_dependent(fusion: Fusion) -> dict[str, frozenset[str]]:
    """Return which evidences of each modality a session baseline is subtracted from."""
    if not fusion.config.session_baseline:
        return {name: frozenset() for name in fusion.config.names}
    return {
        name: frozenset(
            each
            for module in fusion.evidence_modules(name)
            if module.session_dependent
            for each in module.names
        )
        for name in fusion.config.names
    }


def session_medians(
    fusion: Fusion, evidence: Evidences, windows: Windows
) -> dict[str, dict[str, Floats]]:
    """Return ``medians[modality][name]`` (N,) of the clean windows before each, NaN where too few.

    ``evidence`` is of ``windows``, which are clean and in time order within an episode.
    """
    return {
        name: {
            kind: running_medians(evidence[name][kind], windows.episode, windows.present[name])
            for kind in kinds
        }
        for name, kinds in session_dependent(fusion).items()
    }


def score_windows(fusion: Fusion, windows: Windows) -> dict[str, Floats]:
    """Return the score (N,) of each modality of clean windows, each after its session's past."""
    evidence = weigh_windows(fusion, windows)
    medians = session_medians(fusion, evidence, windows)
    return fusion.score(evidence, windows.present, medians)


def score_pairs(fusion: Fusion, pairs: Pairs) -> dict[str, Floats]:
    """Return the score (N,) of each modality of the faulty windows.

    The session baseline is that of the clean windows before, so the pairs must be in time order
    within an episode; a fault is judged as if it had just begun.
    """
    medians = session_medians(fusion, weigh_windows(fusion, pairs.clean), pairs.clean)
    evidence = weigh_windows(fusion, pairs.faulty)
    return fusion.score(evidence, pairs.faulty.present, medians)


@torch.inference_mode()
def correction_errors(fusion: Fusion, pairs: Pairs, batch: int = 16) -> dict[str, dict[str, float]]:
    """Return for each modality the mean square error of what the latents decode to.

    Against the clean input, over the pairs in which that modality is the faulty one, in [0, 1]
    squared for images and standardised units for vectors: ``uncorrected`` D(E(faulty)),
    ``corrected`` D(C), and ``floor`` D(E(clean)), the frozen decoder's own. NaN without pairs.
    MMAE's decoders know nothing but what its corrector says, so that is its floor, too, and there
    is nothing uncorrected.
    """
    return {
        name: _errors(fusion, pairs, name, np.flatnonzero(pairs.faulty_modality == at), batch)
        for at, name in enumerate(fusion.config.names)
    }


def _errors(fusion: Fusion, pairs: Pairs, name: str, index: Index, batch: int) -> dict[str, float]:
    sums = {"uncorrected": 0.0, "corrected": 0.0, "floor": 0.0}
    for part in chunks(len(index), batch):
        view, floor = _healthy(fusion, name, pairs.clean, index[part])
        said = fusion.infer(pairs.faulty.take(index[part]))
        latents = {
            "uncorrected": said.latents[name],
            "corrected": said.corrected[name],
            "floor": floor,
        }
        target = fusion.target(name, view)
        for key, latent in latents.items():
            error = (fusion.decode(name, latent) - target).square().flatten(1).mean(1)
            sums[key] += float(error.sum())
    if fusion.config.method == "mmae":
        sums["uncorrected"] = float("nan")
    return {key: total / len(index) if len(index) else float("nan") for key, total in sums.items()}


def _healthy(fusion: Fusion, name: str, clean: Windows, index: Index) -> tuple[View, Tensor]:
    """Return one modality of clean windows, and the latents from which it is to be decoded."""
    if fusion.config.method != "mmae":
        view = fusion.view(clean.take(index, [name]).to(fusion.device), name)
        return view, fusion.encode(name, view)
    batch = clean.take(index).to(fusion.device)
    views = fusion.views(batch)
    return views[name], fusion.correct(fusion.encode_all(views, batch.present))[name]


@torch.inference_mode()
def reconstruction_error(fusion: Fusion, name: str, windows: Windows, index: Index) -> float:
    """Return the mean square error of D(E(x)) on up to 256 of the clean windows at ``index``.

    Of D(C(E(x))) where the method is MMAE, as in `correction_errors`.
    """
    some = index[:: max(1, len(index) // 256)]
    errors = []
    for part in chunks(len(some), 16):
        view, latent = _healthy(fusion, name, windows, some[part])
        decoded = fusion.decode(name, latent)
        errors.append((decoded - fusion.target(name, view)).square().flatten(1).mean(1))
    return float(torch.cat(errors).mean()) if errors else float("nan")
