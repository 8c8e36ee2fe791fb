"""A model's verdict on many windows at once, with each session's baseline as it would have been."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from model.baseline import Habit, running_habits
from model.calibration import Evidences, Flags, Floats
from model.fusion import Fusion
from model.past import Memory, Trace, Usuals
from model.windows import Index, Pairs, Windows, chunks


class Sessions:
    """The memory of each session while its clean windows pass in order, episode after episode."""

    def __init__(self, fusion: Fusion) -> None:
        self._usual_of = fusion.usual
        self._memory = Memory(self._usual_of)
        self._episode: int | None = None

    def pass_by(
        self, traces: Sequence[Trace], episode: Index, present: Mapping[str, Flags]
    ) -> Iterator[Memory]:
        """Yield the memory as it is before each of these clean windows, which then joins it."""
        for at, trace in enumerate(traces):
            if episode[at] != self._episode:
                self._memory, self._episode = Memory(self._usual_of), int(episode[at])
            yield self._memory
            self._memory.add(trace, [name for name, flags in present.items() if flags[at]])


def weigh_windows(
    fusion: Fusion, windows: Windows, index: Index | None = None, batch: int = 32
) -> dict[str, dict[str, Floats]]:
    """Return ``evidence[modality][name]`` (N,) of clean windows in order, at ``index`` or all."""
    index = np.arange(len(windows)) if index is None else index
    sessions = Sessions(fusion)
    parts = []
    for part in chunks(len(index), batch):
        at = index[part]
        present = {name: flags[at] for name, flags in windows.present.items()}
        recall = partial(_usuals, sessions, windows.episode[at], present)
        parts.append(fusion.weigh(windows.take(at), recall))
    return _joined(parts)


def _usuals(
    sessions: Sessions, episode: Index, present: Mapping[str, Flags], traces: Sequence[Trace]
) -> list[Usuals]:
    return [memory.usual for memory in sessions.pass_by(traces, episode, present)]


def known(usuals: Sequence[Usuals], traces: Sequence[Trace]) -> Sequence[Usuals]:
    """Recall what is known already, whatever the windows look like."""
    return usuals


def onsets(pairs: Pairs) -> Index:
    """Return the first window (N,) of the fault that each window belongs to, or itself if clean."""
    first = np.arange(len(pairs))
    same = pairs.clean.episode[1:] == pairs.clean.episode[:-1]
    for at in range(1, len(pairs)):
        lasting = pairs.faulty_modality[at] >= 0 and pairs.fault[at] == pairs.fault[at - 1]
        if lasting and same[at - 1]:
            first[at] = first[at - 1]
    return first


def _joined(parts: Sequence[Mapping[str, Mapping[str, Tensor]]]) -> dict[str, dict[str, Floats]]:
    return {
        name: {
            kind: torch.cat([part[name][kind].cpu() for part in parts]).double().numpy()
            for kind in kinds
        }
        for name, kinds in parts[0].items()
    }


def session_dependent(fusion: Fusion) -> dict[str, frozenset[str]]:
    """Return which evidences of each modality a session baseline is subtracted from."""
    if not fusion.config.session_baseline:
        return {name: frozenset() for name in fusion.config.names}
    return {
        name: frozenset(
            each
            for module in fusion.evidence_modules(name)
            if module.session_dependent
            for each in module.names
        )
        for name in fusion.config.names
    }


def crossed(fusion: Fusion) -> dict[str, tuple[str, ...]]:
    """Return which evidences of each modality compare it with another."""
    return {
        name: tuple(one for module in fusion.evidence_modules(name) for one in module.crossed)
        for name in fusion.config.names
    }


def session_habits(
    fusion: Fusion, evidence: Evidences, windows: Windows
) -> dict[str, dict[str, Habit]]:
    """Return ``habits[modality][name]`` (N,) of the clean windows before each, NaN where too few.

    ``evidence`` is of ``windows``, which are clean and in time order within an episode.
    """
    return running_habits(evidence, windows.episode, windows.present, session_dependent(fusion))


def score_windows(fusion: Fusion, windows: Windows) -> dict[str, Floats]:
    """Return the score (N,) of each modality of clean windows, each after its session's past."""
    evidence = weigh_windows(fusion, windows)
    habits = session_habits(fusion, evidence, windows)
    return fusion.score(evidence, windows.present, habits)
