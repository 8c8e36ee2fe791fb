"""Which offset may be committed, and what beyond it need not come again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.offsets import Offsets


def test_the_oldest_open_record_is_where_a_successor_begins() -> None:
    offsets = Offsets(5)
    assert offsets.oldest_open == 5
    assert [offsets.read(one) for one in (5, 6, 9)] == [True, True, True]
    assert offsets.oldest_open == 5
    offsets.settle(6)
    assert (offsets.oldest_open, offsets.settled_beyond) == (5, [(6, 7)])
    offsets.settle(5)
    assert (offsets.oldest_open, offsets.settled_beyond) == (9, [])
    offsets.settle(9)
    assert offsets.oldest_open == 10


def test_what_a_predecessor_settled_is_passed_over() -> None:
    offsets = Offsets(3, [(4, 6), (8, 9)])
    assert [offsets.read(one) for one in range(3, 10)] == [
        True,
        False,
        False,
        True,
        True,
        False,
        True,
    ]
    assert offsets.settled_beyond == [(4, 6), (8, 9)]
    offsets.settle(3)
    assert offsets.oldest_open == 6


def test_runs_not_reached_yet_are_handed_on() -> None:
    offsets = Offsets(3, [(4, 6), (20, 30)])
    offsets.read(3)
    assert offsets.settled_beyond == [(4, 6), (20, 30)]


@given(seed=st.integers(0, 10_000))
def test_every_record_is_settled_once_however_often_its_owner_changes(seed: int) -> None:
    random = np.random.default_rng(seed)
    start, runs, settled = 0, [], []
    while start < 40:
        offsets = Offsets(start, runs)
        reached = int(random.integers(start, 41))
        taken = [one for one in range(start, reached) if offsets.read(one)]
        done = [one for one in taken if random.random() < 0.7 or len(settled) > 200]
        for one in random.permutation(done).tolist():
            offsets.settle(one)
        settled += done
        start, runs = offsets.oldest_open, offsets.settled_beyond
        if reached == 40 and not done and random.random() < 0.2:
            break
    assert len(settled) == len(set(settled))
    assert set(range(start)) <= set(settled)
