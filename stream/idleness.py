"""When a silent modality may be declared idle: never while its source has more to give. Pure.

Only time in which somebody listened counts as silence. A worker that stood still (suspended,
swapped out, busy with one long computation) finds at its next look that much time has passed;
what was sent meanwhile may still wait in its connection, so such a look counts for no more
than ``stride_ns``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stream.messages import Idle


@dataclass(slots=True)
class _Ear:
    """For how long a modality was listened to in vain."""

    unheard_ns: int = 0
    empty_ns: int | None = None  # of it, while its source had nothing to give; None: it had
    idle: bool = False
    exhausted: bool = False  # at the last check

    def listened(self, passed_ns: int) -> None:
        self.unheard_ns += passed_ns
        if not self.exhausted:
            self.empty_ns = None
        else:
            self.empty_ns = 0 if self.empty_ns is None else self.empty_ns + passed_ns


class Idleness:
    """Counts silence for each modality of a station, only while the source is exhausted."""

    def __init__(
        self, modalities: Iterable[str], timeout_ns: int, stride_ns: int, now_ns: int
    ) -> None:
        self._timeout_ns = timeout_ns
        self._stride_ns = stride_ns  # the most that one check counts for
        self._checked_ns = now_ns
        self._ears = {name: _Ear() for name in modalities}

    def heard(self, modality: str) -> None:
        """A reading of this modality arrived; after a silence of all, none is idle any more."""
        ear = self._ears[modality]
        ear.unheard_ns, ear.empty_ns = 0, None
        if all(one.idle for one in self._ears.values()):
            for one in self._ears.values():
                one.idle, one.empty_ns = False, None
        ear.idle = False

    def check(self, now_ns: int, exhausted: Callable[[str], bool]) -> list[Idle]:
        """Modalities that have now been silent for long enough, each told once."""
        passed_ns = min(max(now_ns - self._checked_ns, 0), self._stride_ns)
        self._checked_ns = now_ns
        found = []
        for name, ear in self._ears.items():
            ear.exhausted = exhausted(name)
            ear.listened(passed_ns)
            if not ear.idle and ear.empty_ns is not None and ear.empty_ns >= self._timeout_ns:
                ear.idle = True
                found.append(Idle(modality=name))
        return found

    @property
    def silent_ns(self) -> int:
        """For how long the whole station has been silent; 0 unless every modality is idle."""
        if not all(ear.idle for ear in self._ears.values()):
            return 0
        return min(ear.unheard_ns for ear in self._ears.values())

    @property
    def caught_up(self) -> bool:
        """Whether every source had nothing more to give at the last check: no backlog."""
        return all(ear.exhausted for ear in self._ears.values())
