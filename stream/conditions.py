"""Conditions that need no model: what can be seen from the windows and the refusals alone."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np

from stream.alarms import STATION, Condition, Observation
from stream.messages import ImageView, Kind, Rejected, VectorView, View, Window

DARK_GREY_LEVEL = 16  # an all-dark frame has nothing brighter
REFUSED_SHARE = 0.1  # of the readings due since the last window
SKEW_LIMIT_NS = 1_000_000_000
MOTION_STRIDE = 4  # every fourth pixel each way tells motion as well as all do
NOT_MALFORMED = frozenset({"late", "duplicate", "overflow", "jump"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What is normal for one modality; ``motion_scale`` is (channels,) or empty for units of 1."""

    kind: Kind
    rate_hz: float
    samples: int = 0
    frozen_after_ns: int = 1_000_000_000
    motion_threshold: float = 2.0
    motion_scale: tuple[float, ...] = ()
    dark_is_normal: bool = False


@dataclass(slots=True)
class _Memory:
    """What must be remembered of a modality from window to window."""

    still_ns: int = 0  # unchanged for so long while another modality moved
    seen_since_ns: int | None = None
    refused: Counter[str] = field(default_factory=Counter)


Look: TypeAlias = tuple[bool, bool]  # (unchanged, moving)


class Conditions:
    """The pure stage from windows and refusals to observations, for one station."""

    deadline_ns: int | None = None

    def __init__(self, watched: Mapping[str, Watched]) -> None:
        self._watched = watched
        self._memory = {name: _Memory() for name in watched}
        self._last_ns: int | None = None
        self._epoch = 0

    def refuse(self, rejected: Rejected) -> None:
        """Count a refusal; the next window tells whether it was too many."""
        self.refuse_reason(rejected.modality, rejected.reason)

    def refuse_reason(self, modality: str, reason: str) -> None:
        """Count a payload that never became a reading."""
        label = reason if reason in NOT_MALFORMED else "malformed"
        self._memory[modality].refused[label] += 1

    def add(self, window: Window, lags_ns: Mapping[str, int] | None = None) -> list[Observation]:
        """Look at one window. ``lags_ns`` by modality, only while no backlog explains them."""
        if window.epoch != self._epoch:
            self._begin_epoch(window.epoch)
        step_ns = window.anchor_ns - self._last_ns if self._last_ns is not None else 0
        self._last_ns = window.anchor_ns
        looks = {name: self._look(name, view) for name, view in window.views.items()}
        seen: list[Observation] = []
        for name in self._watched:
            scores = {
                Condition.MISSING: float(name in window.idle),
                Condition.STALLED: self._stalled(name, window),
                Condition.FROZEN: self._frozen(name, looks, step_ns),
                **self._refusals(name, step_ns),
            }
            if lags_ns is not None:
                scores[Condition.SKEWED] = lags_ns.get(name, 0) / SKEW_LIMIT_NS
            facts = {"lag_ms": round(lags_ns[name] / 1e6, 3)} if lags_ns and name in lags_ns else {}
            seen += [_observation(name, one, score, window, facts) for one, score in scores.items()]
        seen.append(_observation(STATION, Condition.OFFLINE, 0.0, window, {}))
        return seen

    def silence(self, time_ns: int, silent_ns: int, limit_ns: int) -> list[Observation]:
        """The whole station has been silent for so long, at this event time."""
        return [
            Observation(
                modality=STATION,
                condition=Condition.OFFLINE,
                score=silent_ns / limit_ns,
                time_ns=time_ns,
                epoch=self._epoch,
            )
        ]

    def _begin_epoch(self, epoch: int) -> None:
        self._epoch, self._last_ns = epoch, None
        for memory in self._memory.values():
            memory.still_ns, memory.seen_since_ns = 0, None

    def _look(self, name: str, view: View) -> Look:
        watched = self._watched[name]
        if isinstance(view, ImageView):
            return _look_at_image(view, watched)
        return _look_at_vector(view, watched)

    def _frozen(self, name: str, looks: Mapping[str, Look], step_ns: int) -> float:
        """How long nothing changed while another modality moved, over what is normal."""
        memory = self._memory[name]
        unchanged = name in looks and looks[name][0]
        others_move = any(moving for other, (_, moving) in looks.items() if other != name)
        if not unchanged:
            memory.still_ns = 0
        elif others_move:
            memory.still_ns += step_ns
        return memory.still_ns / self._watched[name].frozen_after_ns

    def _stalled(self, name: str, window: Window) -> float:
        """How far the rate lies below half the configured one: 1 at half of it, 0 above."""
        memory, watched = self._memory[name], self._watched[name]
        view = window.views.get(name)
        if view is None or name in window.idle:
            memory.seen_since_ns = None
            return 0.0
        period_ns = 1e9 / watched.rate_hz
        if isinstance(view, ImageView):
            interval_ns = max(view.largest_gap_ns, view.skew_ns)
            return float(interval_ns > 2 * period_ns)
        if view.readings == 0:
            return 0.0
        if memory.seen_since_ns is None:
            memory.seen_since_ns = window.anchor_ns
        if window.anchor_ns - memory.seen_since_ns < watched.samples * period_ns:
            return 0.0
        return float(view.readings < watched.samples / 2)

    def _refusals(self, name: str, step_ns: int) -> dict[Condition, float]:
        memory, watched = self._memory[name], self._watched[name]
        due = max(step_ns * watched.rate_hz / 1e9, 1.0)
        counted, memory.refused = memory.refused, Counter()
        return {
            Condition.LATE: counted["late"] / due / REFUSED_SHARE,
            Condition.MALFORMED: counted["malformed"] / due / REFUSED_SHARE,
        }

    def snapshot(self) -> dict[str, Any]:
        """Its memory as plain data."""
        return {
            "epoch": self._epoch,
            "last_ns": self._last_ns,
            "modalities": {name: asdict(memory) for name, memory in self._memory.items()},
        }

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take a snapshot back."""
        self._epoch, self._last_ns = memory["epoch"], memory["last_ns"]
        for name, held in memory["modalities"].items():
            self._memory[name] = _Memory(**{**held, "refused": Counter(held["refused"])})


def _look_at_image(view: ImageView, watched: Watched) -> Look:
    if view.frame is None or view.previous is None:
        return False, False
    now, before = view.frame.pixels, view.previous.pixels
    if now is None or before is None or now.shape != before.shape:
        return False, False
    if watched.dark_is_normal and int(now.max()) < DARK_GREY_LEVEL:
        return False, False
    near = now[::MOTION_STRIDE, ::MOTION_STRIDE].astype(np.int16)
    motion = float(np.abs(near - before[::MOTION_STRIDE, ::MOTION_STRIDE]).mean())
    unchanged = motion == 0.0 and np.array_equal(now, before)
    return unchanged, motion > watched.motion_threshold


def _look_at_vector(view: VectorView, watched: Watched) -> Look:
    if not view.present:
        return False, False
    spread = np.ptp(view.values, axis=0)
    scale = np.asarray(watched.motion_scale) if watched.motion_scale else 1.0
    return not spread.any(), bool((spread / scale).max() > watched.motion_threshold)


def _observation(
    modality: str, condition: Condition, score: float, window: Window, facts: Mapping[str, Any]
) -> Observation:
    return Observation(
        modality=modality,
        condition=condition,
        score=score,
        time_ns=window.anchor_ns,
        epoch=window.epoch,
        facts=facts if score else {},
    )
