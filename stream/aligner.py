"""Readings of one station in, time-aligned windows out: the interval join.

Pure: no clock, no socket. What it does is a function of the readings and of the idle marks that
it is given; watermark, idle and late have the meaning that Flink and Bytewax give them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from stream.lanes import AGREEING, AlignedModality, Lane, open_lane, reject, singly
from stream.messages import ClosedBy, Frame, Idle, Reading, Rejected, Samples, Window
from stream.tracks import LONG_AGO, ImageTrack, VectorTrack

NEVER = 1 << 62

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
        self._closed_until_ns = LONG_AGO  # the last anchor
        self._next_check_ns = LONG_AGO  # no lane's watermark below this can close a window
        self._reset_lanes()

    def _reset_lanes(self) -> None:
        self._lanes = {name: open_lane(name, m) for name, m in self.spec.modalities.items()}
        self._closed_until_ns = LONG_AGO

    # What comes in

    def add(self, item: Reading | Idle, now_ns: int = 0) -> list[Output]:
        """Take a reading or an idle mark; return the windows it closes and what it refuses."""
        lane = self._lanes[item.modality]
        if isinstance(item, Idle):
            lane.idle = True
            return [*self._turn_epoch(), *self._close()]
        lane.idle = False
        if isinstance(item, Samples):
            return self._add_samples(lane, item)
        return self._add_frame(lane, item)

    def expire(self, now_ns: int) -> list[Output]:
        """Nothing here waits for the clock."""
        return []

    def flush(self) -> list[Output]:
        """Close every window that the readings held can still give; the stream has ended."""
        outputs: list[Output] = list(self._close(ClosedBy.FLUSH))
        for lane in self._lanes.values():
            if not lane.gone_back:
                outputs += self._release_as_late(lane)
        if any(lane.rewound for lane in self._lanes.values()):
            for lane in self._lanes.values():
                lane.idle = lane.idle or not lane.rewound
            outputs += [*self._turn_epoch(), *self._close(ClosedBy.FLUSH)]
        return outputs

    def _add_frame(self, lane: Lane, frame: Frame) -> list[Output]:
        time_ns = frame.time_ns
        if lane.newest_ns < time_ns <= lane.newest_ns + self.spec.max_jump_ns and (
            lane.undisturbed and time_ns > lane.horizon_ns
        ):
            assert isinstance(lane.track, ImageTrack)
            lane.track.append(frame)
            lane.newest_ns = time_ns
            if self._next_check_ns == NEVER and frame.modality == self.spec.anchor:
                self._next_check_ns = time_ns
            return self._advance(lane)
        return self._add_with_care(lane, frame)

    def _add_samples(self, lane: Lane, samples: Samples) -> list[Output]:
        track = lane.track
        if track is None:
            track = VectorTrack(lane.spec.timing, samples.values.shape[1], lane.name)
            lane.track = track
        assert isinstance(track, VectorTrack)
        if samples.values.shape[1] != track.channels:
            detail = f"{samples.values.shape[1]} channels where {track.channels} are expected"
            return [reject(samples, "wrong_channels", detail)]
        times = samples.times_ns
        first, last = int(times[0]), int(times[-1])
        if (
            lane.newest_ns < first
            and last <= lane.newest_ns + self.spec.max_jump_ns
            and lane.undisturbed
            and first > lane.horizon_ns
            and (len(times) == 1 or bool((times[1:] > times[:-1]).all()))
        ):
            track.append(samples)
            lane.newest_ns = last
            return self._advance(lane)
        outputs: list[Output] = []
        for one in singly(samples):
            outputs += self._add_with_care(lane, one)
        return outputs

    def _advance(self, lane: Lane) -> list[Output]:
        """Close what can be closed after a lane moved on; nearly always there is nothing."""
        if lane.watermark_ns <= self._next_check_ns and lane.live:
            return self._bound(lane)
        return [*self._close(), *self._bound(lane)]

    # Times that need a second look

    def _add_with_care(self, lane: Lane, reading: Reading) -> list[Output]:
        """One frame or sample whose time is not simply the next one."""
        time_ns = reading.time_ns
        assert lane.track is not None
        if lane.track.seen(time_ns):
            return [reject(reading, "duplicate", "the same capture time came before")]
        if self._leaps(lane, time_ns):
            return [self._leap_refused(lane, reading)]
        lane.leaping.clear()
        if lane.newest_ns != LONG_AGO and time_ns < lane.watermark_ns - self.spec.rewind_ns:
            return self._hold(lane, reading)
        outputs = [] if lane.gone_back else self._release_as_late(lane)
        if time_ns <= lane.horizon_ns and time_ns not in lane.expected:
            return [*outputs, lane.late(reading)]
        lane.expected.discard(time_ns)
        self._insert(lane, reading)
        return [*outputs, *self._advance(lane)]

    def _insert(self, lane: Lane, reading: Reading) -> None:
        match lane.track, reading:
            case ImageTrack() as track, Frame() as frame:
                track.insert(frame)
            case VectorTrack() as track, Samples() as samples:
                track.insert(samples)
        lane.newest_ns = max(lane.newest_ns, reading.time_ns)
        # An older frame may be an earlier anchor than the one last looked at.
        self._next_check_ns = LONG_AGO

    def _leaps(self, lane: Lane, time_ns: int) -> bool:
        """Whether a reading lies too far ahead, unless three in a row agree that it does not."""
        reference_ns = max(lane.newest_ns, lane.horizon_ns)
        if reference_ns == LONG_AGO:
            reference_ns = max(other.newest_ns for other in self._lanes.values())
        if reference_ns == LONG_AGO or time_ns <= reference_ns + self.spec.max_jump_ns:
            return False
        lane.leaping = [*lane.leaping[-AGREEING + 1 :], time_ns]
        agree = max(lane.leaping) - min(lane.leaping) <= self.spec.max_jump_ns
        return len(lane.leaping) < AGREEING or not agree

    def _leap_refused(self, lane: Lane, reading: Reading) -> Rejected:
        reference_ns = max(other.newest_ns for other in self._lanes.values())
        ahead_s = (reading.time_ns - max(lane.newest_ns, reference_ns)) / 1e9
        return reject(reading, "jump", f"{ahead_s:.3f} s ahead of its stream")

    def _hold(self, lane: Lane, reading: Reading) -> list[Output]:
        """Keep a reading from far back until the whole station has gone back, within bounds."""
        lane.rewound.append(reading)
        outputs: list[Output] = []
        held = sum(one.size_bytes for one in lane.rewound)
        while held > self.spec.budget_bytes:
            oldest = lane.rewound.pop(0)
            held -= oldest.size_bytes
            outputs.append(reject(oldest, "overflow", "held while waiting for a new epoch"))
        return [*outputs, *self._turn_epoch(), *self._close()]

    def _release_as_late(self, lane: Lane) -> list[Output]:
        held, lane.rewound = lane.rewound, []
        return [lane.late(reading) for reading in held]

    def _turn_epoch(self) -> list[Output]:
        """Begin a new epoch once every lane has gone back in time or is idle."""
        lanes = self._lanes.values()
        if not any(lane.gone_back for lane in lanes) or any(lane.live for lane in lanes):
            return []
        outputs: list[Output] = list(self._close(ClosedBy.FLUSH))
        held = [reading for lane in lanes for reading in lane.rewound]
        idle = {name for name, lane in self._lanes.items() if lane.idle and not lane.rewound}
        self.epoch += 1
        self._reset_lanes()
        for name in idle:
            self._lanes[name].idle = True
        for reading in held:
            outputs += self.add(reading)
        return outputs

    # What goes out

    def _close(self, forced: ClosedBy | None = None) -> list[Output]:
        outputs: list[Output] = []
        while (anchor_ns := self._next_anchor_ns()) != NEVER:
            waiting = [name for name, lane in self._lanes.items() if not lane.has_passed(anchor_ns)]
            if forced is None and any(self._lanes[name].live for name in waiting):
                break
            closed_by = (forced or ClosedBy.IDLE) if waiting else ClosedBy.WATERMARK
            self._begin_epoch_after_gap(anchor_ns)
            window = self._window(anchor_ns, closed_by)
            if any(view.present for view in window.views.values()):
                outputs.append(window)
            self._settle(anchor_ns)
        waits_for_frame = self.spec.anchor and self._lanes[self.spec.anchor].live
        self._next_check_ns = LONG_AGO if anchor_ns == NEVER and not waits_for_frame else anchor_ns
        return outputs

    def _next_anchor_ns(self) -> int:
        """The next anchor: a frame, or a due time where frames do not come; NEVER if none."""
        if not self.spec.anchor:
            return self._due_ns(list(self._lanes.values()))
        lane = self._lanes[self.spec.anchor]
        assert lane.track is not None
        after_ns = max(lane.horizon_ns, self._closed_until_ns)
        frame_ns = lane.track.first_after(after_ns)
        if frame_ns is not None:
            return frame_ns
        return NEVER if lane.live else self._due_ns(list(self._lanes.values()))

    def _due_ns(self, lanes: list[Lane]) -> int:
        """The next anchor on the configured period, if the readings held reach that far."""
        period_ns = self.spec.anchor_period_ns
        newest_ns = max(lane.newest_ns for lane in lanes)
        first_ns = min(
            (
                first
                for lane in lanes
                if lane.track and (first := lane.track.first_after(self._closed_until_ns))
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
        tracks = [lane.track for lane in self._lanes.values() if lane.track]
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
        idle = frozenset(name for name, lane in self._lanes.items() if not lane.live)
        return Window(
            station=self.spec.station,
            epoch=self.epoch,
            anchor_ns=anchor_ns,
            closed_by=closed_by,
            views=views,
            idle=idle,
        )

    def _settle(self, anchor_ns: int) -> None:
        """Move every horizon past a closed window and forget what none can need any more."""
        self._closed_until_ns = anchor_ns
        for name, lane in self._lanes.items():
            reach_ns = lane.spec.timing.reach_ns
            if name == self.spec.anchor and lane.track and not lane.track.seen(anchor_ns):
                reach_ns = self.spec.anchor_period_ns // 2
            lane.horizon_ns = max(lane.horizon_ns, anchor_ns + reach_ns)
            if lane.expected:
                oldest_ns = anchor_ns - lane.spec.timing.span_ns - 4 * lane.spec.timing.period_ns
                lane.expected = {time for time in lane.expected if time >= oldest_ns}
            if lane.track is not None:
                lane.track.close(anchor_ns)

    # Bounds and memory

    def _bound(self, lane: Lane) -> list[Output]:
        if lane.track is None or lane.track.size_bytes <= 2 * self.spec.budget_bytes:
            return []
        dropped = lane.track.drop_oldest()
        return [reject(one, "overflow", "its stream is too far ahead") for one in dropped]

    def to_pause(self) -> set[str]:
        """Modalities over their budget and ahead of one that is still waited for."""
        slowest_ns = min(
            (lane.watermark_ns for lane in self._lanes.values() if lane.live), default=NEVER
        )
        return {
            name
            for name, lane in self._lanes.items()
            if lane.track is not None
            and lane.track.size_bytes > self.spec.budget_bytes
            and lane.watermark_ns > slowest_ns
        }

    @property
    def newest_ns(self) -> int:
        """The largest event time of the station; far in the past before the first reading."""
        return max(lane.newest_ns for lane in self._lanes.values())

    def lag_ns(self, modality: str) -> int:
        """How far a modality lies behind the station's newest reading, in event time."""
        return self.newest_ns - self._lanes[modality].newest_ns

    def needs(self, modality: str, time_ns: int) -> bool:
        """Whether a window to come, or a new epoch, may still need a reading of this time."""
        lane = self._lanes[modality]
        if any(reading.time_ns == time_ns for reading in lane.rewound):
            return True
        oldest_ns = lane.track.first_after(LONG_AGO) if lane.track is not None else None
        return oldest_ns is not None and time_ns >= oldest_ns

    def snapshot(self) -> dict[str, Any]:
        """Its memory as plain data, except readings that the source will deliver again."""
        return {
            "epoch": self.epoch,
            "closed_until_ns": self._closed_until_ns,
            "lanes": {name: lane.memory() for name, lane in self._lanes.items()},
        }

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take a snapshot back; the readings it left out are expected once more."""
        self._reset_lanes()
        self.epoch = memory["epoch"]
        self._closed_until_ns = memory["closed_until_ns"]
        for name, held in memory["lanes"].items():
            self._lanes[name].restore(held)
