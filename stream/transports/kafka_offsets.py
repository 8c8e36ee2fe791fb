"""Which offset of a partition may be committed: pure bookkeeping."""

from aiokafka import ConsumerRecord

from stream.offsets import Offsets
from stream.transports.transport import Delivery


class PartitionOffsets:
    """What was read from one partition and is not yet acknowledged.

    Offsets below ``live_from`` were there before.
    """

    def __init__(self, start: int, *, live_from: int = 0, commits: bool = True) -> None:
        self.live_from = live_from
        self.commits = commits
        self._offsets = Offsets(start)
        self._committed = start

    @property
    def next(self) -> int:
        """The offset to read next."""
        return self._offsets.next

    def delivery(self, record: ConsumerRecord, now_ns: int) -> Delivery:
        """Take note of a record that was read, and give it as what it is to the stream."""
        self.read(record.offset)
        return Delivery(
            topic=record.topic,
            payload=record.value or b"",
            key=(record.key or b"").decode(errors="replace"),
            headers={name: value.decode(errors="replace") for name, value in record.headers},
            broker_time_ns=record.timestamp * 1_000_000,
            received_ns=now_ns,
            retained=record.offset < self.live_from,
            partition=record.partition,
            offset=record.offset,
            position=(self, record.offset),
        )

    def read(self, offset: int) -> None:
        """Take note of a record; offsets only grow, with gaps where a transaction ended."""
        self._offsets.read(offset)

    def acknowledge(self, offset: int) -> None:
        """Take note that a record need not come again."""
        self._offsets.settle(offset)

    @property
    def oldest_open(self) -> int:
        """Where a successor would have to begin."""
        return self._offsets.oldest_open

    @property
    def to_commit(self) -> int | None:
        """The offset to commit, or None where nothing has changed."""
        offset = self.oldest_open
        return offset if self.commits and offset != self._committed else None

    def committed(self, offset: int) -> None:
        """Take note of what the broker now holds."""
        self._committed = offset
