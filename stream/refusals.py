"""A cap on how many refusals of one reason are published; all of them are counted. Pure."""

from collections import Counter

MAX_PER_SECOND = 20


class RateCap:
    """At most so many a second for each reason."""

    def __init__(self, per_second: int = MAX_PER_SECOND) -> None:
        self._per_second = per_second
        self._second = 0
        self._counts: Counter[str] = Counter()

    def allows(self, reason: str, now_ns: int) -> bool:
        """Whether one more of this reason may be published in this second."""
        second = now_ns // 1_000_000_000
        if second != self._second:
            self._second = second
            self._counts.clear()
        self._counts[reason] += 1
        return self._counts[reason] <= self._per_second
