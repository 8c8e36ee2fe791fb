from hypothesis import given
from hypothesis import strategies as st

from stream.batcher import Batch, Batcher
from stream.messages import ClosedBy, Window

MS = 1_000_000


def window(anchor: int, station: str = "a") -> Window:
    return Window(
        station=station, epoch=0, anchor_ns=anchor, closed_by=ClosedBy.WATERMARK, views={}
    )


def batcher(max_batch: int = 4, max_wait_ns: int = 5 * MS) -> Batcher:
    return Batcher(lambda one: one.station, max_batch, max_wait_ns)


def anchors(batches: list[Batch]) -> list[list[int]]:
    return [[one.anchor_ns for one in batch.windows] for batch in batches]


def test_a_full_batch_goes_out_at_once() -> None:
    stage = batcher()
    out = [stage.add(window(at), now_ns=0) for at in range(4)]
    assert [anchors(one) for one in out] == [[], [], [], [[0, 1, 2, 3]]]
    assert len(stage) == 0
    assert stage.deadline_ns is None


def test_a_batch_that_is_not_full_goes_out_when_its_oldest_window_has_waited() -> None:
    stage = batcher()
    stage.add(window(0), now_ns=10 * MS)
    stage.add(window(1), now_ns=14 * MS)
    assert stage.deadline_ns == 15 * MS
    assert stage.expire(15 * MS - 1) == []
    assert anchors(stage.expire(15 * MS)) == [[0, 1]]
    assert stage.expire(99 * MS) == []


def test_windows_of_different_groups_are_never_in_one_batch() -> None:
    stage = batcher(max_batch=2)
    assert stage.add(window(0, "a"), 0) == []
    assert stage.add(window(1, "b"), 1 * MS) == []
    assert anchors(stage.add(window(2, "a"), 2 * MS)) == [[0, 2]]
    assert stage.deadline_ns == 6 * MS
    assert anchors(stage.flush()) == [[1]]


def test_a_clock_that_was_set_back_holds_no_window_for_an_hour() -> None:
    stage = batcher()
    stage.add(window(0), now_ns=3_600_000 * MS)
    assert anchors(stage.expire(0)) == [[0]]


def test_without_waiting_every_window_is_due_at_once() -> None:
    stage = batcher(max_wait_ns=0)
    stage.add(window(0), now_ns=7)
    assert anchors(stage.expire(7)) == [[0]]


def test_a_restored_batcher_is_empty_because_its_windows_are_made_again() -> None:
    stage, other = batcher(), batcher()
    stage.add(window(0), 0)
    other.restore(stage.snapshot())
    assert len(other) == 0


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.booleans()), max_size=60),
    st.integers(1, 5),
)
def test_every_window_goes_out_once_in_the_order_of_its_group(
    steps: list[tuple[str, int, bool]], max_batch: int
) -> None:
    stage, now_ns, batches = batcher(max_batch), 0, []
    for at, (group, later_ms, expire) in enumerate(steps):
        now_ns += later_ms * MS
        batches += stage.add(window(at, group), now_ns)
        if expire:
            batches += stage.expire(now_ns)
            assert stage.deadline_ns is None or stage.deadline_ns > now_ns
    batches += stage.flush()
    assert len(stage) == 0
    assert all(len({one.station for one in batch.windows}) == 1 for batch in batches)
    assert all(1 <= len(batch.windows) <= max_batch for batch in batches)
    for group in "abc":
        put = [at for at, (name, _, _) in enumerate(steps) if name == group]
        got = [one.anchor_ns for batch in batches for one in batch.windows if one.station == group]
        assert got == put
