"""Verdicts and changes of conditions to the messages that tell them."""

from collections.abc import Mapping, Sequence
from typing import Any

from stream.alarms import Change, Transition
from stream.events import Surroundings
from stream.gate import GatedLatent, LatentState, Verdict, gate
from stream.messages import ImageView
from stream.metrics import Metrics
from stream.outbox import Outbox
from stream.station import Station
from stream.status import WorkerStatus
from stream.transports.transport import Message

NOTHING_GATED: Mapping[str, GatedLatent] = {}


class Reporter:
    """Builds what a worker says about its stations."""

    def __init__(
        self, outbox: Outbox, status: WorkerStatus, metrics: Metrics, retention_ns: int
    ) -> None:
        self._outbox, self._status, self._metrics = outbox, status, metrics
        self._retention_ns = retention_ns

    def window(
        self, station: Station, verdict: Verdict, caught_up: bool, now_ns: int
    ) -> tuple[list[Message], list[Change]]:
        """The latent of a window and the fault events that it caused, and those changes."""
        gated = gate(verdict)
        self._count(station, verdict, gated)
        latent = self._outbox.latent(verdict, gated)
        changes = station.judge(verdict, caught_up)
        return [latent, *self.changes(station, changes, now_ns, verdict, gated)], changes

    def _count(self, station: Station, verdict: Verdict, gated: Mapping[str, GatedLatent]) -> None:
        if verdict.skipped:
            self._metrics.skipped.labels(station.id).inc()
            station.tally.skipped += 1
        for name, one in gated.items():
            if one.state is LatentState.UNCORRECTED:
                self._metrics.uncorrected.labels(station.id, name).inc()
                station.tally.uncorrected += 1

    def changes(
        self,
        station: Station,
        changes: Sequence[Change],
        now_ns: int,
        verdict: Verdict | None = None,
        gated: Mapping[str, GatedLatent] = NOTHING_GATED,
    ) -> list[Message]:
        """Fault events and current states."""
        messages = []
        for change in changes:
            self._metrics.events.labels(station.id, change.modality).inc()
            simulated = station.simulation_of(change, now_ns)
            around = self._surroundings(station, change, verdict, gated, simulated)
            messages += self._outbox.fault(change, around)
            key = (change.modality, str(change.condition))
            if change.transition is Transition.CLEARED:
                station.forget_at[key] = now_ns + self._retention_ns
            else:
                station.forget_at.pop(key, None)
        return messages

    def _surroundings(
        self,
        station: Station,
        change: Change,
        verdict: Verdict | None,
        gated: Mapping[str, GatedLatent],
        simulated: Mapping[str, Any] | None,
    ) -> Surroundings:
        modality = station.settings.modalities.get(change.modality)
        latent = gated.get(change.modality)
        return Surroundings(
            station=station.id,
            producer=self._status.producer(station.id),
            equipment=modality.device if modality else {},
            correction=str(latent.state) if latent else "unavailable",
            evidence=_evidence(verdict, change.modality),
            simulated=simulated,
            context=station.context_at(change.time_ns),
        )


def _evidence(verdict: Verdict | None, modality: str) -> dict[str, Any]:
    """Where the frame of the window can be found again."""
    view = verdict.window.views.get(modality) if verdict else None
    if not isinstance(view, ImageView) or view.frame is None or view.frame.source is None:
        return {}
    source = view.frame.source
    return {"topic": source.topic, "partition": source.partition, "offset": source.offset}
