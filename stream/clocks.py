"""Which of a modality's capture times are believed; readings in doubt are held aside.

A clock judges a reading by its own modality alone, so that what is taken and what is refused does
not depend on how the deliveries of the modalities interleave.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from stream.messages import Reading, Rejected, Samples

LONG_AGO = -(1 << 62)
NEVER = 1 << 62
AGREEING = 3  # readings in a row that a leap or a rewind of a clock needs
OVERHEAD_BYTES = 512  # what holding a reading as an object of its own costs besides its data


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the clocks and buffers of a station put up with."""

    max_jump_ns: int
    rewind_ns: int
    budget_bytes: int


class Aside(OrderedDict[int, Reading]):
    """Readings held in order of arrival, by capture time."""

    size_bytes: int = 0

    def hold(self, reading: Reading) -> None:
        """Take a reading in."""
        self[reading.time_ns] = reading
        self.size_bytes += reading.size_bytes + OVERHEAD_BYTES

    def give_up(self) -> Reading:
        """Hand over the oldest arrival."""
        _, reading = self.popitem(last=False)
        self.size_bytes -= reading.size_bytes + OVERHEAD_BYTES
        return reading

    def give_all(self) -> list[Reading]:
        """Hand over all of them."""
        return [self.give_up() for _ in range(len(self))]


@dataclass(slots=True)
class Judged:
    """Readings whose times are believed, in the order to take them, and those refused.

    Whatever was taken with a time after ``undo_after_ns`` is to be refused as well.
    """

    believed: list[Reading] = field(default_factory=list)
    refused: list[Rejected] = field(default_factory=list)
    undo_after_ns: int = NEVER


@dataclass(slots=True)
class Clock:
    """Where a modality's event time stands, and the readings that do not fit it yet."""

    limits: Limits
    out_of_order_ns: int
    newest_ns: int = LONG_AGO
    horizon_ns: int = LONG_AGO  # everything up to here is closed
    restored_ns: int = LONG_AGO  # everything up to here was closed before a restart
    leapt_from_ns: int = LONG_AGO  # the newest time before the last leap that was believed
    leapt_to_ns: int = LONG_AGO
    left_ns: int = LONG_AGO  # where the clock stood before it last went back
    stale_ns: int = LONG_AGO  # the same after a restart, until the readings since then come again
    unconfirmed: Aside = field(default_factory=Aside)  # far ahead, or the very first
    rewound: Aside = field(default_factory=Aside)  # from far back
    strays: int = 0  # readings in a row that did not go back with the others

    @property
    def watermark_ns(self) -> int:
        """No reading older than this is waited for."""
        return self.newest_ns - self.out_of_order_ns

    @property
    def gone_back(self) -> bool:
        """Whether enough readings in a row came from far back."""
        return len(self.rewound) >= AGREEING

    @property
    def size_bytes(self) -> int:
        """What the readings held aside take."""
        return self.unconfirmed.size_bytes + self.rewound.size_bytes

    @property
    def _reference_ns(self) -> int:
        return max(self.newest_ns, self.horizon_ns)

    def holds(self, time_ns: int) -> bool:
        """Whether a reading of this time is held aside."""
        return time_ns in self.unconfirmed or time_ns in self.rewound

    def follows(self, first_ns: int, last_ns: int) -> bool:
        """Whether readings from first to last, in order, are simply the next ones."""
        newest_ns = self.newest_ns
        return (
            newest_ns < first_ns > self.horizon_ns
            and last_ns <= newest_ns + self.limits.max_jump_ns
            and not (self.unconfirmed or self.rewound)
        )

    def judge(self, reading: Reading) -> Judged:
        """Believe a reading, refuse it, or hold it aside; settle what was held before it."""
        if abs(reading.time_ns) >= NEVER:
            return Judged(refused=[reject(reading, "bad_time", f"{reading.time_ns} ns")])
        if self.holds(reading.time_ns) or self._left_behind(reading.time_ns):
            return Judged(refused=[duplicate(reading)])
        if self._leaps(reading):
            return self._doubt(reading)
        judged = self._refute()
        rewind_ns = self.watermark_ns - self.limits.rewind_ns
        if self.newest_ns != LONG_AGO and reading.time_ns < rewind_ns:
            judged.refused += self._hold(reading)
            if self._leap_taken_back():
                judged.undo_after_ns = self.newest_ns = self.leapt_from_ns
                judged.believed += self.rewound.give_all()
        else:
            judged.refused += self._give_up_rewind()
            judged.believed.append(reading)
        return judged

    def _left_behind(self, time_ns: int) -> bool:
        """Whether a log gives once more, after a restart, what came before the last rewind."""
        if time_ns <= self.stale_ns - self.limits.rewind_ns:
            self.stale_ns = LONG_AGO
        return time_ns <= self.stale_ns

    # Leaping ahead

    def _leaps(self, reading: Reading) -> bool:
        """Whether a time lies too far ahead to be believed alone; the very first always does."""
        reference_ns = self._reference_ns
        return reference_ns == LONG_AGO or reading.time_ns > reference_ns + self.limits.max_jump_ns

    def _doubt(self, reading: Reading) -> Judged:
        """Hold a reading until enough others agree with it, or the next one does not."""
        self.unconfirmed.hold(reading)
        near = [one for one in self.unconfirmed.values() if self._agree(one, reading)]
        if len(near) >= (AGREEING - 1 if self._reference_ns == LONG_AGO else AGREEING):
            held = self.unconfirmed.give_all()
            far = [jumped(one, reading.time_ns) for one in held if not self._agree(one, reading)]
            self.leapt_from_ns, self.leapt_to_ns = self.newest_ns, min(r.time_ns for r in near)
            return Judged(near, far)
        if len(self.unconfirmed) < AGREEING:
            return Judged()
        return Judged(refused=[jumped(self.unconfirmed.give_up(), reading.time_ns)])

    def _agree(self, one: Reading, other: Reading) -> bool:
        return abs(one.time_ns - other.time_ns) <= self.limits.max_jump_ns

    def _refute(self) -> Judged:
        """The next reading did not leap: those that did are refused."""
        judged = Judged()
        for one in self.unconfirmed.give_all():
            if self._leaps(one):
                judged.refused.append(jumped(one, self._reference_ns))
            else:  # it was the very first, and windows were closed without this modality since
                judged.believed.append(one)
        return judged

    def end(self) -> Judged:
        """The stream ends: an only reading is believed, others in doubt are refused."""
        held = self.unconfirmed.give_all()
        if len(held) == 1 and self._reference_ns == LONG_AGO:
            return Judged(believed=held)
        detail = "no other readings agree with its time"
        return Judged(refused=[reject(one, "jump", detail) for one in held])

    # Going back

    def turned(self) -> "Clock":
        """The clock of a new epoch; ``rewound`` has been taken from this one."""
        return Clock(self.limits, self.out_of_order_ns, left_ns=self.newest_ns)

    def memory(self) -> dict[str, int]:
        """What a snapshot keeps; a rewind that the clock has made good again is forgotten."""
        far_back = max(self.newest_ns, self.horizon_ns) < self.left_ns - self.limits.rewind_ns
        left_ns = self.left_ns if far_back else LONG_AGO
        return {"horizon_ns": self.horizon_ns, "left_ns": left_ns}

    def restore(self, memory: Mapping[str, int]) -> None:
        """Take a fresh clock back to where a snapshot left it."""
        self.horizon_ns = self.restored_ns = memory["horizon_ns"]
        self.left_ns = self.stale_ns = memory["left_ns"]

    def _hold(self, reading: Reading) -> list[Rejected]:
        """Keep a reading from far back until the whole station has gone back, within bounds."""
        self.strays = 0
        self.rewound.hold(reading)
        refused: list[Rejected] = []
        while self.rewound.size_bytes > self.limits.budget_bytes:
            detail = "held while waiting for a new epoch"
            refused.append(reject(self.rewound.give_up(), "overflow", detail))
        return refused

    def _leap_taken_back(self) -> bool:
        """Whether the clock is again where it leapt from, before a window was closed beyond."""
        return (
            self.gone_back
            and self.leapt_from_ns != LONG_AGO
            and self.horizon_ns < self.leapt_to_ns
            and all(
                self.leapt_from_ns - self.out_of_order_ns <= time_ns < self.leapt_to_ns
                for time_ns in self.rewound
            )
        )

    def _give_up_rewind(self) -> list[Rejected]:
        """A reading came from where the clock was; a few strays do not undo a rewind."""
        if self.gone_back:
            self.strays += 1
            if self.strays < AGREEING:
                return []
        return self.release_rewound()

    def release_rewound(self) -> list[Rejected]:
        """Refuse the readings from far back: they alone went back, not the clock."""
        self.strays = 0
        return [self.late(reading) for reading in self.rewound.give_all()]

    def late(self, reading: Reading) -> Rejected:
        """Refuse a reading that came after its window was closed."""
        if reading.time_ns <= self.restored_ns:
            return reject(reading, "duplicate", "delivered before the restart")
        late_by_ns = max(self.watermark_ns, self.horizon_ns) - reading.time_ns
        return reject(reading, "late", f"{late_by_ns / 1e6:.1f} ms behind", late_by_ns)


def jumped(reading: Reading, reference_ns: int) -> Rejected:
    """Refuse a reading whose time lies too far from those around it."""
    away_s = (reading.time_ns - reference_ns) / 1e9
    return reject(reading, "jump", f"{away_s:+.3f} s away from its stream")


def duplicate(reading: Reading) -> Rejected:
    """Refuse a reading that is there already."""
    return reject(reading, "duplicate", "the same capture time came before")


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


def singly(samples: Samples) -> Iterator[Samples]:
    """The samples of a batch one by one, where their times need a second look."""
    if len(samples.times_ns) == 1:
        yield samples
        return
    for at in range(len(samples.times_ns)):
        yield Samples(
            modality=samples.modality,
            times_ns=samples.times_ns[at : at + 1],
            values=samples.values[at : at + 1],
            names=samples.names,
            units=samples.units,
        )
