"""Windows to verdicts: the only room of the stream that touches the model."""

import os
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from model.baseline import Baseline
from model.checkpoint import Card, Loaded, load
from model.precision import choose_device
from model.windows import Batch
from stream.collation import collate
from stream.config import ConfigError, ModalitySettings, ModelSettings, StationSettings
from stream.gate import FAULTY_SCORE, Latent, Verdict
from stream.messages import Kind, Window

NO_MODEL = "none"
PRETRAINED = Path(__file__).parent.parent / "model" / "pretrained"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the status and the events tell about the model that a station runs."""

    name: str
    hash: str
    precision: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inferred:
    """What a model computes of one window by itself, by modality."""

    window: Window
    latents: Mapping[str, Latent]
    corrected: Mapping[str, Latent]
    present: Mapping[str, bool]
    evidence: Mapping[str, Mapping[str, float]]


class Engine:
    """Runs each station's model; its methods are for one caller at a time.

    On a CPU a batch is shared out over threads that each compute alone: slim layers are too small
    to be divided, and threads that wait for each other after every layer lose a quarter.
    """

    def __init__(self, stations: Sequence[StationSettings], settings: ModelSettings) -> None:
        on_cpu = choose_device(settings.device).type == "cpu"
        self._size = (settings.threads or torch.get_num_threads()) if on_cpu else 1
        self._threads = ThreadPoolExecutor(self._size, "infer", lambda: torch.set_num_threads(1))
        self._models: dict[str, Loaded] = {}
        self._model_of = {station.id: station.model for station in stations}
        self._baselines: dict[str, Baseline] = {}
        for station in stations:
            if station.model != NO_MODEL and station.model not in self._models:
                path = checkpoint_path(station.model)
                self._models[station.model] = load(path, settings.device, settings.precision)
        problems = [
            f"stations.{at}: {problem}"
            for at, station in enumerate(stations)
            if station.model != NO_MODEL
            for problem in mismatches(station, self._models[station.model].card)
        ]
        if problems:
            raise ConfigError("the checkpoint does not fit the station", problems)

    def facts(self, station: str) -> ModelFacts:
        """Name, hash, precision and device of a station's model."""
        loaded = self._models.get(self._model_of[station])
        if loaded is None:
            return ModelFacts(name=NO_MODEL, hash="", precision="", device="")
        return ModelFacts(
            name=loaded.card.model.name,
            hash=loaded.hash,
            precision=loaded.fusion.precision,
            device=str(loaded.fusion.device),
        )

    def completed(self, station: StationSettings) -> StationSettings:
        """Fill what the configuration leaves open from what was found on clean data."""
        loaded = self._models.get(station.model)
        if loaded is None:
            return station
        return station.model_copy(
            update={
                "modalities": {
                    name: _completed(modality, loaded.card, name)
                    for name, modality in station.modalities.items()
                }
            }
        )

    def motion_scales(self, station: StationSettings) -> Mapping[str, Sequence[float]]:
        """The spread of each vector channel on clean data, where a checkpoint knows it."""
        loaded = self._models.get(station.model)
        return loaded.card.spreads if loaded is not None else {}

    def group(self, window: Window) -> Hashable:
        """Windows of one group can be inferred in one batch."""
        return self._model_of[window.station]

    def warm_up(self) -> None:
        """Run every model once, so that the first real window does not wait for it."""
        for loaded in self._models.values():
            for _ in self._threads.map(
                loaded.fusion.infer, [blank_batch(loaded.card)] * self._size
            ):
                pass

    def infer(self, windows: Sequence[Window]) -> list[Verdict]:
        """Judge windows of one group, in their order."""
        loaded = self._models.get(self._model_of[windows[0].station])
        if loaded is None:
            return [Verdict(window=window) for window in windows]
        shares = self._threads.map(partial(_infer_share, loaded), _shares(windows, self._size))
        # one window after another, because each may change its session's baseline
        return [self._judge(loaded, one) for share in shares for one in share]

    def _judge(self, loaded: Loaded, one: Inferred) -> Verdict:
        """Score a window against its session's baseline, which it then joins where it is clean."""
        baseline = self._baseline(one.window)
        medians = baseline.medians() if loaded.card.model.session_baseline else None
        found = loaded.fusion.score(one.evidence, one.present, medians)
        scores = {name: float(score) for name, score in found.items()}
        clean = [name for name, score in scores.items() if score < FAULTY_SCORE]
        baseline.add(one.evidence, [name for name in clean if one.present[name]])
        return Verdict(
            window=one.window,
            latents=one.latents,
            corrected=one.corrected,
            scores=scores,
            evidence=one.evidence,
            model_hash=loaded.hash,
        )

    def _baseline(self, window: Window) -> Baseline:
        """An epoch begins a session: a robot may rest in another pose, a lamp hang elsewhere."""
        baseline = self._baselines.get(window.station)
        if baseline is None or baseline.session != window.epoch:
            baseline = self._baselines[window.station] = Baseline(window.epoch)
        return baseline

    def snapshot(self, station: str) -> dict[str, Any]:
        """The session baseline of a station as plain data."""
        baseline = self._baselines.get(station)
        return {} if baseline is None else baseline.snapshot()

    def restore(self, station: str, memory: Mapping[str, Any]) -> None:
        """Take a snapshot back."""
        if memory:
            self._baselines[station] = Baseline.restore(memory)


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


def _completed(modality: ModalitySettings, card: Card, name: str) -> ModalitySettings:
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


def _shares(windows: Sequence[Window], count: int) -> list[Sequence[Window]]:
    """The windows in order, in at most ``count`` runs of nearly the same length."""
    size = -(-len(windows) // count)
    return [windows[at : at + size] for at in range(0, len(windows), size)]


def _infer_share(loaded: Loaded, windows: Sequence[Window]) -> list[Inferred]:
    batch = collate(windows, loaded.card.model.modalities)
    said = loaded.fusion.infer(batch)
    latents = {name: values.cpu().numpy() for name, values in said.latents.items()}
    corrected = {name: values.cpu().numpy() for name, values in said.corrected.items()}
    present = {name: flags.tolist() for name, flags in batch.present.items()}
    evidence = {
        modality: {name: values.tolist() for name, values in named.items()}
        for modality, named in said.evidence.items()
    }
    return [
        Inferred(
            window=window,
            latents={name: values[at] for name, values in latents.items()},
            corrected={name: values[at] for name, values in corrected.items()},
            present={name: flags[at] for name, flags in present.items()},
            evidence={
                modality: {name: values[at] for name, values in named.items()}
                for modality, named in evidence.items()
            },
        )
        for at, window in enumerate(windows)
    ]
