"""Windows to verdicts: the only room of the stream that touches the model."""

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.baseline import Baseline
from model.checkpoint import Card, Loaded, load
from model.fusion import Inference
from model.windows import Batch
from stream.collation import collate
from stream.config import ConfigError, ModalitySettings, ModelSettings, StationSettings
from stream.gate import FAULTY_SCORE, Verdict
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


class Engine:
    """Runs each station's model. Not thread-safe: everything happens on one thread of its own."""

    def __init__(self, stations: Sequence[StationSettings], settings: ModelSettings) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
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
            loaded.fusion.infer(blank_batch(loaded.card))

    def infer(self, windows: Sequence[Window]) -> list[Verdict]:
        """Judge windows of one group, in their order."""
        loaded = self._models.get(self._model_of[windows[0].station])
        if loaded is None:
            return [Verdict(window=window) for window in windows]
        batch = collate(windows, loaded.card.model.modalities)
        inference = loaded.fusion.infer(batch)
        scores = self._scores(loaded, windows, batch, inference)
        return _verdicts(windows, inference, scores, loaded.hash)

    def _scores(
        self, loaded: Loaded, windows: Sequence[Window], batch: Batch, inference: Inference
    ) -> list[dict[str, float]]:
        """One window after another, because each may change its session's baseline."""
        if not loaded.card.model.session_baseline:
            return [
                {name: float(score[at]) for name, score in inference.scores.items()}
                for at in range(len(windows))
            ]
        scores = []
        for at, window in enumerate(windows):
            baseline = self._baselines.setdefault(window.station, Baseline())
            evidence = {
                modality: {name: values[at : at + 1] for name, values in named.items()}
                for modality, named in inference.evidence.items()
            }
            present = {name: flags[at : at + 1] for name, flags in batch.present.items()}
            medians = {
                modality: {name: torch.tensor([value]) for name, value in named.items()}
                for modality, named in baseline.medians().items()
            }
            found = loaded.fusion.score(evidence, present, medians)
            score = {name: float(values[0]) for name, values in found.items()}
            clean = [name for name, one in score.items() if one < FAULTY_SCORE and present[name][0]]
            baseline.add(_as_floats(inference, at), clean)
            scores.append(score)
        return scores

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


def _as_floats(inference: Inference, at: int) -> dict[str, dict[str, float]]:
    return {
        modality: {name: float(values[at]) for name, values in named.items()}
        for modality, named in inference.evidence.items()
    }


def _verdicts(
    windows: Sequence[Window],
    inference: Inference,
    scores: Sequence[Mapping[str, float]],
    model_hash: str,
) -> list[Verdict]:
    latents = {name: values.cpu().numpy() for name, values in inference.latents.items()}
    corrected = {name: values.cpu().numpy() for name, values in inference.corrected.items()}
    return [
        Verdict(
            window=window,
            latents={name: values[at] for name, values in latents.items()},
            corrected={name: values[at] for name, values in corrected.items()},
            scores=scores[at],
            evidence=_as_floats(inference, at),
            model_hash=model_hash,
        )
        for at, window in enumerate(windows)
    ]
