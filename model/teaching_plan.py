"""How long each network of method `evidence` is taught, and what lets it go on after a stop."""

import hashlib
from pathlib import Path

from model.config import TrainingConfig
from model.descent import Plan
from model.windows import Index

WEIGHT_DECAY = 1e-4
RESTORING_RATE = 1e-3


def planned(
    what: str,
    name: str,
    index: Index,
    config: TrainingConfig,
    resume: Path,
    *,
    steps: int,
    minutes: float | None = None,
    learning_rate: float | None = None,
    weight_decay: float = WEIGHT_DECAY,
) -> Plan:
    """Return how ``what`` of modality ``name`` is taught on the windows at ``index``.

    At the teaching's own learning rate unless another is given.
    """
    rate = config.teaching.learning_rate
    return Plan(
        stage=f"{what} {name}",
        steps=steps,
        minutes=minutes,
        learning_rate=rate if learning_rate is None else learning_rate,
        weight_decay=weight_decay,
        origin=_fingerprint(what, name, index, config),
        resume=resume,
        save_every_s=config.save_every_s,
    )


def _fingerprint(what: str, name: str, index: Index, config: TrainingConfig) -> str:
    """Return what must be equal for a training to be resumed; its length may change."""
    teaching = config.teaching.model_dump_json(include={"frame_batch", "vector_batch"})
    text = f"{what} {name} {config.seed} {config.teaching.learning_rate} {teaching}"
    return hashlib.sha256(text.encode() + index.tobytes()).hexdigest()
