from hypothesis import given
from hypothesis import strategies as st

from stream.transports.kafka_offsets import PartitionOffsets


def test_only_what_is_acknowledged_without_a_gap_is_committed() -> None:
    offsets = PartitionOffsets(5)
    for offset in (5, 6, 8, 9):
        offsets.read(offset)
    offsets.acknowledge(6)
    assert offsets.to_commit is None
    offsets.acknowledge(5)
    assert offsets.to_commit == 8
    offsets.committed(8)
    assert offsets.to_commit is None
    offsets.acknowledge(9)
    offsets.acknowledge(8)
    assert offsets.to_commit == 10


def test_state_is_never_committed() -> None:
    offsets = PartitionOffsets(0, commits=False)
    offsets.read(0)
    offsets.acknowledge(0)
    assert offsets.to_commit is None


@given(st.lists(st.integers(0, 30), unique=True).map(sorted), st.data())
def test_a_successor_begins_at_the_oldest_open_record(read: list[int], data: st.DataObject) -> None:
    acknowledged = data.draw(st.permutations(read).map(lambda order: order[: len(order) // 2]))
    offsets = PartitionOffsets(0)
    for offset in read:
        offsets.read(offset)
    for offset in acknowledged:
        offsets.acknowledge(offset)
    still_open = set(read) - set(acknowledged)
    end = read[-1] + 1 if read else 0
    assert offsets.oldest_open == min(still_open, default=end)
