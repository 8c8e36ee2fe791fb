"""What systems say of windows: scores, and the alarms that the worker would have raised."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from model.alarm_figures import Injected as InjectedFault
from model.alarm_figures import Observed, Raised
from model.checkpoint import Loaded
from model.correction_errors import PairErrors, pair_errors
from model.evaluation import CLEAN, Floats
from model.judged import Judged
from model.windows import Index
from simulators.injected import LEFT_OUT, Injected
from simulators.raised import raised_alarms
from stream.alarms import AlarmRule
from stream.engine import Engine
from stream.messages import Window

AT_ONCE = 16  # windows a call of the engine


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class System:
    """One checkpoint; no ``engine`` where it corrects and detects nothing."""

    name: str
    loaded: Loaded
    engine: Engine | None


@dataclass(slots=True, kw_only=True, eq=False)
class Gathered:
    """What one system said of all episodes, under one protocol or of clean windows.

    ``place`` counts an episode's windows as they came, those left out as well.
    """

    names: tuple[str, ...]
    scores: list[Mapping[str, Floats]] = field(default_factory=list)
    truth: list[Index] = field(default_factory=list)
    episode: list[Index] = field(default_factory=list)
    place: list[Index] = field(default_factory=list)
    fault: list[str] = field(default_factory=list)
    severity: list[Floats] = field(default_factory=list)
    effect: list[Floats] = field(default_factory=list)
    errors: list[PairErrors] = field(default_factory=list)
    raised: list[Raised] = field(default_factory=list)
    injected: list[InjectedFault] = field(default_factory=list)
    observed: list[Observed] = field(default_factory=list)
    left_out: int = 0

    def judged(self) -> Judged:
        """All windows together."""
        return Judged(
            scores=_joined(self.scores),
            truth=np.concatenate(self.truth),
            episode=np.concatenate(self.episode),
            fault=tuple(self.fault),
            severity=np.concatenate(self.severity),
            effect=np.concatenate(self.effect),
        )

    def places(self) -> Index:
        """Where in its episode each window of `judged` was."""
        return np.concatenate(self.place)


def judge_clean(
    systems: Sequence[System],
    windows: Iterable[Window],
    number: int,
    into: Mapping[str, Gathered],
) -> None:
    """Judge one episode as it comes: no more windows are held than the engine takes at once."""
    detecting = [(one.name, one.engine) for one in systems if one.engine is not None]
    limits = {one.name: one.loaded.alarm_limit for one in systems}
    scores: dict[str, list[dict[str, Floats]]] = {name: [] for name, _ in detecting}
    anchors_ns: list[int] = []
    for part in _parts(windows) if detecting else ():
        for name, engine in detecting:
            if not anchors_ns:
                engine.forget(part[0].station)
            scores[name].append(_scores_of_part(engine, part))
        anchors_ns += [window.anchor_ns for window in part]
    if anchors_ns:
        for name, found in scores.items():
            _add_clean(into[name], _joined(found), anchors_ns, number, limits[name])


def _add_clean(
    into: Gathered,
    scores: Mapping[str, Floats],
    anchors_ns: Sequence[int],
    number: int,
    alarm_limit: float,
) -> None:
    count = len(anchors_ns)
    into.scores.append(scores)
    into.truth.append(np.full(count, CLEAN))
    into.episode.append(np.full(count, number))
    into.place.append(np.arange(count))
    into.fault.extend([""] * count)
    into.severity.append(np.zeros(count))
    into.effect.append(np.zeros(count))
    _watch_alarms(into, scores, anchors_ns, number, alarm_limit)


def judge_faulty(system: System, injected: Injected, number: int, into: Gathered) -> None:
    """Judge one episode with faults injected, and how well it is corrected."""
    kept = np.flatnonzero(injected.label != LEFT_OUT)
    hit = [injected.hit(int(at)) for at in kept]
    into.left_out += len(injected.label) - len(kept)
    into.errors.append(pair_errors(system.loaded.fusion, injected.pairs()))
    if system.engine is None:
        return
    system.engine.forget(injected.windows[0].station)
    parts = _parts(injected.windows)
    scores = _joined([_scores_of_part(system.engine, part) for part in parts])
    into.scores.append({name: values[kept] for name, values in scores.items()})
    into.truth.append(injected.label[kept])
    into.episode.append(np.full(len(kept), number))
    into.place.append(kept)
    into.fault.extend(f"{one.modality}.{one.fault}" if one else "" for one in hit)
    into.severity.append(np.array([one.severity if one else 0.0 for one in hit]))
    into.effect.append(injected.effect[kept])
    anchors_ns = [window.anchor_ns for window in injected.windows]
    _watch_alarms(into, scores, anchors_ns, number, system.loaded.alarm_limit)
    into.injected.extend(_faults(injected, number))


def _scores_of_part(engine: Engine, windows: Sequence[Window]) -> dict[str, Floats]:
    """What the engine says of the next windows (N,) of a session."""
    verdicts = engine.infer(windows)
    names = verdicts[0].scores
    return {name: np.array([verdict.scores[name] for verdict in verdicts]) for name in names}


def _joined(parts: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _parts(windows: Iterable[Window]) -> Iterator[Sequence[Window]]:
    left = iter(windows)
    while part := list(islice(left, AT_ONCE)):
        yield part


def _watch_alarms(
    into: Gathered,
    scores: Mapping[str, Floats],
    anchors_ns: Sequence[int],
    number: int,
    alarm_limit: float,
) -> None:
    """What the worker would have raised, with its default delays."""
    rules = {name: AlarmRule() for name in scores}
    into.raised.extend(raised_alarms(number, anchors_ns, scores, rules, alarm_limit))
    begin_s, end_s = anchors_ns[0] / 1e9, anchors_ns[-1] / 1e9
    into.observed.append(Observed(episode=number, start_s=begin_s, end_s=end_s))


def _faults(injected: Injected, number: int) -> Iterator[InjectedFault]:
    for place, one in enumerate(injected.planned):
        effect = injected.effect[injected.injection == place]
        yield InjectedFault(
            episode=number,
            modality=one.modality,
            fault=f"{one.modality}.{one.fault}",
            onset_s=one.onset_ns / 1e9,
            end_s=one.end_ns / 1e9,
            effect=float(effect.max(initial=0.0)),
        )
