"""When a condition is raised, updated and cleared: on-delay, off-delay, hysteresis, latching.

Names follow ISA-18.2 and OPC UA Part 9. Pure: every time is the event time of an observation.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

SEVERITY_BANDS = (334, 667)  # low, medium, high
UPDATE_INTERVAL_NS = 10_000_000_000
STATION = "station"  # the reserved modality name for conditions of the station itself


class Condition(StrEnum):
    """What can be wrong with a modality, or with the whole station."""

    SIGNAL = "signal"  # learnt: the sensor lies
    MISSING = "missing"
    STALLED = "stalled"
    FROZEN = "frozen"
    LATE = "late"
    SKEWED = "skewed"
    MALFORMED = "malformed"
    OFFLINE = "offline"
    MISROUTED = "misrouted"
    OVERLOADED = "overloaded"  # the worker cannot keep up, and leaves windows unjudged


class Transition(StrEnum):
    """A change of a condition's state."""

    RAISED = "raised"
    UPDATED = "updated"
    CLEARED = "cleared"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRule:
    """Delays in event time and thresholds in units of the condition's own limit."""

    on_delay_ns: int = 200_000_000
    off_delay_ns: int = 1_000_000_000
    on_threshold: float = 1.0
    off_threshold: float = 1.0
    latched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """How strongly a condition holds at an event time; 1 is its limit."""

    modality: str
    condition: Condition
    score: float
    time_ns: int
    epoch: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> int:
        """1-1000, half of it at the limit; saturates as the score grows."""
        return max(1, round(1000 * share(self.score)))


def share(score: float) -> float:
    """A score as a share: 0 for nothing or NaN, .5 at the limit, 1 for infinity."""
    return 1 / (1 + 1 / score) if score > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A condition's state changed: what a fault event tells."""

    transition: Transition
    modality: str
    condition: Condition
    time_ns: int  # event time of the transition
    epoch: int
    raised_epoch: int
    onset_ns: int
    raised_ns: int
    severity: int
    score: float
    rule: AlarmRule
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """One condition between two observations; ``raised_ns`` is None while it is not active."""

    epoch: int = 0
    onset_ns: int | None = None  # since when it holds, while pending or active
    quiet_ns: int | None = None  # since when it no longer holds, while active
    raised_ns: int | None = None
    told_ns: int = 0
    told_severity: int = 0


AT_REST = _State()


class Alarms:
    """The pure stage from observations to changes, for one station."""

    deadline_ns: int | None = None  # event time drives it, so no timer is needed

    def __init__(self, rules: Mapping[str, AlarmRule]) -> None:
        """``rules`` by ``modality/condition`` or ``condition``; ``default`` for all others."""
        self._rules = rules
        self._states: dict[tuple[str, str], _State] = {}

    def rule(self, modality: str, condition: Condition) -> AlarmRule:
        """The most specific rule there is."""
        for key in (f"{modality}/{condition}", str(condition), "default"):
            if key in self._rules:
                return self._rules[key]
        return AlarmRule()

    def add(self, seen: Observation, now_ns: int = 0) -> list[Change]:
        """Take one observation; return the change it causes, if any."""
        key = (seen.modality, str(seen.condition))
        rule = self.rule(seen.modality, seen.condition)
        state, change = _step(self._states.get(key, AT_REST), seen, rule)
        if state is AT_REST:
            self._states.pop(key, None)
        else:
            self._states[key] = state
        return [change] if change else []

    def expire(self, now_ns: int) -> list[Change]:
        """Nothing here waits for the clock."""
        return []

    def flush(self) -> list[Change]:
        """Nothing: an active alarm stays active when a worker stops."""
        return []

    def reset(self, modality: str, condition: Condition, time_ns: int, epoch: int) -> list[Change]:
        """Clear an alarm on command, which is how a latched one goes."""
        state = self._states.pop((modality, str(condition)), AT_REST)
        if state.raised_ns is None:
            return []
        seen = Observation(
            modality=modality, condition=condition, score=0.0, time_ns=time_ns, epoch=epoch
        )
        return [_change(Transition.CLEARED, state, seen, self.rule(modality, condition))]

    def adopt(
        self,
        modality: str,
        condition: Condition,
        *,
        onset_ns: int,
        raised_ns: int,
        epoch: int,
        severity: int,
    ) -> None:
        """Go on with an alarm that was raised before, unless something is known of it already."""
        self._states.setdefault(
            (modality, str(condition)),
            _State(
                epoch=epoch,
                onset_ns=onset_ns,
                raised_ns=raised_ns,
                told_ns=raised_ns,
                told_severity=severity,
            ),
        )

    @property
    def active(self) -> list[tuple[str, str]]:
        """(modality, condition) of every raised alarm."""
        return [key for key, state in self._states.items() if state.raised_ns is not None]

    def snapshot(self) -> dict[str, Any]:
        """Every pending and active alarm as plain data."""
        return {"/".join(key): asdict(state) for key, state in self._states.items()}

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take a snapshot back."""
        self._states = {}
        for key, state in memory.items():
            self._states[parted(key)] = _State(**state)


def parted(key: str) -> tuple[str, str]:
    """Return modality and condition of what was written as ``modality/condition``."""
    modality, _, condition = key.rpartition("/")
    return modality, condition


def _step(state: _State, seen: Observation, rule: AlarmRule) -> tuple[_State, Change | None]:
    if state.raised_ns is None:
        return _step_inactive(state, seen, rule)
    return _step_active(state, seen, rule)


def _step_inactive(
    state: _State, seen: Observation, rule: AlarmRule
) -> tuple[_State, Change | None]:
    """Pending starts at the on threshold and goes on while the off threshold is held."""
    pending_ns = state.onset_ns if state.epoch == seen.epoch else None
    needed = rule.on_threshold if pending_ns is None else rule.off_threshold
    if not seen.score >= needed:  # NaN holds nothing
        return AT_REST, None
    onset_ns = seen.time_ns if pending_ns is None else min(pending_ns, seen.time_ns)
    state = _State(onset_ns=onset_ns, epoch=seen.epoch)
    if seen.time_ns - onset_ns < rule.on_delay_ns:
        return state, None
    state = replace(
        state, raised_ns=seen.time_ns, told_ns=seen.time_ns, told_severity=seen.severity
    )
    return state, _change(Transition.RAISED, state, seen, rule)


def _step_active(state: _State, seen: Observation, rule: AlarmRule) -> tuple[_State, Change | None]:
    if seen.score >= rule.off_threshold:
        return _step_holding(replace(state, quiet_ns=None), seen, rule)
    quiet_ns = seen.time_ns if state.quiet_ns is None else min(state.quiet_ns, seen.time_ns)
    state = replace(state, quiet_ns=quiet_ns)
    if rule.latched or seen.time_ns - quiet_ns < rule.off_delay_ns:
        return state, None
    return AT_REST, _change(Transition.CLEARED, state, seen, rule)


def _step_holding(
    state: _State, seen: Observation, rule: AlarmRule
) -> tuple[_State, Change | None]:
    state = replace(state, told_ns=min(state.told_ns, seen.time_ns))  # an epoch may lie before
    same_band = _band(seen.severity) == _band(state.told_severity)
    if same_band or seen.time_ns - state.told_ns < UPDATE_INTERVAL_NS:
        return state, None
    state = replace(state, told_ns=seen.time_ns, told_severity=seen.severity)
    return state, _change(Transition.UPDATED, state, seen, rule)


def _band(severity: int) -> int:
    return sum(severity >= bound for bound in SEVERITY_BANDS)


def _change(transition: Transition, state: _State, seen: Observation, rule: AlarmRule) -> Change:
    assert state.onset_ns is not None
    assert state.raised_ns is not None
    return Change(
        transition=transition,
        modality=seen.modality,
        condition=seen.condition,
        time_ns=seen.time_ns,
        epoch=seen.epoch,
        raised_epoch=state.epoch,
        onset_ns=state.onset_ns,
        raised_ns=state.raised_ns,
        severity=seen.severity if transition is not Transition.CLEARED else state.told_severity,
        score=seen.score,
        rule=rule,
        facts=seen.facts,
    )
