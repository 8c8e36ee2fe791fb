"""Conditions that need no model: what can be seen from the windows and what was heard with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from stream.alarms import STATION, Condition, Observation
from stream.messages import ImageView, Kind, VectorView, View, Window

DARK_GREY_LEVEL = 16  # an all-dark frame has nothing brighter
REFUSED_SHARE = 0.1  # of the readings due lately
LATELY_NS = 1_000_000_000
LATELY_PAYLOADS = 20  # at least, where they are few
SLOW_GAPS = 2  # in a row; a single lost frame is no slow camera
SKEW_LIMIT_NS = 1_000_000_000
SILENCE_STEP_NS = 1_000_000_000
MOTION_STRIDE = 4  # every fourth pixel each way tells motion as well as all do
NO_FACTS: Mapping[str, Any] = {}


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
    frame_ns: int | None = None  # the last frame
    slow_gaps: int = 0  # in a row
    refusals: list[tuple[int, str, int]] = field(default_factory=list)  # lately: window, label, n

    def snapshot(self) -> dict[str, Any]:
        """As plain data: taken for every window, and several times faster than asdict."""
        return {
            "still_ns": self.still_ns,
            "seen_since_ns": self.seen_since_ns,
            "frame_ns": self.frame_ns,
            "slow_gaps": self.slow_gaps,
            "refusals": list(self.refusals),
        }


Look: TypeAlias = tuple[bool, bool]  # (unchanged, moving)


class Conditions:
    """The pure stage from windows to observations, for one station."""

    deadline_ns: int | None = None

    def __init__(self, watched: Mapping[str, Watched]) -> None:
        self._watched = watched
        self._memory = {name: _Memory() for name in watched}
        self._last_ns: int | None = None
        self._epoch = 0

    @property
    def now(self) -> tuple[int, int | None]:
        """Epoch and anchor of the last window seen; None before the first."""
        return self._epoch, self._last_ns

    def add(self, window: Window, caught_up: bool) -> list[Observation]:
        """Look at one window; its lags count only where no backlog explains them."""
        if window.epoch != self._epoch:
            self._begin_epoch(window.epoch)
        step_ns = window.anchor_ns - self._last_ns if self._last_ns is not None else 0
        self._last_ns = window.anchor_ns
        looks = {name: self._look(name, view) for name, view in window.views.items()}
        seen: list[Observation] = []
        for name in self._watched:
            scores = {
                Condition.MISSING: _missing(name, window),
                Condition.STALLED: self._stalled(name, window),
                Condition.FROZEN: self._frozen(name, looks, step_ns),
                **self._refusals(name, window),
            }
            seen += [_observation(name, one, score, window) for one, score in scores.items()]
            if caught_up and name in window.heard.lags_ns:
                seen.append(_skewed(name, window.heard.lags_ns[name], window))
        seen.append(_observation(STATION, Condition.OFFLINE, 0.0, window))
        return seen

    def silence(self, newest_ns: int, silent_ns: int, limit_ns: int) -> list[Observation]:
        """The whole station has been silent for so long since its newest reading.

        It is told in whole seconds beyond the limit, so that the event's time does not depend on
        when the clock was looked at.
        """
        if silent_ns < limit_ns:
            return []
        silent_ns -= (silent_ns - limit_ns) % SILENCE_STEP_NS
        return [
            Observation(
                modality=STATION,
                condition=Condition.OFFLINE,
                score=silent_ns / limit_ns,
                time_ns=newest_ns + silent_ns,
                epoch=self._epoch,
            )
        ]

    def _begin_epoch(self, epoch: int) -> None:
        self._epoch, self._last_ns = epoch, None
        self._memory = {name: _Memory() for name in self._memory}

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
            memory.seen_since_ns, memory.slow_gaps = None, 0
            return 0.0
        period_ns = 1e9 / watched.rate_hz
        if isinstance(view, ImageView):
            if view.frame is not None and view.frame.time_ns != memory.frame_ns:
                slow = view.largest_gap_ns > 2 * period_ns
                memory.frame_ns = view.frame.time_ns
                memory.slow_gaps = memory.slow_gaps + 1 if slow else 0
            return float(memory.slow_gaps >= SLOW_GAPS)
        if view.readings == 0:
            return 0.0
        if memory.seen_since_ns is None:
            memory.seen_since_ns = window.anchor_ns
        if window.anchor_ns - memory.seen_since_ns < watched.samples * period_ns:
            return 0.0
        return float(view.readings < watched.samples / 2)

    def _refusals(self, name: str, window: Window) -> dict[Condition, float]:
        """The refused share of the readings due lately, over what is normal."""
        memory, rate_hz = self._memory[name], self._watched[name].rate_hz
        heard, anchor_ns = window.heard, window.anchor_ns
        payload = heard.payload.get(name, 1)
        lately_ns = max(LATELY_NS, round(1e9 * LATELY_PAYLOADS * payload / rate_hz))
        due = lately_ns / 1e9 * rate_hz
        memory.refusals += [
            (anchor_ns, label, n) for label, n in heard.refused.get(name, {}).items()
        ]
        memory.refusals = [one for one in memory.refusals if anchor_ns - one[0] < lately_ns]
        return {
            condition: sum(n for _, label, n in memory.refusals if label == condition)
            / (due * REFUSED_SHARE)
            for condition in (Condition.LATE, Condition.MALFORMED)
        }

    def snapshot(self) -> dict[str, Any]:
        """Its memory as plain data."""
        return {
            "epoch": self._epoch,
            "last_ns": self._last_ns,
            "modalities": {name: one.snapshot() for name, one in self._memory.items()},
        }

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take a snapshot back."""
        self._epoch, self._last_ns = memory["epoch"], memory["last_ns"]
        for name, held in memory["modalities"].items():
            self._memory[name] = _Memory(
                **{**held, "refusals": [(*one,) for one in held["refusals"]]}
            )


def _look_at_image(view: ImageView, watched: Watched) -> Look:
    if view.frame is None or view.previous is None:
        return False, False
    now, before = view.frame.pixels, view.previous.pixels
    if now is None or before is None or now.shape != before.shape:
        return False, False
    if watched.dark_is_normal and int(now.max()) < DARK_GREY_LEVEL:
        return False, False
    some = (slice(None, None, MOTION_STRIDE),) * 2
    # the difference without a sign, so that uint8 does not wrap around
    motion = float(
        (np.maximum(now[some], before[some]) - np.minimum(now[some], before[some])).mean()
    )
    unchanged = motion == 0.0 and np.array_equal(now, before)
    return unchanged, motion > watched.motion_threshold


def _look_at_vector(view: VectorView, watched: Watched) -> Look:
    if not view.present:
        return False, False
    spread = np.ptp(view.values, axis=0)
    scale = np.asarray(watched.motion_scale) if watched.motion_scale else 1.0
    # Written as a product: a channel that never moved on clean data has a scale of 0.
    return not spread.any(), bool((spread > watched.motion_threshold * scale).any())


def _missing(name: str, window: Window) -> float:
    """Declared idle, and this window has to do without it although others speak."""
    view = window.views.get(name)
    return float(name in window.idle and not (view is not None and view.present))


def _skewed(name: str, lag_ns: int, window: Window) -> Observation:
    """How far a modality's clock lies behind; a silent one lags without being skewed."""
    if name in window.idle:
        return _observation(name, Condition.SKEWED, 0.0, window)
    facts = {"clock_offset_ms": round(lag_ns / 1e6, 3)}  # what to enter in the configuration
    return _observation(name, Condition.SKEWED, lag_ns / SKEW_LIMIT_NS, window, facts)


def _observation(
    modality: str,
    condition: Condition,
    score: float,
    window: Window,
    facts: Mapping[str, Any] = NO_FACTS,
) -> Observation:
    return Observation(
        modality=modality,
        condition=condition,
        score=score,
        time_ns=window.anchor_ns,
        epoch=window.epoch,
        facts=facts,
    )
