"""Windows of many stations into batches that one model can take at once. Pure."""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from stream.messages import Window

Group: TypeAlias = Callable[[Window], Hashable]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Windows of one group, in the order they came; ``since_ns`` is when the first one did."""

    group: Hashable
    since_ns: int
    windows: Sequence[Window]

    def without(self, stations: Collection[str]) -> "Batch":
        """The batch less the windows of these stations."""
        return replace(self, windows=[one for one in self.windows if one.station not in stations])


class Batcher:
    """Windows of one group (checkpoint and shape) go out together, in the order they came."""

    def __init__(self, group: Group, max_batch: int, max_wait_ns: int) -> None:
        self._group = group
        self._max_batch = max_batch
        self._max_wait_ns = max_wait_ns
        self._waiting: dict[Hashable, deque[tuple[int, Window]]] = {}

    def add(self, window: Window, now_ns: int) -> list[Batch]:
        """Take a window; return the batch that it fills, if any."""
        key = self._group(window)
        queue = self._waiting.setdefault(key, deque())
        queue.append((now_ns, window))
        return [self._take(key)] if len(queue) >= self._max_batch else []

    def expire(self, now_ns: int) -> list[Batch]:
        """Return the batches whose oldest window has waited long enough."""
        due = [key for key, queue in self._waiting.items() if self._is_due(queue[0][0], now_ns)]
        return [self._take(key) for key in due]

    def _is_due(self, since_ns: int, now_ns: int) -> bool:
        """A wall clock that was set back must not hold windows until it has caught up."""
        return not since_ns <= now_ns < since_ns + self._max_wait_ns

    def drop(self, stations: Collection[str]) -> None:
        """Forget the windows of these stations."""
        for key, queue in list(self._waiting.items()):
            kept = deque(entry for entry in queue if entry[1].station not in stations)
            if kept:
                self._waiting[key] = kept
            else:
                del self._waiting[key]

    def flush(self) -> list[Batch]:
        """Return everything that waits."""
        return [self._take(key) for key in list(self._waiting)]

    @property
    def deadline_ns(self) -> int | None:
        """When the next batch is due, if any waits."""
        starts = [queue[0][0] for queue in self._waiting.values()]
        return min(starts) + self._max_wait_ns if starts else None

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())

    def snapshot(self) -> dict[str, object]:
        """Nothing: the windows that wait are made again from readings not yet acknowledged."""
        return {}

    def restore(self, memory: object) -> None:
        """Nothing to take back."""

    def _take(self, key: Hashable) -> Batch:
        queue = self._waiting[key]
        taken = [queue.popleft() for _ in range(min(self._max_batch, len(queue)))]
        if not queue:
            del self._waiting[key]
        return Batch(group=key, since_ns=taken[0][0], windows=[window for _, window in taken])
