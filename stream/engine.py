"""Windows to verdicts: the only room of the stream that touches the model."""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import isnan
from typing import Any, TypeVar

import numpy as np
import torch

from model.checkpoint import Loaded, load
from model.fusion import Inference
from model.past import RENEWED, Memory, Recollection, Trace, Usuals
from model.precision import choose_device
from model.session import Session
from stream.checkpoints import blank_batch, checkpoint_path, completed_modality, mismatches
from stream.collation import collate
from stream.config import ConfigError, ModelSettings, StationSettings
from stream.gate import FAULTY_SCORE, Latent, Verdict
from stream.messages import Window

ItemT = TypeVar("ItemT")

NO_MODEL = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the status and the events tell about the model that a station runs."""

    name: str
    hash: str
    precision: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inferred:
    """What a model computes of one window by itself, by modality.

    ``said`` is of all windows of its share, from which their corrections would follow.
    """

    window: Window
    latents: Mapping[str, Latent]
    present: Mapping[str, bool]
    evidence: Mapping[str, Mapping[str, float]]
    trace: Trace
    said: Inference


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """An inferred window with its scores, what its session remembered before it, and after."""

    inferred: Inferred
    scores: Mapping[str, float]
    remembered: Mapping[str, Recollection]
    session: Mapping[str, Any]

    def is_doubtful(self, name: str) -> bool:
        """Whether the gate takes the corrected latent of modality ``name``: faulty or absent."""
        return self.scores[name] >= FAULTY_SCORE or not self.inferred.present[name]


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
        self._sessions: dict[str, Session] = {}
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

    def loaded(self, station: str) -> Loaded | None:
        """A station's model, None where it runs without."""
        return self._models.get(self._model_of[station])

    def facts(self, station: str) -> ModelFacts:
        """Name, hash, precision and device of a station's model."""
        loaded = self.loaded(station)
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
                    name: completed_modality(modality, loaded.card, name)
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
            for said in self._threads.map(
                loaded.fusion.infer, [blank_batch(loaded.card)] * self._size
            ):
                for name in said.latents:
                    loaded.fusion.correct(said, np.zeros(1, np.int64), name)

    def infer(self, windows: Sequence[Window], correcting: bool = True) -> list[Verdict]:
        """Judge windows of one group, in their order; correct what is faulty or absent."""
        loaded = self._models.get(self._model_of[windows[0].station])
        if loaded is None:
            return [Verdict(window=window) for window in windows]
        runs = self._runs(windows)
        return [one for run in runs for one in self._infer_run(loaded, run, correcting)]

    def _runs(self, windows: Sequence[Window]) -> Iterator[Sequence[Window]]:
        """Cut windows where a session's memory is renewed: no verdict depends on the batches."""
        begin, taken = 0, Counter[tuple[str, int]]()
        for at, window in enumerate(windows):
            key = (window.station, window.epoch)
            if taken[key] >= self._may_be_judged(window) and at > begin:
                yield windows[begin:at]
                begin, taken = at, Counter()
            taken[key] += 1
        yield windows[begin:]

    def _may_be_judged(self, window: Window) -> int:
        """How many windows of this one's session its memory serves as it is."""
        session = self._sessions.get(window.station)
        known = session is not None and session.epoch == window.epoch
        return session.memory.until_renewed if session and known else RENEWED

    def _infer_run(
        self, loaded: Loaded, windows: Sequence[Window], correcting: bool
    ) -> list[Verdict]:
        shares = self._threads.map(
            partial(_infer_share, loaded),
            _shares(windows, self._size),
            _shares([self._usuals(loaded, window) for window in windows], self._size),
        )
        # one window after another, because each may change its session's baseline
        judged = [[self._judge(loaded, one) for one in share] for share in shares]
        if not correcting:
            return [_verdict(loaded, one, {}) for share in judged for one in share]
        verdicts = self._threads.map(partial(_correct_share, loaded), judged)
        return [verdict for share in verdicts for verdict in share]

    def _judge(self, loaded: Loaded, one: Inferred) -> Judged:
        """Score a window against its session's baseline, which it then joins where it is clean."""
        session = self._session(loaded, one.window)
        habits = session.baseline.habits() if loaded.card.model.session_baseline else None
        found = loaded.fusion.score(one.evidence, one.present, habits)
        scores = {name: float(score) for name, score in found.items()}
        clean = [name for name, score in scores.items() if score < FAULTY_SCORE]
        kept = [name for name in clean if one.present[name]]
        remembered = session.memory.now
        session.baseline.add(one.evidence, kept)
        session.memory.add(one.trace, kept)
        return Judged(
            inferred=one, scores=scores, remembered=remembered, session=session.snapshot()
        )

    def _session(self, loaded: Loaded, window: Window) -> Session:
        """An epoch begins a session: a robot may rest in another pose, a lamp hang elsewhere."""
        session = self._sessions.get(window.station)
        if session is None or session.epoch != window.epoch:
            session = Session(epoch=window.epoch, memory=Memory(loaded.fusion.usual))
            self._sessions[window.station] = session
        return session

    def _usuals(self, loaded: Loaded, window: Window) -> Usuals:
        session = self._sessions.get(window.station)
        known = session is not None and session.epoch == window.epoch
        return session.memory.usual if session and known else loaded.fusion.usual({})

    def forget(self, station: str) -> None:
        """Begin a station's session anew."""
        self._sessions.pop(station, None)

    def snapshot(self, station: str) -> dict[str, Any]:
        """What a station's session remembers, as plain data."""
        session = self._sessions.get(station)
        return {} if session is None else session.snapshot()

    def restore(self, station: str, memory: Mapping[str, Any]) -> None:
        """Take a snapshot back."""
        loaded = self._models.get(self._model_of[station])
        if memory and loaded is not None:
            self._sessions[station] = Session.restore(memory, loaded.fusion.usual)


def _shares(items: Sequence[ItemT], count: int) -> list[Sequence[ItemT]]:
    """The items in order, in at most ``count`` runs of nearly the same length."""
    size = -(-len(items) // count)
    return [items[at : at + size] for at in range(0, len(items), size)]


def _infer_share(
    loaded: Loaded, windows: Sequence[Window], usuals: Sequence[Usuals]
) -> list[Inferred]:
    batch = collate(windows, loaded.card.model.modalities)
    said = loaded.fusion.infer(batch, lambda _: usuals)
    latents = {name: values.cpu().numpy() for name, values in said.latents.items()}
    present = {name: flags.tolist() for name, flags in batch.present.items()}
    evidence = {
        modality: {name: values.tolist() for name, values in named.items()}
        for modality, named in said.evidence.items()
    }
    return [
        Inferred(
            window=window,
            latents={name: values[at] for name, values in latents.items()},
            present={name: flags[at] for name, flags in present.items()},
            evidence={
                modality: {
                    name: values[at] for name, values in named.items() if not isnan(values[at])
                }
                for modality, named in evidence.items()
            },
            trace=said.traces[at],
            said=said,
        )
        for at, window in enumerate(windows)
    ]


def _correct_share(loaded: Loaded, share: Sequence[Judged]) -> list[Verdict]:
    """The verdicts of all windows that were inferred together; corrects what the gate takes."""
    corrected: list[dict[str, Latent]] = [{} for _ in share]
    for name in loaded.card.model.names:
        doubtful = [at for at, one in enumerate(share) if one.is_doubtful(name)]
        if doubtful:
            said, remembered = share[0].inferred.said, [share[at].remembered for at in doubtful]
            latents = loaded.fusion.correct(said, np.array(doubtful), name, remembered)
            for at, latent in zip(doubtful, latents.cpu().numpy(), strict=True):
                corrected[at][name] = latent
    return [_verdict(loaded, one, found) for one, found in zip(share, corrected, strict=True)]


def _verdict(loaded: Loaded, one: Judged, corrected: Mapping[str, Latent]) -> Verdict:
    return Verdict(
        window=one.inferred.window,
        latents=one.inferred.latents,
        corrected=corrected,
        scores=one.scores,
        evidence=one.inferred.evidence,
        model_hash=loaded.hash,
        alarm_limit=loaded.alarm_limit,
        session=one.session,
    )
