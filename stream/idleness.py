"""When a silent modality may be declared idle: never while its source has more to give. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from stream.messages import Idle


@dataclass(slots=True)
class _Ear:
    """When a modality was last heard, and since when its source has had nothing to give."""

    heard_ns: int
    empty_since_ns: int | None = None
    idle: bool = False
    exhausted: bool = False  # at the last check


class Idleness:
    """Counts silence for each modality of a station, only while the source is exhausted."""

    def __init__(self, modalities: Iterable[str], timeout_ns: int, now_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._ears = {name: _Ear(heard_ns=now_ns) for name in modalities}

    def heard(self, modality: str, now_ns: int) -> None:
        """A reading of this modality arrived; after a silence of all, none is idle any more."""
        ear = self._ears[modality]
        ear.heard_ns, ear.empty_since_ns = now_ns, None
        if all(one.idle for one in self._ears.values()):
            for one in self._ears.values():
                one.idle, one.empty_since_ns = False, None
        ear.idle = False

    def check(self, now_ns: int, exhausted: Callable[[str], bool]) -> list[Idle]:
        """Modalities that have now been silent for long enough, each told once."""
        found = []
        for name, ear in self._ears.items():
            ear.exhausted = exhausted(name)
            if not ear.exhausted:
                ear.empty_since_ns = None
            elif ear.empty_since_ns is None or ear.empty_since_ns > now_ns:
                ear.empty_since_ns = now_ns
            if ear.idle or ear.empty_since_ns is None:
                continue
            if now_ns - ear.empty_since_ns >= self._timeout_ns:
                ear.idle = True
                found.append(Idle(modality=name))
        return found

    def silent_ns(self, now_ns: int) -> int:
        """For how long the whole station has been silent; 0 unless every modality is idle."""
        if not all(ear.idle for ear in self._ears.values()):
            return 0
        return now_ns - max(ear.heard_ns for ear in self._ears.values())

    @property
    def caught_up(self) -> bool:
        """Whether every source had nothing more to give at the last check: no backlog."""
        return all(ear.exhausted for ear in self._ears.values())
