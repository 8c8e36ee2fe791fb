"""Which checkpoint serves a station, whether it fits, and what it knows of clean data."""

import os
from pathlib import Path
from typing import Any

from model.checkpoint import Card
from model.windows import Batch
from stream.collation import collate
from stream.config import ConfigError, ModalitySettings, StationSettings
from stream.messages import Kind

PRETRAINED = Path(__file__).parent.parent / "model" / "pretrained"


def checkpoint_path(model: str) -> Path:
    """A shipped model's name or a path to a .safetensors file, as a path; raises ConfigError."""
    shipped = PRETRAINED / f"{model}.safetensors"
    path = shipped if os.sep not in model and shipped.exists() else Path(model)
    if not path.exists():
        known = ", ".join(sorted(one.stem for one in PRETRAINED.glob("*.safetensors"))) or "none"
        problem = f"{model!r} is no file and no shipped model (shipped: {known}; or 'none')"
        raise ConfigError("model", [problem])
    return path


def mismatches(station: StationSettings, card: Card) -> list[str]:
    """What keeps a checkpoint from serving a station; empty where it fits."""
    problems = []
    if card.calibration is None:
        problems.append(
            f"model: {card.model.name} ({card.model.method}) corrects and detects nothing; "
            "take one trained with method evidence or mmssl"
        )
    known = card.model.modalities
    for name in sorted(set(known) | set(station.modalities)):
        if name not in known:
            problems.append(f"modalities.{name}: the model {card.model.name} does not know it")
        elif name not in station.modalities:
            problems.append(f"modalities.{name}: the model {card.model.name} needs it")
        else:
            problems += _modality_mismatches(name, station.modalities[name], known[name])
    return problems


def _modality_mismatches(name: str, here: ModalitySettings, there: Any) -> list[str]:
    if here.kind != there.kind:
        return [f"modalities.{name}.kind: {here.kind}, the model has {there.kind}"]
    problems = []
    if here.kind is Kind.VECTOR:
        if here.samples != there.samples:
            problems.append(f"modalities.{name}.samples: {here.samples}, not {there.samples}")
        if here.channel_count not in (0, there.channels):
            problems.append(
                f"modalities.{name}.channels: {here.channel_count}, not {there.channels}"
            )
        if there.rate_hz and abs(here.rate_hz / there.rate_hz - 1) > 0.02:
            problems.append(f"modalities.{name}.rate_hz: {here.rate_hz}, not {there.rate_hz}")
    return problems


def completed_modality(modality: ModalitySettings, card: Card, name: str) -> ModalitySettings:
    """Fill what a station's configuration leaves open of modality ``name`` from ``card``."""
    trained, conditions = card.model.modalities[name], card.conditions.get(name)
    update: dict[str, Any] = {"size_px": trained.size_px}
    if modality.channels is None and modality.kind is Kind.VECTOR:
        update["channels"] = trained.names or trained.channels
    if conditions is not None:
        if modality.frozen_after_ms is None:
            update["frozen_after_ms"] = conditions.frozen_after_ms
        if modality.motion_threshold is None:
            update["motion_threshold"] = conditions.motion_threshold
    return modality.model_copy(update=update)


def blank_batch(card: Card) -> Batch:
    """One empty window in the shape that a model takes."""
    return collate([], card.model.modalities, at_least=1)
