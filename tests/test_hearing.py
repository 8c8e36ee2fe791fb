"""What is counted between windows."""

from stream.hearing import Hearing
from stream.messages import ClosedBy, Window


def window(epoch: int, anchor_ns: int) -> Window:
    return Window(
        station="a", epoch=epoch, anchor_ns=anchor_ns, closed_by=ClosedBy.WATERMARK, views={}
    )


def test_refusals_belong_to_the_window_that_their_modality_had_reached() -> None:
    hearing = Hearing(["camera", "arm"])
    hearing.refuse("camera", "late", 1, (0, 5))
    hearing.refuse("camera", "not_an_image", 1, (0, 15))
    hearing.refuse("arm", "bad_time", 3, (1, 2))
    assert hearing.take(window(0, 10), {}).refused == {"camera": {"late": 1}}
    assert hearing.take(window(0, 20), {}).refused == {"camera": {"malformed": 1}}
    assert hearing.take(window(1, 2), {}).refused == {"arm": {"malformed": 3}}
    assert hearing.take(window(1, 3), {}).refused == {}


def test_a_flood_of_refusals_that_no_window_takes_does_not_grow_its_memory() -> None:
    hearing = Hearing(["camera"])
    for _ in range(10_000):
        hearing.refuse("camera", "not_an_image", 1, (0, 5))
    assert hearing.snapshot()["refused"] == [[0, 5, "camera", "malformed", 10_000]]
    again = Hearing(["camera"])
    again.restore(hearing.snapshot())
    assert again.take(window(0, 5), {}).refused == {"camera": {"malformed": 10_000}}
