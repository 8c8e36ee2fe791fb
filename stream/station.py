"""All pure stages of one station, and what they remember together."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from stream.alarms import STATION, Alarms, Change, Condition, Observation, parted
from stream.aligner import Aligner
from stream.clocks import LONG_AGO, NEVER
from stream.conditions import Conditions
from stream.config import StationSettings
from stream.gate import Verdict
from stream.hearing import Hearing
from stream.messages import Frame, Idle, Malformed, Reading, Rejected, Window
from stream.specs import MS, alarm_rules, aligner_spec, watched
from stream.wire import parse_rfc3339

CONTEXTS = 16  # as many changes of the production context as an event may look back
SIMULATED_TAIL_NS = 2_000 * MS


@dataclass(slots=True)
class Tally:
    """What a station has let through and refused so far."""

    readings: int = 0  # messages
    samples: int = 0  # what the readings hold, a frame being one
    windows: int = 0
    events: int = 0
    skipped: int = 0  # windows
    uncorrected: int = 0  # modalities of windows
    refused: Counter[str] = field(default_factory=Counter)


class Station:
    """Readings in, windows out; verdicts in, changes of conditions out."""

    def __init__(
        self,
        settings: StationSettings,
        motion_scales: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        self.settings = settings
        self.id = settings.id
        self.aligner = Aligner(aligner_spec(settings))
        self.hearing = Hearing(settings.modalities)
        self.conditions = Conditions(watched(settings, motion_scales or {}))
        self.alarms = Alarms(alarm_rules(settings.alarms))
        self.tally = Tally()
        self.forget_at: dict[tuple[str, str], int] = {}  # what was cleared: until its state goes
        self._remembers = False
        self._contexts: deque[tuple[int, Any]] = deque(maxlen=CONTEXTS)
        self._simulation: Mapping[str, Any] | None = None
        self._last_simulation: tuple[int, Mapping[str, Any] | None] = (LONG_AGO, None)

    def add(self, item: Reading | Idle) -> tuple[list[Window], list[Rejected]]:
        """Take a reading; return the windows it closes and the readings it refuses."""
        if not isinstance(item, Idle):
            self.hearing.hear(item)
            self.tally.readings += 1
            self.tally.samples += 1 if isinstance(item, Frame) else len(item.times_ns)
        return self._sorted(self.aligner.add(item))

    def flush(self) -> tuple[list[Window], list[Rejected]]:
        """Close what the readings held can still give."""
        return self._sorted(self.aligner.flush())

    def _sorted(self, outputs: Sequence[Window | Rejected]) -> tuple[list[Window], list[Rejected]]:
        windows: list[Window] = []
        rejected: list[Rejected] = []
        for one in outputs:
            if isinstance(one, Window):
                windows.append(self._heard(one))
                continue
            rejected.append(one)
            self.tally.refused[one.reason] += one.samples
            reached = self.aligner.reached(one.modality)
            self.hearing.refuse(one.modality, one.reason, one.samples, reached)
        self.tally.windows += len(windows)
        return windows, rejected

    def _heard(self, window: Window) -> Window:
        """The window with what was heard since the last one, and what is remembered after it."""
        lags_ns = {name: self.aligner.lag_ns(name) for name in self.settings.modalities}
        heard = self.hearing.take(window, lags_ns)
        memory = {"aligner": window.memory, "hearing": self.hearing.snapshot()}
        return replace(window, heard=heard, memory=memory)

    def refuse(self, modality: str, reason: str) -> None:
        """Count a payload that never became a reading."""
        self.tally.refused[reason] += 1
        self.hearing.refuse_payload(modality, reason, self.aligner.reached(modality))

    def judge(self, verdict: Verdict, caught_up: bool) -> list[Change]:
        """Turn a verdict and what was observed of its window into changes of conditions."""
        seen = self.conditions.add(verdict.window, caught_up)
        seen += [_learnt(verdict, name, score) for name, score in verdict.scores.items()]
        seen.append(_overloaded(verdict))
        return self._alarmed(seen)

    def silent(self, silent_ns: int) -> list[Change]:
        """Nothing has come from the whole station for so long."""
        if self.tally.windows == 0:
            return []
        limit_ns = round(self.settings.offline_after_ms * MS)
        return self._alarmed(self.conditions.silence(self.aligner.newest_ns, silent_ns, limit_ns))

    def reset(self, modality: str, condition: Condition) -> list[Change]:
        """Clear an alarm on command, as of the last window."""
        epoch, time_ns = self.conditions.now
        if time_ns is None:
            time_ns = self.aligner.newest_ns
        changes = self.alarms.reset(modality, condition, time_ns, epoch)
        self.tally.events += len(changes)
        return changes

    def know(self, since_ns: int, context: Any) -> None:
        """The plant says what is produced from this time on."""
        if not self._contexts or since_ns > self._contexts[-1][0]:  # else it is known already
            self._contexts.append((since_ns, context))

    def context_at(self, time_ns: int) -> Any:
        """The production context valid at an event time; the oldest known before that one."""
        known = [context for since_ns, context in self._contexts if since_ns <= time_ns]
        if known:
            return known[-1]
        return self._contexts[0][1] if self._contexts else None

    def simulate(self, state: Mapping[str, Any] | None) -> None:
        """A replay says that it plays this station, or that it has ended."""
        if self._simulation and not state:
            self._last_simulation = (self.aligner.newest_ns, self._simulation)
        self._simulation = state or None

    def simulation_of(self, change: Change, now_ns: int) -> Mapping[str, Any] | None:
        """The simulation that a change comes from; None on a real station.

        A replay's last readings are still on their way when it says that it has ended; one that
        died without a word is believed until its state's ``validUntil``.
        """
        until_ns, ended = self._last_simulation
        if self._simulation and now_ns < _valid_until_ns(self._simulation):
            return self._simulation
        return ended if change.time_ns <= until_ns + SIMULATED_TAIL_NS else None

    def _alarmed(self, seen: Sequence[Observation]) -> list[Change]:
        changes = [change for one in seen for change in self.alarms.add(one)]
        self.tally.events += len(changes)
        return changes

    def forgettable(self, now_ns: int) -> list[tuple[str, str]]:
        """(modality, condition) of what was cleared so long ago that its state is to go."""
        due = [key for key, due_ns in self.forget_at.items() if due_ns <= now_ns]
        for key in due:
            del self.forget_at[key]
        return due

    def taken_in(self) -> dict[str, Any]:
        """What must survive a restart of the half that takes readings in; see `Window.memory`."""
        return {"aligner": self.aligner.snapshot(), "hearing": self.hearing.snapshot()}

    def judged(self) -> dict[str, Any]:
        """What must survive a restart of the half that judges windows."""
        return {
            "conditions": self.conditions.snapshot(),
            "alarms": self.alarms.snapshot(),
            "contexts": list(self._contexts),
            "forget_at": {"/".join(key): due_ns for key, due_ns in self.forget_at.items()},
        }

    def adopt(self, told: Any) -> None:
        """Go on with an alarm that a worker told of whose memory is gone: a fault event's data."""
        knows_more = self._remembers or self.tally.events > 0
        if not knows_more and isinstance(told, dict) and told.get("activeState") is True:
            with suppress(KeyError, TypeError, ValueError, Malformed):  # written by anybody
                self.alarms.adopt(
                    str(told["modality"]),
                    Condition(told["condition"]),
                    onset_ns=parse_rfc3339(told["onsetTime"]),
                    raised_ns=parse_rfc3339(told["detectedTime"]),
                    epoch=int(told["epoch"]),
                    severity=int(told["severity"]),
                )

    def restore(self, taken_in: Mapping[str, Any], judged: Mapping[str, Any]) -> None:
        """Take both back; the second may lag behind the first by windows not yet judged."""
        self._remembers = True
        self.aligner.restore(taken_in["aligner"])
        self.hearing.restore(taken_in["hearing"])
        self.conditions.restore(judged["conditions"])
        self.alarms.restore(judged["alarms"])
        self._contexts.extend((since_ns, context) for since_ns, context in judged["contexts"])
        for key, due_ns in judged.get("forget_at", {}).items():
            self.forget_at[parted(key)] = due_ns


def _valid_until_ns(state: Mapping[str, Any]) -> int:
    """Until when a simulation state holds; for ever where it does not say."""
    try:
        return parse_rfc3339(str(state.get("validUntil")))
    except Malformed:
        return NEVER


def _learnt(verdict: Verdict, name: str, score: float) -> Observation:
    evidence = {key: round(value, 4) for key, value in verdict.evidence.get(name, {}).items()}
    return Observation(
        modality=name,
        condition=Condition.SIGNAL,
        score=score / verdict.alarm_limit,
        time_ns=verdict.window.anchor_ns,
        epoch=verdict.window.epoch,
        facts=evidence if score > 0 else {},
    )


def _overloaded(verdict: Verdict) -> Observation:
    return Observation(
        modality=STATION,
        condition=Condition.OVERLOADED,
        score=float(verdict.skipped),
        time_ns=verdict.window.anchor_ns,
        epoch=verdict.window.epoch,
    )
