"""Which deliveries may be acknowledged: those that no window to come can need. Pure."""

from collections import deque
from collections.abc import Callable

from stream.messages import Frame, Reading
from stream.transports.transport import Delivery

Needs = Callable[[str, int], bool]


class Ledger:
    """Deliveries of one station that are not yet acknowledged, by modality."""

    def __init__(self) -> None:
        self._open: dict[str, deque[tuple[tuple[int, ...], Delivery]]] = {}

    def enter(self, reading: Reading, delivery: Delivery) -> None:
        """A delivery became a reading; any of its samples may still be needed."""
        if isinstance(reading, Frame):
            times: tuple[int, ...] = (reading.time_ns,)
        else:  # the newest first: it is the one that is needed longest
            times = tuple(reading.times_ns.tolist()[::-1])
        self._open.setdefault(reading.modality, deque()).append((times, delivery))

    def release(self, needs: Needs) -> list[Delivery]:
        """Take out, oldest first, what is no longer needed."""
        released = []
        for modality, entries in self._open.items():
            while entries and not any(needs(modality, time_ns) for time_ns in entries[0][0]):
                released.append(entries.popleft()[1])
        return released

    def __len__(self) -> int:
        return sum(len(entries) for entries in self._open.values())
