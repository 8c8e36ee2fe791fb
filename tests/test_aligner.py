from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.aligner import Aligner
from stream.messages import (
    ClosedBy,
    Idle,
    ImageView,
    Reading,
    VectorView,
)
from tests.aligning import (
    MS,
    SECOND,
    START,
    STEPS,
    THREE,
    WELDING,
    batch,
    batched,
    bits,
    by_time,
    frame,
    image,
    interleaved,
    lossy,
    readings,
    reasons,
    repeated,
    run,
    seeds,
    shuffled,
    station,
    vector,
)

# What a window holds


@given(rng=seeds)
@settings(max_examples=30, deadline=None)
def test_windows_hold_what_a_plain_computation_over_the_whole_recording_gives(
    rng: np.random.Generator,
) -> None:
    streams = readings(THREE, rng)
    windows, rejected = run(THREE, interleaved(streams, rng))
    assert not rejected
    frames = [one.time_ns for one in streams["camera"]]
    assert [window.anchor_ns for window in windows] == frames
    for name in ("joints", "process"):
        times = np.array([one.time_ns for one in streams[name]])
        values = np.concatenate([one.values for one in streams[name]])  # type: ignore[union-attr]
        period_ns = THREE.modalities[name].timing.period_ns
        for window in windows:
            view = window.views[name]
            assert isinstance(view, VectorView)
            grid = window.anchor_ns - np.arange(STEPS - 1, -1, -1) * period_ns
            inside = (grid >= times[0]) & (grid <= times[-1])
            assert view.supported.tolist() == inside.tolist()
            for channel in range(2):
                wanted = np.interp(grid[inside] - START, times - START, values[:, channel])
                np.testing.assert_allclose(view.values[inside, channel], wanted, atol=1e-9)
    for before, window in pairwise(windows):
        view = window.views["camera"]
        assert isinstance(view, ImageView)
        assert view.frame is not None
        assert view.previous is not None
        assert (view.previous.time_ns, view.frame.time_ns) == (before.anchor_ns, window.anchor_ns)


def test_a_second_camera_shows_its_latest_frame_not_after_the_anchor() -> None:
    spec = station(camera=image(15), torch=image(31), joints=vector(125))
    streams = readings(spec, np.random.default_rng(1))
    streams["torch"] = [one for at, one in enumerate(streams["torch"]) if not 10 <= at < 16]
    windows, rejected = run(spec, by_time(streams))
    assert not rejected
    assert len(windows) == len(streams["camera"])
    times = [one.time_ns for one in streams["torch"]]
    masked = 0
    for window in windows:
        view = window.views["torch"]
        assert isinstance(view, ImageView)
        latest = [time for time in times if time <= window.anchor_ns][-1:]
        recent = latest and window.anchor_ns - latest[0] <= 1.5 * 1e9 / 31
        assert [view.frame.time_ns] == latest if view.frame and recent else not recent
        masked += view.frame is None
    assert 2 <= masked <= 4


def test_a_station_without_images_closes_windows_on_a_fixed_grid() -> None:
    spec = station(anchor="", anchor_hz=10, joints=vector(125), process=vector(9.7))
    streams = readings(spec, np.random.default_rng(2), seconds=3)
    windows, rejected = run(spec, by_time(streams))
    assert not rejected
    anchors = [window.anchor_ns for window in windows]
    assert all(anchor % (SECOND // 10) == 0 for anchor in anchors)
    assert {later - earlier for earlier, later in pairwise(anchors)} == {SECOND // 10}
    assert 27 <= len(anchors) <= 30
    assert sum(all(view.present for view in window.views.values()) for window in windows) >= 20


def test_rates_that_divide_nothing_give_a_full_window_for_each_frame() -> None:
    spec = station(anchor_hz=31, camera=image(31), process=vector(9.7))
    streams = readings(spec, np.random.default_rng(3), seconds=4)
    windows, _ = run(spec, by_time(streams))
    full = [window for window in windows if all(view.present for view in window.views.values())]
    assert len(windows) == len(streams["camera"])
    assert len(full) >= len(windows) - 26 - 4  # a window's length at the start, a sample at the end


def test_a_window_tells_how_old_and_how_sparse_its_readings_are() -> None:
    joints = [
        batch("joints", [START + k * 8 * MS]) for k in range(100) if not 39 <= k < 49
    ]  # 304, then 392 ms
    camera: list[Reading] = [frame("camera", START + 330 * MS), frame("camera", START + 400 * MS)]
    windows, _ = run(WELDING, [*joints, *camera])
    view = windows[1].views["joints"]
    assert isinstance(view, VectorView)
    assert view.largest_gap_ns == 88 * MS
    assert view.skew_ns == 0
    assert view.supported.tolist() == [at >= 6 for at in range(STEPS)]
    image_view = windows[1].views["camera"]
    assert (image_view.skew_ns, image_view.largest_gap_ns) == (0, 70 * MS)


# Order, duplicates, batches


@given(rng=seeds, largest=st.sampled_from([1, 2, 7, 40]))
@settings(max_examples=80, deadline=None)
def test_interleaving_duplication_reordering_and_batching_change_no_bit(
    rng: np.random.Generator, largest: int
) -> None:
    streams = {name: lossy(stream, rng) for name, stream in readings(THREE, rng).items()}
    wanted, _ = run(THREE, by_time(streams))
    delivered = {
        name: batched(repeated(shuffled(stream, rng), rng), rng, largest)
        for name, stream in streams.items()
    }
    windows, rejected = run(THREE, interleaved(delivered, rng))
    assert bits(windows) == bits(wanted)
    assert len(wanted) == len(streams["camera"])
    sent = sum(len(getattr(o, "times_ns", "1")) for s in delivered.values() for o in s)
    repeats = sent - sum(len(stream) for stream in streams.values())
    assert reasons(rejected).total() == repeats
    assert set(reasons(rejected)) <= {"duplicate", "late"}


@given(rng=seeds)
@settings(max_examples=30, deadline=None)
def test_a_grid_station_gives_the_same_windows_in_any_order(rng: np.random.Generator) -> None:
    spec = station(anchor="", anchor_hz=10, joints=vector(125), process=vector(9.7))
    streams = readings(spec, rng, seconds=2)
    wanted, _ = run(spec, by_time(streams))
    delivered = {name: shuffled(stream, rng) for name, stream in streams.items()}
    windows, rejected = run(spec, interleaved(delivered, rng))
    assert bits(windows) == bits(wanted)
    assert not rejected


def test_what_is_delivered_again_counts_as_duplicate() -> None:
    streams = readings(WELDING, np.random.default_rng(4))
    order = by_time(streams)
    windows, rejected = run(WELDING, [one for reading in order for one in (reading, reading)])
    assert bits(windows) == bits(run(WELDING, order)[0])
    assert reasons(rejected) == {"duplicate": len(order)}


@given(rng=seeds)
@settings(max_examples=10, deadline=None)
def test_the_time_of_day_at_which_readings_are_added_changes_nothing(
    rng: np.random.Generator,
) -> None:
    order = by_time(readings(WELDING, rng))
    aligner, other = Aligner(WELDING), Aligner(WELDING)
    for reading in order:
        now_ns = int(rng.integers(-(2**60), 2**60))
        assert bits(aligner.add(reading, now_ns)) == bits(other.add(reading))  # type: ignore[arg-type]
        assert aligner.expire(now_ns) == []


def test_a_backlog_of_a_minute_masks_nothing() -> None:
    streams = readings(WELDING, np.random.default_rng(5), seconds=60)
    for first, second in (("camera", "joints"), ("joints", "camera")):
        windows, rejected = run(WELDING, [*streams[first], *streams[second]], flush=False)
        assert not rejected
        assert len(windows) > 890
        assert {window.closed_by for window in windows} == {ClosedBy.WATERMARK}
        assert all(view.present for window in windows[2:] for view in window.views.values())


# Silence


def test_a_silent_modality_is_masked_and_never_stops_windows() -> None:
    streams = readings(THREE, np.random.default_rng(17), seconds=3)
    half_ns = START + 1500 * MS
    heard = [one for one in by_time(streams) if one.modality != "process" or one.time_ns < half_ns]
    waiting, _ = run(THREE, heard, flush=False)
    assert waiting[-1].anchor_ns < half_ns
    windows, rejected = run(THREE, [*heard, Idle(modality="process")], flush=False)
    assert not rejected
    assert windows[-1].anchor_ns > START + 2800 * MS
    masked = [window for window in windows if window.anchor_ns > half_ns + 200 * MS]
    assert {window.closed_by for window in masked} == {ClosedBy.IDLE}
    assert {window.idle for window in masked} == {frozenset({"process"})}
    assert not any(window.views["process"].present for window in masked)
    assert all(window.views["joints"].present for window in masked)


def test_windows_go_on_at_once_where_a_modality_was_silent_from_the_start() -> None:
    streams = readings(WELDING, np.random.default_rng(18))
    windows, _ = run(WELDING, [Idle(modality="joints"), *streams["camera"]], flush=False)
    assert len(windows) >= 14


def test_a_silent_anchor_gives_windows_where_its_frames_were_due() -> None:
    streams = readings(WELDING, np.random.default_rng(19), seconds=2)
    seen = [one for one in streams["camera"] if one.time_ns < START + SECOND]
    period_ns = WELDING.anchor_period_ns
    windows, rejected = run(WELDING, [*seen, *streams["joints"], Idle(modality="camera")], False)
    assert not rejected
    due = [window for window in windows if window.anchor_ns > seen[-1].time_ns]
    assert len(due) >= 12
    steps = [(window.anchor_ns - seen[-1].time_ns) / period_ns for window in due]
    assert steps == list(range(1, len(due) + 1))
    assert not any(window.views["camera"].present for window in due[2:])
    assert all(window.views["joints"].present for window in due)


def test_a_frame_near_a_released_due_anchor_is_late_and_the_next_one_is_not() -> None:
    streams = readings(WELDING, np.random.default_rng(20), seconds=2)
    seen = [one for one in streams["camera"] if one.time_ns < START + SECOND]
    aligner = Aligner(WELDING)
    windows, _ = run(aligner, [*seen, *streams["joints"], Idle(modality="camera")], flush=False)
    last_ns, half_ns = windows[-1].anchor_ns, WELDING.anchor_period_ns // 2
    back = [frame("camera", last_ns + half_ns - MS), frame("camera", last_ns + half_ns + MS)]
    after, rejected = run(aligner, back)
    assert [(one.reason, one.time_ns) for one in rejected] == [("late", back[0].time_ns)]
    assert [window.anchor_ns for window in after] == [back[1].time_ns]


def test_nothing_is_released_while_the_whole_station_is_idle() -> None:
    streams = readings(WELDING, np.random.default_rng(21))
    aligner = Aligner(WELDING)
    idle = [Idle(modality="joints"), Idle(modality="camera")]
    windows, _ = run(aligner, [*by_time(streams), *idle], flush=False)
    assert windows[-1].anchor_ns <= aligner.newest_ns
    assert run(aligner, idle * 3) == ([], [])
    assert run(Aligner(WELDING), idle) == ([], [])


# Epochs


def test_two_seconds_of_silence_begin_an_epoch_that_looks_not_across_the_gap() -> None:
    rng = np.random.default_rng(22)
    first, again = readings(WELDING, rng), readings(WELDING, rng, start_ns=START + 4 * SECOND)
    order = [*by_time(first), *by_time(again)]
    windows, rejected = run(WELDING, order)
    assert not rejected
    assert Counter(window.epoch for window in windows) == {0: 15, 1: 15}
    fresh, _ = run(WELDING, by_time(again))
    later = [replace(window, epoch=0) for window in windows if window.epoch == 1]
    assert bits(later) == bits(fresh)


def test_silence_of_one_modality_begins_no_epoch() -> None:
    streams = readings(WELDING, np.random.default_rng(23), seconds=5)
    silent = range(START + SECOND, START + 4 * SECOND)
    for name in streams:
        heard = [
            one for one in by_time(streams) if one.modality != name or one.time_ns not in silent
        ]
        windows, rejected = run(WELDING, heard)
        assert {window.epoch for window in windows} == {0}
        assert not rejected


def test_an_hour_of_silence_on_a_grid_station_is_skipped_and_begins_an_epoch() -> None:
    spec = station(anchor="", anchor_hz=10, joints=vector(125))
    rng = np.random.default_rng(24)
    first, again = readings(spec, rng), readings(spec, rng, start_ns=START + 3600 * SECOND)
    windows, rejected = run(spec, [*first["joints"], *again["joints"]])
    assert not rejected
    assert set(Counter(window.epoch for window in windows)) == {0, 1}
    fresh, _ = run(spec, again["joints"])
    later = [replace(window, epoch=0) for window in windows if window.epoch == 1]
    assert bits(later) == bits(fresh)


# Refusals


def test_a_wrong_number_of_channels_is_refused_and_the_stream_goes_on() -> None:
    streams = readings(WELDING, np.random.default_rng(26))
    wanted, _ = run(WELDING, by_time(streams))
    odd = [batch("joints", [START + 100 * MS + k], channels=3) for k in range(4)]
    windows, rejected = run(
        WELDING, [*streams["joints"][:50], *odd, *streams["joints"][50:], *streams["camera"]]
    )
    assert bits(windows) == bits(wanted)
    assert reasons(rejected) == {"wrong_channels": 4}
    assert "3 channels where 2 are expected" in rejected[0].detail


def test_an_image_where_samples_are_expected_is_refused_and_the_other_way_round() -> None:
    aligner = Aligner(WELDING)
    _, rejected = run(aligner, [batch("camera", [START]), frame("joints", START)])
    assert reasons(rejected) == {"wrong_kind": 2}


def test_lag_tells_how_far_a_modality_is_behind_the_newest() -> None:
    aligner = Aligner(WELDING)
    run(aligner, [batch("joints", [START, START + 8 * MS])], flush=False)
    run(aligner, [frame("camera", START), frame("camera", START + 70 * MS)], flush=False)
    lags = defaultdict(int, {name: aligner.lag_ns(name) for name in WELDING.modalities})
    assert lags == {"camera": 0, "joints": 62 * MS}
    assert aligner.newest_ns == START + 70 * MS
