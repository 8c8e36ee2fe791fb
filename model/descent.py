"""Gradient descent that can be interrupted: Adam, a rate that cools, a state kept on disk."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from model.checkpoint import under, write_atomically

COOLING = 0.3  # last share of the training, over which the learning rate falls
COLDEST = 0.05


class Progress(Protocol):
    """Is told how far a stage of training is; draws a bar, or nothing."""

    def __call__(self, stage: str, done: float, total: float, loss: float | None) -> None:
        """``done`` of ``total`` in the stage's own unit; ``loss`` where there is one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How long to descend, and what from. What ends first, ``steps`` or ``minutes``, ends it.

    ``origin`` tells one training from another: a state of another origin is not gone on from.
    """

    stage: str
    steps: int
    minutes: float | None
    learning_rate: float
    origin: str
    resume: Path
    save_every_s: float
    weight_decay: float = 0.0


@dataclass(kw_only=True, slots=True)
class Position:
    """Where training stands: what must survive an interruption besides weights.

    ``loss`` is a running mean.
    """

    step: int = 0
    elapsed_s: float = 0.0
    loss: float = float("nan")


def descend(
    module: nn.Module,
    loss_of: Callable[[int], Tensor],
    plan: Plan,
    progress: Progress,
    until: float = 1.0,
) -> Position:
    """Step along the gradient of ``loss_of(step)``, from where an earlier run stopped.

    What a step draws must follow from its number alone. Adam without weight decay, else AdamW.
    Stops once a share ``until`` of the plan is over; called again, it goes on.
    """
    adam = torch.optim.AdamW(
        module.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay
    )
    at = _restored(plan, module, adam)
    started = saved = time.monotonic() - at.elapsed_s
    saved += at.elapsed_s
    while _share(plan, at) < until:
        set_rate(adam, plan.learning_rate, _share(plan, at))
        loss = loss_of(at.step)
        adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        value = float(loss.detach())
        at.loss = value if np.isnan(at.loss) else 0.98 * at.loss + 0.02 * value
        at.step += 1
        now = time.monotonic()
        at.elapsed_s = now - started
        progress(plan.stage, at.step, plan.steps, at.loss)
        if now - saved >= plan.save_every_s:
            _keep(plan, module, adam, at)
            saved = now
    _keep(plan, module, adam, at)
    return at


def share_over(plan: Plan) -> float:
    """Return how much of a plan an earlier run is through with."""
    kept = _kept(plan)
    return 0.0 if kept is None else _share(plan, kept[0])


def _share(plan: Plan, at: Position) -> float:
    share = at.step / plan.steps if plan.steps else 1.0
    return share if plan.minutes is None else max(share, at.elapsed_s / (60 * plan.minutes))


def set_rate(adam: torch.optim.Optimizer, rate: float, share: float) -> None:
    """Set the learning rate for when ``share`` of the training is over; it falls at the end."""
    left = min(1.0, (1 - share) / COOLING)
    for group in adam.param_groups:
        group["lr"] = rate * max(COLDEST, left)


def _keep(plan: Plan, module: nn.Module, adam: torch.optim.Optimizer, at: Position) -> None:
    tensors = {f"module.{key}": value for key, value in module.state_dict().items()}
    for number, state in adam.state_dict()["state"].items():
        tensors |= {f"adam.{number}.{key}": value for key, value in state.items()}
    facts = {
        "origin": plan.origin,
        "step": str(at.step),
        "elapsed_s": repr(at.elapsed_s),
        "loss": repr(at.loss),
    }
    plan.resume.parent.mkdir(parents=True, exist_ok=True)
    whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    write_atomically(plan.resume, save(whole, metadata=facts))


def _restored(plan: Plan, module: nn.Module, adam: torch.optim.Optimizer) -> Position:
    """Take back what was kept."""
    kept = _kept(plan)
    if kept is None:
        return Position()
    position, tensors = kept
    module.load_state_dict(under("module.", tensors))
    states: dict[int, dict[str, Any]] = {}
    for key, tensor in under("adam.", tensors).items():
        number, _, what = key.partition(".")
        states.setdefault(int(number), {})[what] = tensor
    adam.load_state_dict({"state": states, "param_groups": adam.state_dict()["param_groups"]})
    return position


def _kept(plan: Plan) -> tuple[Position, dict[str, Tensor]] | None:
    """Read what was kept; an unreadable state costs a fresh start, nothing else."""
    if not plan.resume.exists():
        return None
    try:
        with safe_open(str(plan.resume), framework="pt") as file:
            facts: Mapping[str, str] = file.metadata() or {}
            keys: list[str] = list(file.keys())
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in keys}
    except SafetensorError:
        return None
    if facts.get("origin") != plan.origin:
        return None
    step, elapsed_s, loss = (facts[key] for key in ("step", "elapsed_s", "loss"))
    return Position(step=int(step), elapsed_s=float(elapsed_s), loss=float(loss)), tensors
