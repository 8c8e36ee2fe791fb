"""Telling a reader which partitions it loses and gets."""

from collections.abc import Awaitable, Callable, Iterable

from aiokafka import ConsumerRebalanceListener, TopicPartition


class Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]
    """Calls two functions; neither may wait for a lock, since the group waits for both."""

    def __init__(
        self,
        *,
        revoked: Callable[[], Awaitable[None]],
        assigned: Callable[[Iterable[TopicPartition]], None],
    ) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, _partitions: Iterable[TopicPartition]) -> None:
        """Every partition is taken away, before some or all are given back."""
        await self._revoked()

    async def on_partitions_assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Take note of the new partitions; the fetcher may be at work on them already."""
        self._assigned(partitions)
