"""How far what is decoded from corrected latents lies from what should have been seen."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from model.decoders import ImageDecoder
from model.evidence import View
from model.fusion import Fusion, Inference
from model.judging import Sessions, known, onsets
from model.past import Recollection
from model.windows import Index, Pairs, Windows, chunks

PairErrors: TypeAlias = Mapping[str, Mapping[str, np.ndarray]]
"""By modality and kind of error: of each window (K,) in which that modality is at fault."""

KINDS = ("floor", "corrected", "uncorrected", "mean")


def correction_errors(fusion: Fusion, pairs: Pairs) -> dict[str, dict[str, float]]:
    """Return the means of `pair_errors`, NaN where there are none."""
    return mean_errors([pair_errors(fusion, pairs)], fusion.config.names)


def mean_errors(parts: list[PairErrors], names: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Return the mean error over all windows of all ``parts``, by modality and kind."""
    table = {}
    for name in names:
        kinds = {kind for part in parts for kind in part.get(name, {})}
        table[name] = dict.fromkeys(KINDS, float("nan")) | {
            kind: float(np.concatenate([part[name][kind] for part in parts if name in part]).mean())
            for kind in sorted(kinds)
        }
    return table


@torch.inference_mode()
def pair_errors(fusion: Fusion, pairs: Pairs, batch: int = 16) -> PairErrors:
    """Return the mean square error of what the latents of each faulty window decode to.

    Against the clean input, in [0, 1] squared for images and standardised units for vectors:
    ``uncorrected`` D(E(faulty)), ``corrected`` D(C), ``floor`` D(E(clean)), the frozen decoder's
    own, and ``mean``, of always saying the mean of training; ``restored`` is of the input itself,
    where the method restores it. Every faulty window is corrected, found or not. MMAE's decoders
    know nothing but what its corrector says, so that is its floor, too, and nothing is uncorrected.
    """
    found: dict[str, dict[str, list[Tensor]]] = {}
    sessions, onset = Sessions(fusion), onsets(pairs)
    held: Mapping[str, Recollection] = {}
    for part in chunks(len(pairs), batch):
        traces = fusion.trace(pairs.clean.take(part))
        present = {name: flags[part] for name, flags in pairs.clean.present.items()}
        passed = sessions.pass_by(traces, pairs.clean.episode[part], present)
        remembered: dict[int, Mapping[str, Recollection]] = {}
        for memory, at in zip(passed, part, strict=True):
            held = memory.now if onset[at] == at else held
            if pairs.faulty_modality[at] >= 0:
                remembered[int(at)] = held
        if remembered:
            index = np.array(list(remembered))
            usual = {id(one): fusion.usual(one) for one in remembered.values()}
            usuals = [usual[id(one)] for one in remembered.values()]
            said = fusion.infer(pairs.faulty.take(index), partial(known, usuals))
            _gather(fusion, pairs, index, said, list(remembered.values()), found)
    return {
        name: {kind: torch.cat(errors).numpy() for kind, errors in kinds.items()}
        for name, kinds in found.items()
    }


def _gather(
    fusion: Fusion,
    pairs: Pairs,
    index: Index,
    said: Inference,
    remembered: Sequence[Mapping[str, Recollection]],
    found: dict[str, dict[str, list[Tensor]]],
) -> None:
    for number, name in enumerate(fusion.config.names):
        at = np.flatnonzero(pairs.faulty_modality[index] == number)
        if len(at):
            past = [remembered[int(one)] for one in at]
            for kind, error in _errors(fusion, pairs, name, index[at], said, at, past).items():
                found.setdefault(name, {}).setdefault(kind, []).append(error)


def _errors(
    fusion: Fusion,
    pairs: Pairs,
    name: str,
    index: Index,
    said: Inference,
    at: Index,
    remembered: Sequence[Mapping[str, Recollection]],
) -> dict[str, Tensor]:
    """Return the errors (K,) of the windows at ``index``, which are ``at`` in what was ``said``."""
    view, floor = healthy(fusion, name, pairs.clean, index)
    target = fusion.target(name, view)
    latents = {"corrected": fusion.correct(said, at, name, remembered), "floor": floor}
    if fusion.config.method != "mmae":
        latents["uncorrected"] = said.latents[name][torch.from_numpy(at)]
    decoded = {kind: fusion.decode(name, latent) for kind, latent in latents.items()}
    decoder = fusion.decoder(name)
    mean = decoder.mean_image[None] if isinstance(decoder, ImageDecoder) else torch.zeros(())
    decoded["mean"] = mean.to(target).expand_as(target)
    restored = fusion.restore(said, at, name, remembered)
    if restored is not None:
        decoded["restored"] = restored
    return {kind: (one - target).square().flatten(1).mean(1).cpu() for kind, one in decoded.items()}


def healthy(fusion: Fusion, name: str, clean: Windows, index: Index) -> tuple[View, Tensor]:
    """Return one modality of clean windows, and the latents from which it is to be decoded."""
    if fusion.config.method != "mmae":
        view = fusion.view(clean.take(index, [name]).to(fusion.device), name)
        return view, fusion.encode(name, view)
    batch = clean.take(index).to(fusion.device)
    views = fusion.views(batch)
    return views[name], fusion.corrected(fusion.encode_all(views, batch.present))[name]


@torch.inference_mode()
def reconstruction_error(fusion: Fusion, name: str, windows: Windows, index: Index) -> float:
    """Return the mean square error of D(E(x)) on up to 256 of the clean windows at ``index``.

    Of D(C(E(x))) where the method is MMAE, as in `pair_errors`.
    """
    some = index[:: max(1, len(index) // 256)]
    errors = []
    for part in chunks(len(some), 16):
        view, latent = healthy(fusion, name, windows, some[part])
        decoded = fusion.decode(name, latent)
        errors.append((decoded - fusion.target(name, view)).square().flatten(1).mean(1))
    return float(torch.cat(errors).mean()) if errors else float("nan")
