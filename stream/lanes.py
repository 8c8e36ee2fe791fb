"""One modality's lane in the aligner: its readings by event time, and where its clock stands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream.clocks import NEVER, Clock, Judged, Limits, duplicate, jumped, reject, singly
from stream.messages import Frame, Kind, Reading, Rejected, Samples, TimeSource
from stream.tracks import ImageTrack, Timing, Track, VectorTrack

NOTHING: tuple[Rejected, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedModality:
    """One modality as the aligner needs to know it; ``channels`` 0 learns it from the data."""

    kind: Kind
    timing: Timing
    channels: int = 0


@dataclass(slots=True)
class Lane:
    """A modality's track and clock."""

    name: str
    spec: AlignedModality
    limits: Limits
    clock: Clock = field(init=False)
    reach_ns: int = field(init=False)  # how far beyond an anchor its window looks
    waits_ns: int = field(init=False)  # how far a window's anchor must lie behind the newest time
    most_bytes: int = field(init=False)
    track: Track | None = None  # a vector track waits until its channels are known
    idle: bool = False
    time_source: TimeSource = TimeSource.CAPTURE  # of the last reading
    expected: set[int] = field(default_factory=set)  # closed, but needed again after a restore

    def __post_init__(self) -> None:
        timing = self.spec.timing
        self.clock = Clock(self.limits, timing.out_of_order_ns)
        self.reach_ns = timing.reach_ns
        self.waits_ns = timing.out_of_order_ns + timing.reach_ns
        self.most_bytes = 2 * self.limits.budget_bytes
        self._open_track(self.spec.channels)

    def _open_track(self, channels: int) -> None:
        if self.spec.kind is Kind.IMAGE:
            self.track = ImageTrack(self.spec.timing)
        elif channels:
            self.track = VectorTrack(self.spec.timing, channels, self.name)

    @property
    def channels(self) -> int:
        """Channels of a vector modality, 0 where they are not known yet."""
        return self.track.channels if isinstance(self.track, VectorTrack) else self.spec.channels

    @property
    def live(self) -> bool:
        """Whether windows wait for this modality."""
        return not (self.idle or self.clock.gone_back)

    @property
    def size_bytes(self) -> int:
        """What all readings held take."""
        return self.clock.size_bytes + (self.track.size_bytes if self.track is not None else 0)

    def has_passed(self, anchor_ns: int) -> bool:
        """Whether all that a window at this anchor can use has arrived."""
        return self.clock.newest_ns - self.waits_ns > anchor_ns

    def needs(self, time_ns: int) -> bool:
        """Whether a reading of this time is held, or expected once more after a restore."""
        held = self.track is not None and self.track.holds(time_ns)
        return held or time_ns in self.expected or self.clock.holds(time_ns)

    # Taking readings

    def take(self, reading: Reading) -> Sequence[Rejected]:
        """Sort a reading in, or hold it while its time is in doubt; returns what is refused."""
        self.time_source = reading.time_source
        if isinstance(reading, Samples):
            return self._take_samples(reading)
        track, time_ns = self.track, reading.time_ns
        if not isinstance(track, ImageTrack):
            return [reject(reading, "wrong_kind", "an image where samples are expected")]
        if self.expected or not self.clock.follows(time_ns, time_ns):
            return self._take_with_care(track, reading)
        track.append(reading)
        self.clock.newest_ns = time_ns
        return self._bound(track) if track.size_bytes > self.most_bytes else NOTHING

    def _take_samples(self, samples: Samples) -> Sequence[Rejected]:
        track, times = self.track, samples.times_ns
        count, channels = samples.values.shape
        if not isinstance(track, VectorTrack) or channels != track.channels:
            return self._take_unfit(samples, channels)
        if count == 0:
            return NOTHING
        first_ns = times.item(0)
        last_ns = first_ns if count == 1 else times.item(-1)
        if (
            self.expected
            or not self.clock.follows(first_ns, last_ns)
            or (count > 1 and not (times[1:] > times[:-1]).all())
        ):
            return [late for one in singly(samples) for late in self._take_with_care(track, one)]
        track.append(samples)
        self.clock.newest_ns = last_ns
        return self._bound(track) if track.size_bytes > self.most_bytes else NOTHING

    def _take_unfit(self, samples: Samples, channels: int) -> Sequence[Rejected]:
        """Samples of another width than the track, which may be only because it has none yet."""
        if self.track is None and channels:
            self._open_track(channels)
            return self._take_samples(samples)
        if isinstance(self.track, VectorTrack):
            detail = f"{channels} channels where {self.track.channels} are expected"
            return [reject(samples, "wrong_channels", detail)]
        return [reject(samples, "wrong_kind", "samples where an image is expected")]

    def _take_with_care(self, track: Track, reading: Reading) -> list[Rejected]:
        """One frame or sample whose time is not simply the next one."""
        if track.seen(reading.time_ns):
            return [duplicate(reading)]
        return [*self._settle_judged(self.clock.judge(reading)), *self._bound(track)]

    def _settle_judged(self, judged: Judged) -> list[Rejected]:
        refused = judged.refused
        if judged.undo_after_ns != NEVER and self.track is not None:
            undone = self.track.drop_after(judged.undo_after_ns)
            refused += [jumped(one, judged.undo_after_ns) for one in undone]
        late = [one for one in judged.believed if not self._insert(one)]
        return [*refused, *map(self.clock.late, late)]

    def _insert(self, reading: Reading) -> bool:
        """Put a reading at its place; not where its windows are closed."""
        time_ns = reading.time_ns
        if time_ns <= self.clock.horizon_ns and time_ns not in self.expected:
            return False
        self.expected.discard(time_ns)
        match self.track, reading:
            case ImageTrack() as track, Frame() as frame:
                track.insert(frame)
            case VectorTrack() as track, Samples() as samples:
                track.insert(samples)
        self.clock.newest_ns = max(self.clock.newest_ns, time_ns)
        return True

    def end(self) -> list[Rejected]:
        """The stream ends: decide about the readings that waited for others to agree."""
        return self._settle_judged(self.clock.end())

    # Windows and bounds

    def settle(self, anchor_ns: int, reach_ns: int) -> None:
        """Move past a closed window and forget what no later one can need."""
        self.clock.horizon_ns = max(self.clock.horizon_ns, anchor_ns + reach_ns)
        if self.expected:
            oldest_ns = anchor_ns - self.spec.timing.span_ns - 4 * self.spec.timing.period_ns
            self.expected = {time for time in self.expected if time >= oldest_ns}
        if self.track is not None:
            self.track.close(anchor_ns)

    def _bound(self, track: Track) -> list[Rejected]:
        """Give up the oldest readings where the lane holds twice its budget."""
        refused: list[Rejected] = []
        while track.size_bytes > self.most_bytes:
            refused.append(reject(track.drop_oldest(), "overflow", "its stream is too far ahead"))
        return refused

    # Epochs and memory

    def turn(self) -> None:
        """Begin a new epoch with nothing but the number of channels."""
        self.clock = self.clock.turned()
        self.expected = set()
        self._open_track(self.channels)

    def memory(self) -> dict[str, Any]:
        """What a snapshot keeps of this lane."""
        held = self.track.held_until(self.clock.horizon_ns) if self.track is not None else []
        return {
            "clock": self.clock.memory(),
            "channels": self.channels,
            "expected": sorted(self.expected.union(held)),
        }

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take a fresh lane back to where a snapshot left it."""
        self._open_track(memory["channels"])
        self.clock.restore(memory["clock"])
        self.expected = set(memory["expected"])
