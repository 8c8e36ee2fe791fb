"""What the aligner remembers of one modality, sorted by event time."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stream.messages import (
    Floats,
    Frame,
    ImageView,
    Reading,
    Samples,
    TimesNs,
    VectorView,
)

REMEMBERED = 256  # closed readings whose times are kept, to tell a duplicate from a late one


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How a modality's readings are spaced; ``samples`` is 0 for an image modality."""

    period_ns: int
    out_of_order_ns: int
    samples: int = 0
    max_gap_ns: int = 0

    @property
    def reach_ns(self) -> int:
        """How far beyond an anchor its window still looks, to interpolate its last sample."""
        return self.period_ns * 3 // 2 if self.samples else 0

    @property
    def span_ns(self) -> int:
        """From the first grid point of a window to its anchor."""
        return self.period_ns * max(self.samples - 1, 0)


class ImageTrack:
    """Frames not yet closed, the last closed one and the one before it."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.size_bytes = 0
        self._times: list[int] = []
        self._frames: list[Frame] = []
        self._closed: deque[int] = deque(maxlen=REMEMBERED)

    def append(self, frame: Frame) -> None:
        """Take a frame newer than all others."""
        self._times.append(frame.time_ns)
        self._frames.append(frame)
        self.size_bytes += frame.size_bytes

    def insert(self, frame: Frame) -> None:
        """Take a frame at its place."""
        at = bisect_left(self._times, frame.time_ns)
        self._times.insert(at, frame.time_ns)
        self._frames.insert(at, frame)
        self.size_bytes += frame.size_bytes

    def holds(self, time_ns: int) -> bool:
        """Whether a frame of this time is held."""
        at = bisect_left(self._times, time_ns)
        return at < len(self._times) and self._times[at] == time_ns

    def seen(self, time_ns: int) -> bool:
        """Whether a frame of this time is held, or was lately."""
        return self.holds(time_ns) or time_ns in self._closed

    def first_after(self, time_ns: int) -> int | None:
        """The time of the first frame after this one, if there is one."""
        at = bisect_right(self._times, time_ns)
        return self._times[at] if at < len(self._times) else None

    def times_between(self, after_ns: int, until_ns: int) -> TimesNs:
        """Times in (after, until]."""
        start, end = bisect_right(self._times, after_ns), bisect_right(self._times, until_ns)
        return np.array(self._times[start:end], np.int64)

    def held_until(self, time_ns: int) -> list[int]:
        """Times of all frames held, up to and with this one."""
        return self._times[: bisect_right(self._times, time_ns)]

    def view(self, anchor_ns: int) -> ImageView:
        """The latest frame not after the anchor and at most one and a half periods old."""
        at = bisect_right(self._times, anchor_ns)
        if at == 0:
            return ImageView(frame=None, previous=None, skew_ns=0, largest_gap_ns=0)
        frame = self._frames[at - 1]
        skew_ns = anchor_ns - frame.time_ns
        previous = self._frames[at - 2] if at > 1 else None
        gap_ns = frame.time_ns - previous.time_ns if previous is not None else 0
        if skew_ns > self.timing.period_ns * 3 // 2:
            return ImageView(frame=None, previous=None, skew_ns=skew_ns, largest_gap_ns=gap_ns)
        return ImageView(frame=frame, previous=previous, skew_ns=skew_ns, largest_gap_ns=gap_ns)

    def close(self, anchor_ns: int) -> None:
        """Forget what no window after this anchor can need."""
        oldest_needed = bisect_right(self._times, anchor_ns) - 2
        if oldest_needed > 0:
            self.drop_before(self._times[oldest_needed])

    def drop_before(self, time_ns: int) -> None:
        """Forget every frame older than this time."""
        at = bisect_left(self._times, time_ns)
        self.size_bytes -= sum(frame.size_bytes for frame in self._frames[:at])
        self._closed.extend(self._times[:at])
        del self._times[:at], self._frames[:at]

    def drop_after(self, time_ns: int) -> Sequence[Reading]:
        """Give up every frame newer than this time."""
        at = bisect_right(self._times, time_ns)
        dropped = self._frames[at:]
        self.size_bytes -= sum(frame.size_bytes for frame in dropped)
        del self._times[at:], self._frames[at:]
        return dropped

    def drop_oldest(self) -> Reading:
        """Give up the oldest frame, where the bound on memory demands it."""
        frame = self._frames[0]
        self.drop_before(frame.time_ns + 1)
        return frame


class VectorTrack:
    """Samples in one contiguous buffer: remembered, still needed, and not yet closed."""

    def __init__(self, timing: Timing, channels: int, name: str = "") -> None:
        self.timing = timing
        self.channels = channels
        self._name = name
        self._times: TimesNs = np.zeros(1024, np.int64)
        self._values: Floats = np.zeros((1024, channels))
        self._start = 0  # the first sample that a window may need
        self._end = 0
        grid = np.arange(timing.samples - 1, -1, -1, dtype=np.int64)
        self._offsets_ns = -grid * timing.period_ns
        self._everywhere = np.ones(timing.samples, np.bool_)
        self._row_bytes = 8 + 8 * channels
        self._reach_ns, self._span_ns = timing.reach_ns, timing.span_ns

    @property
    def size_bytes(self) -> int:
        """What the samples that a window may need take."""
        return (self._end - self._start) * self._row_bytes

    def append(self, samples: Samples) -> None:
        """Take samples in order and newer than all others."""
        count, end = len(samples.times_ns), self._end
        if end + count > len(self._times):
            self._make_room(count)
            end = self._end
        self._end = end + count
        self._times[end : self._end] = samples.times_ns
        self._values[end : self._end] = samples.values

    def insert(self, samples: Samples) -> None:
        """Take one sample at its place."""
        if self._end + 1 > len(self._times):
            self._make_room(1)
        at = self._index(samples.time_ns)
        self._times[at + 1 : self._end + 1] = self._times[at : self._end]
        self._values[at + 1 : self._end + 1] = self._values[at : self._end]
        self._times[at], self._values[at] = samples.times_ns[0], samples.values[0]
        self._end += 1
        if at < self._start:
            self._start += 1

    def _make_room(self, count: int) -> None:
        """Move what is held to a buffer twice its size: amortised constant, and it shrinks too."""
        keep = max(self._start - REMEMBERED, 0)
        held = self._end - keep
        capacity = max(2 * (held + count), 1024)
        times, values = np.zeros(capacity, np.int64), np.zeros((capacity, self.channels))
        times[:held], values[:held] = self._times[keep : self._end], self._values[keep : self._end]
        self._times, self._values = times, values
        self._start, self._end = self._start - keep, held

    def _index(self, time_ns: int, side: str = "left") -> int:
        return int(self._times[: self._end].searchsorted(time_ns, side))  # type: ignore[call-overload]

    def holds(self, time_ns: int) -> bool:
        """Whether a sample of this time is held for a window to come."""
        at = self._index(time_ns)
        return self._start <= at < self._end and int(self._times[at]) == time_ns

    def seen(self, time_ns: int) -> bool:
        """Whether a sample of this time is held, or was lately."""
        at = self._index(time_ns)
        return at < self._end and int(self._times[at]) == time_ns

    def first_after(self, time_ns: int) -> int | None:
        """The time of the first sample after this one, if there is one."""
        at = max(self._index(time_ns, "right"), self._start)
        return int(self._times[at]) if at < self._end else None

    def times_between(self, after_ns: int, until_ns: int) -> TimesNs:
        """Times in (after, until]."""
        start, end = self._index(after_ns, "right"), self._index(until_ns, "right")
        return self._times[max(start, self._start) : end].copy()

    def held_until(self, time_ns: int) -> list[int]:
        """Times of all samples that a window may need, up to and with this one."""
        times: list[int] = self._times[self._start : self._index(time_ns, "right")].tolist()
        return times

    def view(self, anchor_ns: int) -> VectorView:
        """Interpolate to the grid that ends at the anchor, from samples within reach of it."""
        times = self._times[self._start : self._end]
        grid = self._offsets_ns + anchor_ns
        right = times.searchsorted(grid, "right")
        left = right - 1  # the newest sample not after a grid point
        oldest, newest = left.item(0), left.item(-1)
        end = newest + 1
        if end < len(times) and times.item(end) <= anchor_ns + self._reach_ns:
            end += 1
        if end == 0:
            return self._empty()
        inside = oldest >= 0 and newest + 1 < end
        if not inside:  # a grid point outside has one neighbour only, which stands for both
            np.maximum(left, 0, out=left)
            np.minimum(right, end - 1, out=right)
        before = times.take(left)
        gap, since = times.take(right) - before, grid - before
        values = self._values[self._start : self._end]
        low, result = values.take(left, axis=0), values.take(right, axis=0)
        result -= low
        result *= (since / (gap if inside else np.maximum(gap, 1)))[:, None]
        result += low
        largest_gap_ns = int(gap.max())  # any gap without a grid point in it is shorter
        if inside and largest_gap_ns <= self.timing.max_gap_ns:
            supported = self._everywhere.copy()
        else:
            supported = (gap > 0) & (gap <= self.timing.max_gap_ns) | (since == 0)
        return VectorView(
            values=result,
            supported=supported,
            skew_ns=anchor_ns - times.item(newest) if newest >= 0 else 0,
            largest_gap_ns=max(largest_gap_ns, anchor_ns - times.item(end - 1)),
            readings=newest + 1 - max(oldest, 0),
        )

    def _empty(self) -> VectorView:
        shape = (self.timing.samples, self.channels)
        return VectorView(
            values=np.zeros(shape),
            supported=np.zeros(self.timing.samples, np.bool_),
            skew_ns=0,
            largest_gap_ns=0,
            readings=0,
        )

    def close(self, anchor_ns: int) -> None:
        """Forget what no window after this anchor can need."""
        first_needed = self._index(anchor_ns - self._span_ns, "right") - 1
        self._start = max(self._start, first_needed)

    def drop_before(self, time_ns: int) -> None:
        """Forget every sample older than this time."""
        self._start = max(self._start, self._index(time_ns))

    def drop_oldest(self) -> Reading:
        """Give up the oldest quarter of the samples, where the bound on memory demands it."""
        first = self._start
        self._start += max((self._end - first) // 4, 1)
        return self._copy(first, self._start)

    def drop_after(self, time_ns: int) -> Sequence[Reading]:
        """Give up every sample newer than this time."""
        end = self._end
        self._end = max(self._index(time_ns, "right"), self._start)
        return [self._copy(self._end, end)] if self._end < end else []

    def _copy(self, first: int, end: int) -> Samples:
        return Samples(
            modality=self._name,
            times_ns=self._times[first:end].copy(),
            values=self._values[first:end].copy(),
        )


Track = ImageTrack | VectorTrack
