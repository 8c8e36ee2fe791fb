"""Stage 1: one modality's autoencoder, on clean data only (paper 1, section 4).

No denoising: that would teach the encoder to hide faults. The loss is a sum over modalities that
share no weight, so each is trained by itself, with the batch size that suits it.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from model.checkpoint import write_atomically
from model.config import TrainingConfig
from model.fusion import Fusion
from model.windows import Index, Windows

COOLING = 0.3  # last share of the training, over which the learning rate falls
COLDEST = 0.05
RESUMED_WITH = {"seed", "batch", "vector_batch", "learning_rate"}


class Progress(Protocol):
    """Is told how far a stage of training is; draws a bar, or nothing."""

    def __call__(self, stage: str, done: float, total: float, loss: float | None) -> None:
        """``done`` of ``total`` in the stage's own unit; ``loss`` where there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What a stage took, ``epochs`` fractional where minutes ran out, and its running loss."""

    epochs: float
    minutes: float
    loss: float


@dataclass(kw_only=True, slots=True)
class _Position:
    """Where training stands: what must survive an interruption besides weights."""

    step: int = 0
    elapsed_s: float = 0.0
    loss: float = float("nan")


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
    adam = torch.optim.Adam(pair.parameters(), lr=config.learning_rate)
    at = _Position()
    origin = _fingerprint(fusion, name, index, config)
    _restore(resume, origin, pair, adam, at)
    batch = config.batch if fusion.is_image(name) else config.vector_batch
    per_epoch = max(1, len(index) // batch)
    total = config.epochs * per_epoch
    variance = input_variance(fusion, name, windows, index)
    started = saved = time.monotonic()
    before_s = at.elapsed_s
    while at.step < total and (minutes is None or at.elapsed_s < 60 * minutes):
        drawn = index[_drawn(len(index), batch, at.step, per_epoch, config.seed)]
        share = at.step / total
        if minutes is not None:
            share = max(share, at.elapsed_s / (60 * minutes))
        set_rate(adam, config.learning_rate, share)
        loss = _step(fusion, name, windows, drawn, adam, variance)
        at.step += 1
        at.loss = loss if np.isnan(at.loss) else 0.98 * at.loss + 0.02 * loss
        now = time.monotonic()
        at.elapsed_s = before_s + now - started
        progress(f"autoencoder {name}", at.step / per_epoch, config.epochs, at.loss)
        if now - saved >= config.save_every_s:
            _keep(resume, origin, pair, adam, at)
            saved = now
    _keep(resume, origin, pair, adam, at)
    pair.eval()
    return Trained(epochs=at.step / per_epoch, minutes=at.elapsed_s / 60, loss=at.loss)


def _step(
    fusion: Fusion,
    name: str,
    windows: Windows,
    drawn: Index,
    adam: torch.optim.Optimizer,
    variance: float,
) -> float:
    view = fusion.view(windows.take(drawn, [name]).to(fusion.device), name)
    decoded = fusion.decode(name, fusion.encode(name, view))
    loss = (decoded - fusion.target(name, view)).square().mean() / variance
    adam.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    adam.step()
    return float(loss.detach())


def _drawn(size: int, batch: int, step: int, per_epoch: int, seed: int) -> Index:
    """Return the batch of ``step``: a slice of its epoch's own shuffle, so any step can resume."""
    epoch, within = divmod(step, per_epoch)
    order = np.random.default_rng([seed, epoch]).permutation(size)
    return order[within * batch : (within + 1) * batch]


def set_rate(adam: torch.optim.Optimizer, rate: float, share: float) -> None:
    """Set the learning rate for when ``share`` of the training is over; it falls at the end."""
    left = min(1.0, (1 - share) / COOLING)
    for group in adam.param_groups:
        group["lr"] = rate * max(COLDEST, left)


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


def _keep(
    path: Path, origin: str, pair: nn.Module, adam: torch.optim.Optimizer, at: _Position
) -> None:
    tensors = {f"pair.{key}": value for key, value in pair.state_dict().items()}
    for number, state in adam.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{key}": value for key, value in state.items()}
    facts = {
        "origin": origin,
        "step": str(at.step),
        "elapsed_s": repr(at.elapsed_s),
        "loss": repr(at.loss),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    write_atomically(path, save(whole, metadata=facts))


def _restore(
    path: Path, origin: str, pair: nn.Module, adam: torch.optim.Optimizer, at: _Position
) -> None:
    if not path.exists():
        return
    try:
        with safe_open(str(path), framework="pt") as file:
            facts: Mapping[str, str] = file.metadata() or {}
            keys: list[str] = list(file.keys())
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in keys}
    except SafetensorError:
        return  # an unreadable intermediate state costs a fresh start, nothing else
    if facts.get("origin") != origin:
        return
    pair.load_state_dict(_under("pair.", tensors))
    states: dict[int, dict[str, Any]] = {}
    for key, tensor in _under("adam.", tensors).items():
        number, _, what = key.partition(".")
        states.setdefault(int(number), {})[what] = tensor
    adam.load_state_dict({"state": states, "param_groups": adam.state_dict()["param_groups"]})
    at.step = int(facts["step"])
    at.elapsed_s = float(facts["elapsed_s"])
    at.loss = float(facts["loss"])


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
