"""Which offset of a partition may be committed, and what beyond it is done already. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence

Run = tuple[int, int]  # from an offset up to before another


class Offsets:
    """What was read from one topic's partition and is still open.

    ``settled`` are the runs at or beyond ``start`` that need not come again although older ones do.
    """

    def __init__(self, start: int, settled: Iterable[Sequence[int]] = ()) -> None:
        self.next = start
        self._before = [(first, end) for first, end in settled]  # by whoever came before
        self._open: deque[int] = deque()
        self._settled: set[int] = set()

    def read(self, offset: int) -> bool:
        """Take note of a record; False where it was settled before, and is to be passed over."""
        self.next = offset + 1
        self._before = [run for run in self._before if run[1] > offset]
        if any(first <= offset for first, _ in self._before):
            if self._open:
                self._open.append(offset)
                self._settled.add(offset)
            return False
        self._open.append(offset)
        return True

    def settle(self, offset: int) -> None:
        """Take note that a record need not come again."""
        self._settled.add(offset)
        while self._open and self._open[0] in self._settled:
            self._settled.discard(self._open.popleft())

    @property
    def oldest_open(self) -> int:
        """Where a successor has to begin."""
        return self._open[0] if self._open else self.next

    @property
    def settled_beyond(self) -> list[Run]:
        """The runs from there on that a successor may pass over, in order."""
        runs: list[Run] = []
        for offset in sorted(self._settled):
            if runs and runs[-1][1] == offset:
                runs[-1] = (runs[-1][0], offset + 1)
            else:
                runs.append((offset, offset + 1))
        later = [run for run in self._before if run[1] > self.next]
        return [*runs, *later]
