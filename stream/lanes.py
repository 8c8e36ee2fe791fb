"""One modality's lane in the aligner: its track, its clock and its time rules.

A lane judges a reading by its own modality alone, so that what it takes and what it refuses does
not depend on how the modalities' deliveries interleave.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from stream.messages import Frame, Kind, Reading, Rejected, Samples
from stream.tracks import LONG_AGO, NEVER, ImageTrack, Timing, Track, VectorTrack

AGREEING = 3  # readings in a row that a leap or a rewind of a clock needs
OVERHEAD_BYTES = 512  # what holding a reading as an object of its own costs besides its data


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedModality:
    """One modality as the aligner needs to know it; ``channels`` 0 learns it from the data."""

    kind: Kind
    timing: Timing
    channels: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What all lanes of a station put up with."""

    max_jump_ns: int
    rewind_ns: int
    budget_bytes: int


@dataclass(slots=True)
class Lane:
    """A modality's track and where its clock stands."""

    name: str
    spec: AlignedModality
    limits: Limits
    track: Track | None = None  # a vector track waits until its channels are known
    newest_ns: int = LONG_AGO
    horizon_ns: int = LONG_AGO  # everything up to here is closed
    restored_ns: int = LONG_AGO  # everything up to here was seen before a restart
    idle: bool = False
    unconfirmed: list[Reading] = field(default_factory=list)  # far ahead, or the very first
    rewound: deque[Reading] = field(default_factory=deque)
    rewound_bytes: int = 0
    strays: int = 0  # readings in a row that did not go back with the others
    expected: set[int] = field(default_factory=set)  # closed, but needed again after a restore

    def __post_init__(self) -> None:
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

    # Where it stands

    @property
    def watermark_ns(self) -> int:
        """No reading older than this is waited for."""
        return self.newest_ns - self.spec.timing.out_of_order_ns

    @property
    def gone_back(self) -> bool:
        """Whether enough readings in a row came from far back."""
        return len(self.rewound) >= AGREEING

    @property
    def live(self) -> bool:
        """Whether windows wait for this modality."""
        return not self.idle and len(self.rewound) < AGREEING

    @property
    def size_bytes(self) -> int:
        """What all readings held take."""
        aside = sum(one.size_bytes for one in self.unconfirmed) + self.rewound_bytes
        return aside + (self.track.size_bytes if self.track is not None else 0)

    def has_passed(self, anchor_ns: int) -> bool:
        """Whether all that a window at this anchor can use has arrived."""
        return self.watermark_ns > anchor_ns + self.spec.timing.reach_ns

    def needs(self, time_ns: int) -> bool:
        """Whether a reading of this time is held, or expected once more after a restore."""
        held = self.track is not None and self.track.holds(time_ns)
        return held or time_ns in self.expected or self._holds_aside(time_ns)

    def _holds_aside(self, time_ns: int) -> bool:
        return any(one.time_ns == time_ns for one in (*self.unconfirmed, *self.rewound))

    # Taking readings

    def take(self, reading: Reading) -> list[Rejected]:
        """Sort a reading in, or hold it while its time is in doubt; returns what is refused."""
        self.idle = False
        if isinstance(reading, Samples):
            return self._take_samples(reading)
        if not isinstance(self.track, ImageTrack):
            return [reject(reading, "wrong_kind", "an image where samples are expected")]
        if self._simply_next(reading.time_ns, reading.time_ns):
            self.track.append(reading)
            self.newest_ns = reading.time_ns
            return []
        return self._take_with_care(reading)

    def _take_samples(self, samples: Samples) -> list[Rejected]:
        channels = samples.values.shape[1]
        if self.track is None:
            self._open_track(channels)
        track, times = self.track, samples.times_ns
        if not isinstance(track, VectorTrack):
            return [reject(samples, "wrong_kind", "samples where an image is expected")]
        if channels != track.channels:
            detail = f"{channels} channels where {track.channels} are expected"
            return [reject(samples, "wrong_channels", detail)]
        count = len(times)
        first_ns = times.item(0)
        last_ns = first_ns if count == 1 else times.item(count - 1)
        if self._simply_next(first_ns, last_ns) and (
            count == 1 or bool((times[1:] > times[:-1]).all())
        ):
            track.append(samples)
            self.newest_ns = last_ns
            return []
        return [refused for one in singly(samples) for refused in self._take_with_care(one)]

    def _simply_next(self, first_ns: int, last_ns: int) -> bool:
        """Whether readings from first to last, in order, need no second look."""
        newest_ns = self.newest_ns
        return (
            newest_ns < first_ns
            and last_ns <= newest_ns + self.limits.max_jump_ns
            and first_ns > self.horizon_ns
            and not (self.unconfirmed or self.rewound or self.expected)
        )

    def _take_with_care(self, reading: Reading) -> list[Rejected]:
        """One frame or sample whose time is not simply the next one."""
        time_ns = reading.time_ns
        assert self.track is not None
        if abs(time_ns) >= NEVER:
            return [reject(reading, "bad_time", f"{time_ns} ns is not a time")]
        if self.track.seen(time_ns) or self._holds_aside(time_ns):
            return [reject(reading, "duplicate", "the same capture time came before")]
        if self._leaps(time_ns):
            return self._doubt(reading)
        refused = self._refute()
        if self.newest_ns != LONG_AGO and time_ns < self.watermark_ns - self.limits.rewind_ns:
            return [*refused, *self._hold(reading)]
        return [*refused, *self._give_up_rewind(), *self._place(reading)]

    def _place(self, reading: Reading) -> list[Rejected]:
        """Take a reading whose time is believed, unless its windows are closed."""
        time_ns = reading.time_ns
        if time_ns <= self.horizon_ns and time_ns not in self.expected:
            return [self.late(reading)]
        self.expected.discard(time_ns)
        match self.track, reading:
            case ImageTrack() as track, Frame() as frame:
                track.insert(frame)
            case VectorTrack() as track, Samples() as samples:
                track.insert(samples)
        self.newest_ns = max(self.newest_ns, time_ns)
        return []

    # Clocks that leap ahead

    def _leaps(self, time_ns: int) -> bool:
        """Whether a time lies too far ahead to be believed alone; a lane's first always does."""
        reference_ns = max(self.newest_ns, self.horizon_ns)
        return reference_ns == LONG_AGO or time_ns > reference_ns + self.limits.max_jump_ns

    @property
    def _settled(self) -> bool:
        return max(self.newest_ns, self.horizon_ns) != LONG_AGO

    def _doubt(self, reading: Reading) -> list[Rejected]:
        """Hold a reading aside until enough others agree with it, or the next one does not."""
        self.unconfirmed.append(reading)
        near = [one for one in self.unconfirmed if self._agree(one, reading)]
        if len(near) >= (AGREEING if self._settled else AGREEING - 1):
            far = [one for one in self.unconfirmed if not self._agree(one, reading)]
            self.unconfirmed = []
            refused = [self._jumped(one, reading.time_ns) for one in far]
            return refused + [late for one in near for late in self._place(one)]
        if len(self.unconfirmed) < AGREEING:
            return []
        return [self._jumped(self.unconfirmed.pop(0), reading.time_ns)]

    def _agree(self, one: Reading, other: Reading) -> bool:
        return abs(one.time_ns - other.time_ns) <= self.limits.max_jump_ns

    def _refute(self) -> list[Rejected]:
        """The next reading leapt not: refuse those that did, place those that only came first."""
        held, self.unconfirmed = self.unconfirmed, []
        refused: list[Rejected] = []
        for one in held:
            if self._leaps(one.time_ns):
                refused.append(self._jumped(one, max(self.newest_ns, self.horizon_ns)))
            else:
                refused += self._place(one)
        return refused

    def _jumped(self, reading: Reading, reference_ns: int) -> Rejected:
        ahead_s = (reading.time_ns - reference_ns) / 1e9
        return reject(reading, "jump", f"{ahead_s:+.3f} s away from its stream")

    def settle_doubts(self) -> list[Rejected]:
        """The stream ends: a lane's only reading is believed, other doubtful ones are refused."""
        if self._settled or len(self.unconfirmed) != 1:
            held, self.unconfirmed = self.unconfirmed, []
            return [self._jumped(one, max(self.newest_ns, held[-1].time_ns)) for one in held]
        return self._place(self.unconfirmed.pop())

    # Clocks that go back

    def _hold(self, reading: Reading) -> list[Rejected]:
        """Keep a reading from far back until the whole station has gone back, within bounds."""
        self.strays = 0
        self.rewound.append(reading)
        self.rewound_bytes += reading.size_bytes + OVERHEAD_BYTES
        refused: list[Rejected] = []
        while self.rewound_bytes > self.limits.budget_bytes:
            oldest = self.rewound.popleft()
            self.rewound_bytes -= oldest.size_bytes + OVERHEAD_BYTES
            refused.append(reject(oldest, "overflow", "held while waiting for a new epoch"))
        return refused

    def _give_up_rewind(self) -> list[Rejected]:
        """A reading came from where the lane was: a few strays do not undo a rewind."""
        if self.gone_back:
            self.strays += 1
            if self.strays < AGREEING:
                return []
        return self.release_rewound()

    def release_rewound(self) -> list[Rejected]:
        """Refuse the readings held: only they went back, not the lane."""
        return [self.late(reading) for reading in self.take_rewound()]

    def take_rewound(self) -> list[Reading]:
        """Hand over the readings held."""
        held = list(self.rewound)
        self.rewound.clear()
        self.rewound_bytes = self.strays = 0
        return held

    def late(self, reading: Reading) -> Rejected:
        """Refuse a reading that came after its window was closed."""
        if reading.time_ns <= self.restored_ns:
            return reject(reading, "duplicate", "delivered before the restart")
        late_by_ns = max(self.watermark_ns, self.horizon_ns) - reading.time_ns
        return reject(reading, "late", f"{late_by_ns / 1e6:.1f} ms behind", late_by_ns)

    # Bounds and memory

    def bound(self) -> list[Rejected]:
        """Give up the oldest readings where the lane holds twice its budget."""
        refused: list[Rejected] = []
        while self.track is not None and self.track.size_bytes > 2 * self.limits.budget_bytes:
            dropped = self.track.drop_oldest()
            refused.append(reject(dropped, "overflow", "its stream is too far ahead"))
        return refused

    def settle(self, anchor_ns: int, reach_ns: int) -> None:
        """Move past a closed window and forget what no later one can need."""
        self.horizon_ns = max(self.horizon_ns, anchor_ns + reach_ns)
        if self.expected:
            oldest_ns = anchor_ns - self.spec.timing.span_ns - 4 * self.spec.timing.period_ns
            self.expected = {time for time in self.expected if time >= oldest_ns}
        if self.track is not None:
            self.track.close(anchor_ns)

    def reset(self) -> None:
        """Begin a new epoch with nothing but the number of channels."""
        self.newest_ns = self.horizon_ns = self.restored_ns = LONG_AGO
        self.unconfirmed, self.expected = [], set()
        self.take_rewound()
        self._open_track(self.channels)

    def memory(self) -> dict[str, Any]:
        """What a snapshot keeps of this lane."""
        held = self.track.held_until(self.horizon_ns) if self.track is not None else []
        return {
            "horizon_ns": self.horizon_ns,
            "channels": self.channels,
            "expected": sorted(self.expected.union(held)),
        }

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take a lane's memory back."""
        self.reset()
        self._open_track(memory["channels"])
        self.horizon_ns = self.restored_ns = memory["horizon_ns"]
        self.expected = set(memory["expected"])


def singly(samples: Samples) -> Iterator[Samples]:
    """The samples of a batch one by one, where their times need a second look."""
    for at in range(len(samples.times_ns)):
        yield Samples(
            modality=samples.modality,
            times_ns=samples.times_ns[at : at + 1],
            values=samples.values[at : at + 1],
        )


def reject(reading: Reading, reason: str, detail: str, late_by_ns: int = 0) -> Rejected:
    """Refuse a reading with its reason."""
    return Rejected(
        modality=reading.modality,
        reason=reason,
        detail=detail,
        time_ns=reading.time_ns,
        reading=reading,
        late_by_ns=late_by_ns,
    )
