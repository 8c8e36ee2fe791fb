"""Readings of one station in, time-aligned windows out: the interval join.

Pure: no clock, no socket. What it does is a function of the readings and of the idle marks that
it is given; watermark, idle and late have the meaning that Flink and Bytewax give them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from stream.clocks import LONG_AGO, NEVER, Limits
from stream.lanes import AlignedModality, Lane
from stream.messages import ClosedBy, Idle, Reading, Rejected, TimeSource, Window

Output: TypeAlias = Window | Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignerSpec:
    """One station's time rules. ``anchor`` names an image modality, or is empty for a grid."""

    station: str
    modalities: Mapping[str, AlignedModality]
    anchor: str
    anchor_period_ns: int
    max_jump_ns: int = 10_000_000_000
    rewind_ns: int = 5_000_000_000
    epoch_gap_ns: int = 2_000_000_000
    budget_bytes: int = 64 << 20


class Aligner:
    """The pure stage from readings to windows for one station."""

    deadline_ns: int | None = None  # silence reaches it as an Idle item, so no timer is needed

    def __init__(self, spec: AlignerSpec) -> None:
        self.spec = spec
        self.epoch = 0
        limits = Limits(
            max_jump_ns=spec.max_jump_ns,
            rewind_ns=spec.rewind_ns,
            budget_bytes=spec.budget_bytes,
        )
        self._lanes = {
            name: Lane(name=name, spec=modality, limits=limits)
            for name, modality in spec.modalities.items()
        }
        self._anchor = self._lanes[spec.anchor] if spec.anchor else None
        self._closed_until_ns = LONG_AGO  # the last anchor
        # No window can be closed before this lane, or any where it is None, has passed this time.
        self._waits_for: Lane | None = None
        self._next_check_ns = LONG_AGO

    # What comes in

    def add(self, item: Reading | Idle, now_ns: int = 0) -> Sequence[Output]:
        """Take a reading or an idle mark; return the windows it closes and what it refuses."""
        lane = self._lanes[item.modality]
        if isinstance(item, Idle):
            lane.idle = True
            return [*self._turn_epoch(), *self._close()]
        refused = lane.take(item)
        if lane.idle and item.time_ns not in [one.time_ns for one in refused]:
            self._wake(lane)
        if lane is self._anchor and item.time_ns < self._next_check_ns:
            self._waits_for, self._next_check_ns = None, self._next_frame_ns(lane)
        if lane.clock.rewound and lane.clock.gone_back:
            return [*refused, *self._turn_epoch(), *self._close()]
        waits_for = self._waits_for
        if (waits_for is None or waits_for is lane) and lane.has_passed(self._next_check_ns):
            return [*refused, *self._close()]
        return refused

    def expire(self, now_ns: int) -> list[Output]:
        """Nothing here waits for the clock."""
        return []

    def flush(self) -> list[Output]:
        """Close every window that the readings held can still give; the stream has ended."""
        lanes = self._lanes.values()
        outputs: list[Output] = []
        while True:
            for lane in lanes:
                outputs += lane.end()
            outputs += self._close(ClosedBy.FLUSH)
            for lane in lanes:
                outputs += [] if lane.clock.gone_back else lane.clock.release_rewound()
            if not any(lane.clock.gone_back for lane in lanes):
                return outputs
            for lane in lanes:
                lane.idle = lane.idle or not lane.clock.gone_back
            outputs += self._turn_epoch()

    def _turn_epoch(self) -> list[Output]:
        """Begin a new epoch once every lane has gone back in time or is idle."""
        lanes = self._lanes.values()
        if not any(lane.clock.gone_back for lane in lanes) or any(lane.live for lane in lanes):
            return []
        outputs: list[Output] = [late for lane in lanes for late in lane.end()]
        outputs += self._close(ClosedBy.FLUSH)
        held = [lane.clock.rewound.give_all() for lane in lanes]
        idle = [Idle(modality=lane.name) for lane in lanes if lane.idle]
        for lane in lanes:
            lane.turn()
        self.epoch += 1
        self._waits_for, self._closed_until_ns, self._next_check_ns = None, LONG_AGO, LONG_AGO
        for item in (*chain.from_iterable(held), *idle):
            outputs += self.add(item)
        return outputs

    def _wake(self, lane: Lane) -> None:
        """Wait for a lane again that speaks, and for all where the whole station was silent."""
        lanes = list(self._lanes.values())
        for one in lanes if all(each.idle for each in lanes) else [lane]:
            one.idle = False

    # What goes out

    def _close(self, forced: ClosedBy | None = None) -> list[Output]:
        """Close windows in order until one has to wait for a live lane."""
        lanes = self._lanes.values()
        outputs: list[Output] = []
        self._waits_for = None
        while (anchor_ns := self._next_anchor_ns()) != NEVER:
            waiting = [lane for lane in lanes if not lane.has_passed(anchor_ns)]
            if waiting and forced is None:
                self._waits_for = next((lane for lane in waiting if lane.live), None)
                if self._waits_for is not None:
                    break
            self._begin_epoch_after_gap(anchor_ns)
            window = self._window(anchor_ns, _closed_by(waiting))
            self._settle(anchor_ns)
            if any(view.present for view in window.views.values()):
                outputs.append(replace(window, memory=self.snapshot()))
        waits_for_frame = self._anchor is not None and self._anchor.live
        # A due anchor may yet move to an earlier time, as long as readings are missing.
        self._next_check_ns = anchor_ns if waits_for_frame else LONG_AGO
        return outputs

    def _next_anchor_ns(self) -> int:
        """The next anchor: a frame, or a due time where frames do not come; NEVER if none."""
        if self._anchor is not None:
            frame_ns = self._next_frame_ns(self._anchor)
            if frame_ns != NEVER or self._anchor.live:
                return frame_ns
        return self._due_ns(list(self._lanes.values()))

    def _next_frame_ns(self, lane: Lane) -> int:
        assert lane.track is not None
        frame_ns = lane.track.first_after(max(lane.clock.horizon_ns, self._closed_until_ns))
        return NEVER if frame_ns is None else frame_ns

    def _due_ns(self, lanes: list[Lane]) -> int:
        """The next anchor on the configured period, if the readings held reach that far."""
        period_ns = self.spec.anchor_period_ns
        newest_ns = max(lane.clock.newest_ns for lane in lanes)
        first_ns = min(
            (
                first
                for lane in lanes
                if lane.track is not None
                and (first := lane.track.first_after(self._closed_until_ns)) is not None
            ),
            default=NEVER,
        )
        if self._closed_until_ns == LONG_AGO:
            due_ns = -(-first_ns // period_ns) * period_ns
        else:
            due_ns = self._closed_until_ns + period_ns
        if first_ns - due_ns > self.spec.epoch_gap_ns:  # nothing to see until then
            due_ns += (first_ns - due_ns) // period_ns * period_ns
        return due_ns if due_ns <= newest_ns else NEVER

    def _begin_epoch_after_gap(self, anchor_ns: int) -> None:
        """A stretch in which the whole station was silent separates two epochs."""
        last_ns = self._closed_until_ns
        if last_ns == LONG_AGO or anchor_ns - last_ns <= self.spec.epoch_gap_ns:
            return
        tracks = [lane.track for lane in self._lanes.values() if lane.track is not None]
        between = [track.times_between(last_ns, anchor_ns) for track in tracks]
        times = np.unique(np.concatenate([np.array([last_ns, anchor_ns]), *between]))
        gaps = np.flatnonzero(np.diff(times) > self.spec.epoch_gap_ns)
        if len(gaps):
            self.epoch += 1
            for track in tracks:
                track.drop_before(int(times[gaps[-1] + 1]))

    def _window(self, anchor_ns: int, closed_by: ClosedBy) -> Window:
        views = {
            name: lane.track.view(anchor_ns)
            for name, lane in self._lanes.items()
            if lane.track is not None
        }
        return Window(
            station=self.spec.station,
            epoch=self.epoch,
            anchor_ns=anchor_ns,
            closed_by=closed_by,
            views=views,
            idle=frozenset([name for name, lane in self._lanes.items() if lane.idle]),
            time_sources={
                name: lane.time_source
                for name, lane in self._lanes.items()
                if lane.time_source is not TimeSource.CAPTURE
            },
        )

    def _settle(self, anchor_ns: int) -> None:
        """Move every lane past a closed window and forget what no later one can need."""
        self._closed_until_ns = anchor_ns
        anchor = self._anchor
        for lane in self._lanes.values():
            # what was not waited for is late only if it is older than the anchor itself
            reach_ns = lane.reach_ns if lane.live else 0
            if lane is anchor and lane.track is not None and not lane.track.holds(anchor_ns):
                reach_ns = self.spec.anchor_period_ns // 2  # a frame may still come near it
            lane.settle(anchor_ns, reach_ns)

    # Bounds and memory

    def to_pause(self) -> set[str]:
        """Modalities over their budget and ahead of one that is still waited for."""
        over = {
            name: lane
            for name, lane in self._lanes.items()
            if lane.track is not None and lane.track.size_bytes > self.spec.budget_bytes
        }
        if not over:
            return set()
        slowest_ns = min(
            (lane.clock.watermark_ns for lane in self._lanes.values() if lane.live), default=NEVER
        )
        return {name for name, lane in over.items() if lane.clock.watermark_ns > slowest_ns}

    @property
    def newest_ns(self) -> int:
        """The largest event time of the station; far in the past before the first reading."""
        return max(lane.clock.newest_ns for lane in self._lanes.values())

    def reached(self, modality: str) -> tuple[int, int]:
        """The epoch, and the largest event time of a modality in it."""
        return self.epoch, self._lanes[modality].clock.newest_ns

    def lag_ns(self, modality: str) -> int:
        """How far a modality lies behind the station's newest reading, in event time."""
        return self.newest_ns - self._lanes[modality].clock.newest_ns

    @property
    def size_bytes(self) -> int:
        """What all readings held take."""
        return sum(lane.size_bytes for lane in self._lanes.values())

    def needs(self, modality: str, time_ns: int) -> bool:
        """Whether a reading of this time is held, for a window to come or a new epoch."""
        return self._lanes[modality].needs(time_ns)

    def snapshot(self) -> dict[str, Any]:
        """Its memory as plain data, except readings that the source will deliver again."""
        return {
            "epoch": self.epoch,
            "closed_until_ns": self._closed_until_ns,
            "lanes": {name: lane.memory() for name, lane in self._lanes.items()},
        }

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take a snapshot back, before any reading; those it left out are expected once more."""
        self.epoch, self._closed_until_ns = memory["epoch"], memory["closed_until_ns"]
        for name, held in memory["lanes"].items():
            self._lanes[name].restore(held)


def _closed_by(waiting: Sequence[Lane]) -> ClosedBy:
    """A lane that went back in time is waited for no more, as if its stream had ended."""
    if not waiting:
        return ClosedBy.WATERMARK
    return ClosedBy.IDLE if any(lane.idle for lane in waiting) else ClosedBy.FLUSH
