"""A trained model on disk: tensors as safetensors, everything else as JSON beside them.

Nothing is ever unpickled. The JSON carries the hash of the tensors, and both must fit the code.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.calibration import Calibration
from model.config import ModelConfig, Precision, TrainingConfig
from model.fusion import Fusion
from model.precision import choose, choose_device

ValueT = TypeVar("ValueT")

FORMAT = 1
# Values of half precision, and stored so.
HALVED = (
    ".basis",
    ".expectation.",
    ".restorers.",
    "._learnt.network.",
    "._concord.network.",
    "decoders.",
)

SHARED = ("scales.", "encoders.", "decoders.")  # by all methods


class CheckpointError(ValueError):
    """A checkpoint that cannot be read; says which file and why."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Conditions(_Frozen):
    """Defaults of the observed conditions, found on clean data; None where nothing was found.

    ``frozen_after_ms``: half as long again as the longest healthy stretch without any change.
    ``motion_threshold``: what this modality must move by before another counts as frozen; for
    images the mean change from frame to frame in grey levels, for vectors the largest range of any
    channel within a window, in standard deviations of training.
    """

    frozen_after_ms: float | None = None
    motion_threshold: float | None = None


class TrainingFacts(_Frozen):
    """Where a checkpoint comes from and what it reached."""

    command: str = ""
    data: tuple[str, ...] = ()
    seed: int = 0
    config: TrainingConfig | None = None
    windows: int = 0
    episodes: int = 0
    epochs: dict[str, float] = {}
    minutes: float = 0.0
    figures: dict[str, float] = {}


class Card(_Frozen):
    """What a checkpoint says of itself. ``sha256`` is of the tensors' file, set by `save`.

    There is no ``calibration`` where the method detects nothing; ``calibrated_on`` names a plant's
    own recordings where it is not the training's.
    """

    format: int = FORMAT
    model: ModelConfig
    calibration: Calibration | None = None
    conditions: dict[str, Conditions] = {}
    spreads: dict[str, list[float]] = Field(default={}, description="std of each vector channel")
    training: TrainingFacts = TrainingFacts()
    calibrated_on: tuple[str, ...] = ()
    sha256: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Loaded:
    """A model ready to infer; ``hash`` tells which weights it runs."""

    fusion: Fusion
    card: Card
    hash: str

    @property
    def alarm_limit(self) -> float:
        """The score from which an alarm is due, 1 where nothing was calibrated."""
        calibration = self.fusion.calibration
        return 1.0 if calibration is None else calibration.alarm_limit(self.fusion.precision)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Autoencoders:
    """Scales, encoders and decoders of a checkpoint of any method, and what it says of itself."""

    card: Card
    tensors: Mapping[str, Tensor]


def save(directory: Path, name: str, fusion: Fusion, card: Card) -> Path:
    """Write ``name``.safetensors and ``name``.json into ``directory``; return the former's path."""
    data = save_tensors({key: _stored(key, value) for key, value in fusion.state_dict().items()})
    stamped = card.model_copy(update={"sha256": hashlib.sha256(data).hexdigest()})
    path = Path(directory) / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, data)
    write_atomically(path.with_suffix(".json"), stamped.model_dump_json(indent=2).encode() + b"\n")
    return path


def load(path: Path, device: str = "auto", precision: Precision = "auto") -> Loaded:
    """Read the checkpoint ``path`` (.safetensors, its .json beside it) onto ``device``.

    Raises CheckpointError where a file is missing, truncated, altered or of another model.
    """
    card, tensors = _verified(Path(path))
    fusion = Fusion(card.model)
    _fill(fusion, tensors, path)
    fusion.calibration = card.calibration
    target = choose_device(device)
    wanted = card.model.precision if precision == "auto" else precision
    fusion.precision = choose(wanted, target)
    return Loaded(fusion=fusion.to(target).eval(), card=card, hash=card.sha256)


def load_autoencoders(path: Path) -> Autoencoders:
    """Read of a checkpoint what all methods share. Raises CheckpointError as `load` does."""
    card, tensors = _verified(Path(path))
    shared = {key: one.float() for key, one in tensors.items() if key.startswith(SHARED)}
    return Autoencoders(card=card, tensors=shared)


def _verified(path: Path) -> tuple[Card, dict[str, Tensor]]:
    card = read_card(path.with_suffix(".json"))
    data = _read(path)
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise CheckpointError(
            f"{path}: sha256 is {found[:12]}…, {path.with_suffix('.json').name} expects "
            f"{card.sha256[:12]}…; the file is truncated, altered or of another training"
        )
    return card, _tensors(path, data)


def read_card(path: Path) -> Card:
    """Read a checkpoint's JSON alone. Raises CheckpointError."""
    try:
        fields = json.loads(_read(path))
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON ({error})") from error
    if isinstance(fields, dict) and fields.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {fields.get('format')!r}, this reads {FORMAT}")
    try:
        return Card.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(f"{path}: {where}: {first['msg']}") from error


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` so that ``path`` holds either all of it or what was there before."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(data)
    beside.replace(path)


def under(prefix: str, named: Mapping[str, ValueT]) -> dict[str, ValueT]:
    """Return what of ``named`` begins with ``prefix``, without it."""
    return {k.removeprefix(prefix): v for k, v in named.items() if k.startswith(prefix)}


def is_halved(key: str) -> bool:
    """Return whether the tensor called ``key`` is kept in half precision."""
    return any(part in key for part in HALVED)


def _stored(key: str, tensor: Tensor) -> Tensor:
    kept = tensor.detach().cpu().contiguous()
    return kept.half() if is_halved(key) else kept


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error


def _tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    try:
        return load_tensors(data)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from error


def _fill(fusion: Fusion, tensors: Mapping[str, Tensor], path: Path) -> None:
    expected = fusion.state_dict()
    missing, unknown = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or unknown:
        raise CheckpointError(
            f"{path}: {len(missing)} tensors missing, {len(unknown)} unknown, "
            f"first {sorted(missing | unknown)[0]}"
        )
    for key, tensor in tensors.items():
        if tensor.shape != expected[key].shape:
            raise CheckpointError(
                f"{path}: {key} has shape {tuple(tensor.shape)}, "
                f"the configuration asks for {tuple(expected[key].shape)}"
            )
    with torch.no_grad():
        fusion.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
