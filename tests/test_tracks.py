import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.messages import Frame, Samples
from stream.tracks import ImageTrack, Timing, VectorTrack

MS = 1_000_000
PERIOD = 8 * MS
IMAGES = Timing(period_ns=66 * MS, out_of_order_ns=50 * MS)
VECTORS = Timing(period_ns=PERIOD, out_of_order_ns=50 * MS, samples=4, max_gap_ns=4 * PERIOD)


def frame(time_ns: int, size: int = 10) -> Frame:
    return Frame(modality="camera", time_ns=time_ns, data=bytes(size), format="jpeg")


def samples(times_ns: list[int], channels: int = 2) -> Samples:
    times = np.array(times_ns, np.int64)
    values = np.stack([times * (c + 1.0) for c in range(channels)], axis=1)
    return Samples(modality="joints", times_ns=times, values=values)


def images(*times_ns: int) -> ImageTrack:
    track = ImageTrack(IMAGES)
    for time_ns in times_ns:
        track.append(frame(time_ns))
    return track


def vectors(*times_ns: int) -> VectorTrack:
    track = VectorTrack(VECTORS, 2, "joints")
    if times_ns:
        track.append(samples(list(times_ns)))
    return track


# Images


def test_a_window_takes_the_latest_frame_not_after_its_anchor_and_the_one_before() -> None:
    view = images(0, 60 * MS, 130 * MS).view(100 * MS)
    assert view.frame is not None
    assert view.previous is not None
    assert (view.previous.time_ns, view.frame.time_ns) == (0, 60 * MS)
    assert (view.skew_ns, view.largest_gap_ns) == (40 * MS, 60 * MS)


def test_a_frame_is_masked_once_it_is_older_than_one_and_a_half_periods() -> None:
    assert images(0).view(99 * MS).present
    late = images(0).view(99 * MS + 1)
    assert not late.present
    assert late.skew_ns == 99 * MS + 1
    assert not images().view(0).present
    assert not images(5).view(4).present


@given(st.permutations(range(12)))
def test_frames_inserted_in_any_order_lie_in_order(order: list[int]) -> None:
    track = ImageTrack(IMAGES)
    for at in order:
        track.insert(frame(at * MS, size=at))
    assert track.held_until(11 * MS) == [at * MS for at in range(12)]
    assert track.first_after(4 * MS) == 5 * MS
    assert track.times_between(4 * MS, 6 * MS).tolist() == [5 * MS, 6 * MS]
    assert track.size_bytes == sum(range(12))


def test_a_closed_window_leaves_the_two_frames_that_the_next_one_may_need() -> None:
    track = images(0, 1, 2, 3, 4)
    track.close(3)
    assert track.held_until(9) == [2, 3, 4]
    assert track.size_bytes == 30
    assert not track.holds(1)
    assert track.seen(1)
    assert not track.seen(7)


def test_dropping_hands_over_the_oldest_frame() -> None:
    track = images(5, 6)
    assert track.drop_oldest().time_ns == 5
    assert (track.held_until(9), track.size_bytes) == ([6], 10)


# Vectors


def test_a_straight_line_is_interpolated_without_error() -> None:
    track = vectors(*[at * PERIOD + 3 * MS for at in range(-1, 8)])
    anchor = 5 * PERIOD
    view = track.view(anchor)
    grid = anchor - np.arange(3, -1, -1) * PERIOD
    np.testing.assert_allclose(view.values, np.stack([grid, grid * 2.0], axis=1), rtol=1e-12)
    assert view.present
    assert view.skew_ns == 5 * MS
    assert view.largest_gap_ns == PERIOD


def test_a_sample_on_the_grid_is_taken_bit_for_bit_with_or_without_a_right_neighbour() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 2)) * 1e3
    times = np.arange(6) * PERIOD
    for count in (5, 6):
        track = VectorTrack(VECTORS, 2)
        part = Samples(modality="j", times_ns=times[:count], values=values[:count])
        track.append(part)
        view = track.view(4 * PERIOD)
        assert view.values.tobytes() == values[1:5].tobytes()
        assert view.present


def test_points_before_the_first_and_after_the_last_sample_are_not_supported() -> None:
    view = vectors(2 * PERIOD + MS, 3 * PERIOD + MS).view(4 * PERIOD)
    assert view.supported.tolist() == [False, False, True, False]
    assert np.isfinite(view.values).all()
    assert view.largest_gap_ns == PERIOD  # between the two; the last is nearer to the anchor
    assert view.readings == 2


def test_points_in_a_gap_that_is_too_long_are_not_supported() -> None:
    just = vectors(0, 4 * PERIOD, 5 * PERIOD).view(4 * PERIOD)
    assert just.supported.tolist() == [True] * 4
    long = vectors(-MS, 4 * PERIOD, 5 * PERIOD).view(4 * PERIOD)
    assert long.supported.tolist() == [False, False, False, True]
    assert long.largest_gap_ns == 4 * PERIOD + MS


def test_samples_beyond_reach_change_nothing_whatever_has_arrived() -> None:
    reach = 3 * PERIOD // 2
    near = vectors(*range(0, 5 * PERIOD, PERIOD), 4 * PERIOD + reach)
    far = vectors(*range(0, 5 * PERIOD, PERIOD), 4 * PERIOD + reach, 4 * PERIOD + reach + 1)
    anchor = 4 * PERIOD
    one, other = near.view(anchor), far.view(anchor)
    assert one.values.tobytes() == other.values.tobytes()
    assert (one.readings, one.largest_gap_ns) == (other.readings, other.largest_gap_ns)


def test_a_neighbour_beyond_reach_counts_as_not_there() -> None:
    held = [0, PERIOD, 2 * PERIOD, 3 * PERIOD, 4 * PERIOD - MS]
    anchor = 4 * PERIOD
    beyond = anchor + 3 * PERIOD // 2 + 1
    alone, followed = vectors(*held).view(anchor), vectors(*held, beyond).view(anchor)
    assert followed.values.tobytes() == alone.values.tobytes()
    assert followed.supported.tolist() == alone.supported.tolist() == [True, True, True, False]
    assert followed.largest_gap_ns == alone.largest_gap_ns
    assert vectors(*held, beyond - 1).view(anchor).present


def test_a_track_without_samples_in_reach_gives_an_absent_view() -> None:
    for track in (vectors(), vectors(10 * PERIOD)):
        view = track.view(PERIOD)
        assert not view.present
        assert (view.values.shape, view.readings) == ((4, 2), 0)


@given(order=st.permutations(range(30)), anchor=st.integers(-PERIOD, 31 * PERIOD))
@settings(max_examples=60, deadline=None)
def test_samples_inserted_in_any_order_lie_as_if_appended(order: list[int], anchor: int) -> None:
    track = VectorTrack(VECTORS, 2, "joints")
    for at in order:
        track.insert(samples([at * PERIOD]))
    whole = vectors(*[at * PERIOD for at in range(30)])
    one, other = track.view(anchor), whole.view(anchor)
    assert one.values.tobytes() == other.values.tobytes()
    assert one.supported.tolist() == other.supported.tolist()
    assert track.size_bytes == whole.size_bytes == 30 * (8 + 16)


@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=12), closed=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_no_sample_is_lost_while_the_buffer_moves_and_grows(
    sizes: list[int], closed: float
) -> None:
    track = VectorTrack(VECTORS, 2, "joints")
    count = 0
    for size in sizes:
        track.append(samples([(count + at) * PERIOD for at in range(size)]))
        count += size
        track.close(round(closed * count) * PERIOD)
    oldest = min(max(round(closed * count) - 3, 0), count - 1)
    held = track.held_until(count * PERIOD)
    assert held[-1] == (count - 1) * PERIOD
    assert held == [at * PERIOD for at in range(held[0] // PERIOD, count)]
    assert held[0] // PERIOD <= oldest
    assert all(track.holds(time_ns) for time_ns in held[:: max(len(held) // 50, 1)])


def test_a_late_insert_before_what_is_still_needed_moves_nothing_else() -> None:
    track = vectors(*range(0, 40 * PERIOD, PERIOD))
    track.close(30 * PERIOD)
    before = track.held_until(99 * PERIOD)
    track.insert(samples([5 * PERIOD + 1]))
    assert track.held_until(99 * PERIOD) == before
    assert track.seen(5 * PERIOD + 1)
    assert not track.holds(5 * PERIOD + 1)


def test_dropping_hands_over_the_oldest_quarter_each_sample_once() -> None:
    track = vectors(*range(0, 16 * PERIOD, PERIOD))
    dropped = track.drop_oldest()
    assert isinstance(dropped, Samples)
    assert dropped.times_ns.tolist() == [at * PERIOD for at in range(4)]
    assert dropped.values.tolist() == samples(dropped.times_ns.tolist()).values.tolist()
    assert track.held_until(99 * PERIOD)[0] == 4 * PERIOD
    assert track.size_bytes == 12 * 24


def test_a_zero_time_is_a_time_like_any_other() -> None:
    assert vectors(0, PERIOD).first_after(-1) == 0
    assert images(0, 5).first_after(-1) == 0


@pytest.mark.parametrize("ahead_s", [600])
def test_memory_follows_what_is_held_up_and_down_again(ahead_s: int) -> None:
    channels, batch = 18, 125
    track = VectorTrack(VECTORS, channels, "joints")
    tracemalloc.start()
    try:
        for second in range(ahead_s):
            track.append(samples([(second * 125 + at) * PERIOD for at in range(batch)], channels))
        high, held = tracemalloc.get_traced_memory()[0], track.size_bytes
        for second in range(ahead_s, ahead_s + 60):
            track.close((second * 125) * PERIOD)
            track.append(samples([(second * 125 + at) * PERIOD for at in range(batch)], channels))
        low = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert held <= high < 2.5 * held
    assert low < high / 10
