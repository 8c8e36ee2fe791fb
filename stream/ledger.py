"""Which deliveries may be acknowledged: those that no window to come can need. Pure."""

from collections import deque
from collections.abc import Callable

from stream.transports.transport import Delivery

Needs = Callable[[str, int], bool]


class Ledger:
    """Deliveries of one station that are not yet acknowledged, by modality."""

    def __init__(self) -> None:
        self._open: dict[str, deque[tuple[int, Delivery]]] = {}

    def enter(self, modality: str, time_ns: int, delivery: Delivery) -> None:
        """A delivery became a reading; ``time_ns`` is that of its newest sample."""
        self._open.setdefault(modality, deque()).append((time_ns, delivery))

    def release(self, needs: Needs) -> list[Delivery]:
        """Take out, oldest first, what is no longer needed."""
        released = []
        for modality, entries in self._open.items():
            while entries and not needs(modality, entries[0][0]):
                released.append(entries.popleft()[1])
        return released

    def __len__(self) -> int:
        return sum(len(entries) for entries in self._open.values())
