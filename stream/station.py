"""All pure stages of one station, and what they remember together."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from stream.alarms import STATION, AlarmRule, Alarms, Change, Condition, Observation
from stream.aligner import Aligner, AlignerSpec
from stream.clocks import LONG_AGO, NEVER
from stream.conditions import Conditions, Watched
from stream.config import AlarmSettings, ModalitySettings, StationSettings
from stream.gate import Verdict
from stream.hearing import Hearing
from stream.lanes import AlignedModality
from stream.messages import Frame, Idle, Kind, Malformed, Reading, Rejected, Window
from stream.tracks import Timing
from stream.wire import parse_rfc3339

MS = 1_000_000
# An observed condition is slower to judge than a learnt one, unless the configuration says so.
OBSERVED_ON_DELAY_NS = {
    Condition.SKEWED: 5_000 * MS,
    Condition.FROZEN: 0,
    Condition.OFFLINE: 0,
    Condition.OVERLOADED: 0,
}
FROZEN_AFTER_MS = 1_000.0
MOTION_THRESHOLD = {Kind.IMAGE: 2.0, Kind.VECTOR: 0.05}
MAX_GAP_PERIODS = 4
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

    def taken_in(self) -> dict[str, Any]:
        """What must survive a restart of the half that takes readings in; see `Window.memory`."""
        return {"aligner": self.aligner.snapshot(), "hearing": self.hearing.snapshot()}

    def judged(self) -> dict[str, Any]:
        """What must survive a restart of the half that judges windows."""
        return {
            "conditions": self.conditions.snapshot(),
            "alarms": self.alarms.snapshot(),
            "contexts": list(self._contexts),
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
        score=score,
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


def aligner_spec(settings: StationSettings) -> AlignerSpec:
    """The time rules of a station, in nanoseconds."""
    images = [name for name, one in settings.modalities.items() if one.kind is Kind.IMAGE]
    anchor = settings.anchor or (images[0] if images else "")
    first = next(iter(settings.modalities.values()))
    anchor_hz = settings.modalities[anchor].rate_hz if anchor else first.rate_hz
    if not anchor and settings.window_hz:
        anchor_hz = settings.window_hz
    return AlignerSpec(
        station=settings.id,
        modalities={
            name: AlignedModality(
                kind=one.kind, timing=_timing(one, settings), channels=one.channel_count
            )
            for name, one in settings.modalities.items()
        },
        anchor=anchor,
        anchor_period_ns=round(1e9 / anchor_hz),
        max_jump_ns=round(settings.max_jump_ms * MS),
        rewind_ns=round(settings.rewind_ms * MS),
        epoch_gap_ns=round(settings.epoch_gap_ms * MS),
        budget_bytes=round(settings.budget_mib * (1 << 20)),
    )


def _timing(modality: ModalitySettings, station: StationSettings) -> Timing:
    period_ns = round(1e9 / modality.rate_hz)
    out_of_order_ms = modality.out_of_order_ms
    if out_of_order_ms is None:
        out_of_order_ms = station.out_of_order_ms
    vector = modality.kind is Kind.VECTOR
    return Timing(
        period_ns=period_ns,
        out_of_order_ns=round(out_of_order_ms * MS),
        samples=modality.samples if vector else 0,
        max_gap_ns=MAX_GAP_PERIODS * period_ns if vector else 0,
    )


def watched(
    settings: StationSettings, motion_scales: Mapping[str, Sequence[float]]
) -> dict[str, Watched]:
    """What is normal for each modality."""
    return {
        name: Watched(
            kind=one.kind,
            rate_hz=one.rate_hz,
            samples=one.samples,
            frozen_after_ns=round((one.frozen_after_ms or FROZEN_AFTER_MS) * MS),
            motion_threshold=one.motion_threshold or MOTION_THRESHOLD[one.kind],
            motion_scale=tuple(motion_scales.get(name, ())),
            dark_is_normal=one.dark_is_normal,
        )
        for name, one in settings.modalities.items()
    }


def alarm_rules(settings: Mapping[str, AlarmSettings]) -> dict[str, AlarmRule]:
    """Configured rules over the built-in ones; an on-delay left out is the condition's own."""
    built_in = {
        str(condition): AlarmRule(on_delay_ns=delay_ns)
        for condition, delay_ns in OBSERVED_ON_DELAY_NS.items()
    }
    return {**built_in, **{key: _alarm_rule(key, one) for key, one in settings.items()}}


def _alarm_rule(key: str, settings: AlarmSettings) -> AlarmRule:
    on_delay_ns = round(settings.on_delay_ms * MS)
    condition = key.rpartition("/")[2]
    if "on_delay_ms" not in settings.model_fields_set and condition in OBSERVED_ON_DELAY_NS:
        on_delay_ns = OBSERVED_ON_DELAY_NS[Condition(condition)]
    return AlarmRule(
        on_delay_ns=on_delay_ns,
        off_delay_ns=round(settings.off_delay_ms * MS),
        on_threshold=settings.on_threshold,
        off_threshold=settings.off_threshold,
        latched=settings.latched,
    )
