from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.aligner import Aligner
from stream.messages import (
    ClosedBy,
    Idle,
    Reading,
)
from tests.aligning import (
    MS,
    OUT_OF_ORDER,
    SECOND,
    START,
    THREE,
    WELDING,
    YEAR,
    batch,
    batched,
    bits,
    by_time,
    frame,
    in_turns,
    interleaved,
    readings,
    reasons,
    rewinding,
    run,
    seeds,
)

# Late readings


def test_a_reading_after_its_window_was_closed_is_late_and_tells_how_late() -> None:
    order = by_time(readings(WELDING, np.random.default_rng(6)))
    straggler = batch("joints", [START + 500 * MS + 1])
    windows, rejected = run(WELDING, [*order, straggler])
    assert bits(windows) == bits(run(WELDING, order)[0])
    assert reasons(rejected) == {"late": 1}
    newest_ns = max(one.time_ns for one in order if one.modality == "joints")
    assert rejected[0].late_by_ns == newest_ns - OUT_OF_ORDER - straggler.time_ns


def test_a_lone_backward_stamp_is_late_and_begins_no_epoch() -> None:
    streams = readings(WELDING, np.random.default_rng(7))
    back = frame("camera", START - 60 * SECOND)
    wanted, _ = run(WELDING, by_time(streams))
    streams["camera"].insert(9, back)
    windows, rejected = run(WELDING, [*streams["camera"], *streams["joints"]])
    assert bits(windows) == bits(wanted)
    assert [one.reading for one in rejected] == [back]
    assert rejected[0].reason == "late"


# Wild clocks


@given(
    rng=seeds,
    away_ns=st.sampled_from([YEAR, -YEAR, 11 * SECOND, -11 * SECOND, -30 * YEAR]),
    modality=st.sampled_from(["camera", "joints", "process"]),
    where=st.floats(0, 1),
    largest=st.sampled_from([1, 1, 10]),
)
@settings(max_examples=120, deadline=None)
def test_one_wild_timestamp_anywhere_harms_nothing(
    rng: np.random.Generator, away_ns: int, modality: str, where: float, largest: int
) -> None:
    streams = readings(THREE, rng)
    wanted, _ = run(THREE, by_time(streams))
    stream = streams[modality]
    at = round(where * len(stream))
    time_ns = stream[min(at, len(stream) - 1)].time_ns + away_ns
    wild = frame(modality, time_ns) if modality == "camera" else batch(modality, [time_ns])
    stream.insert(at, wild)
    delivered = {name: batched(one, rng, largest) for name, one in streams.items()}
    windows, rejected = run(THREE, interleaved(delivered, rng))
    assert bits(windows) == bits(wanted)
    assert [one.time_ns for one in rejected] == [time_ns]
    assert rejected[0].reason in {"jump", "late"}


@given(time_ns=st.sampled_from([2**63 - 1, -(2**63), 2**62, -(2**62)]))
def test_times_that_no_clock_can_show_are_refused_however_often_they_agree(time_ns: int) -> None:
    streams = readings(WELDING, np.random.default_rng(8))
    absurd: list[Reading] = [batch("joints", [time_ns])]
    absurd += [frame("camera", time_ns - k % 2) for k in range(5)]
    windows, rejected = run(WELDING, [*absurd, *by_time(streams)])
    assert bits(windows) == bits(run(WELDING, by_time(streams))[0])
    assert reasons(rejected).total() == len(absurd)


def test_a_leap_on_which_three_in_a_row_agree_is_accepted_and_loses_nothing() -> None:
    rng = np.random.default_rng(9)
    before, after = readings(WELDING, rng), readings(WELDING, rng, start_ns=START + YEAR)
    streams = {name: before[name] + after[name] for name in before}
    windows, rejected = run(WELDING, interleaved(streams, rng))
    assert not rejected
    assert [window.anchor_ns for window in windows] == [one.time_ns for one in streams["camera"]]
    assert Counter(window.epoch for window in windows) == {0: 15, 1: 15}


@pytest.mark.parametrize("modality", ["camera", "joints"])
def test_a_clock_that_leaps_and_comes_back_is_believed_again(modality: str) -> None:
    streams = readings(WELDING, np.random.default_rng(27), seconds=3)
    wanted, _ = run(WELDING, by_time(streams))
    third = len(streams[modality]) // 3
    leapt = [one.time_ns + 86_400 * SECOND for one in streams[modality][third : third + 10]]
    wrong: list[Reading] = [frame("camera", time_ns) for time_ns in leapt]
    if modality == "joints":
        wrong = [batch("joints", [time_ns]) for time_ns in leapt]
    streams[modality][third:third] = wrong
    windows, rejected = run(WELDING, in_turns(streams))
    assert reasons(rejected)["jump"] == 10
    assert {one.time_ns for one in rejected if one.reason == "jump"} <= set(leapt) | {leapt[0]}
    assert [w.anchor_ns for w in windows] == [w.anchor_ns for w in wanted]
    assert {window.epoch for window in windows} == {0}
    assert bits(windows[-15:]) == bits(wanted[-15:])
    if modality == "camera":
        assert bits(windows) == bits(wanted)
        assert len(rejected) == 10


def test_two_in_a_row_that_leap_are_refused_when_the_third_does_not() -> None:
    streams = readings(WELDING, np.random.default_rng(10))
    wanted, _ = run(WELDING, by_time(streams))
    leaping = [frame("camera", START + YEAR + k * MS) for k in range(2)]
    streams["camera"][5:5] = leaping
    windows, rejected = run(WELDING, [*streams["camera"], *streams["joints"]])
    assert bits(windows) == bits(wanted)
    assert reasons(rejected) == {"jump": 2}


def test_a_wild_reading_delivered_three_times_convinces_nobody() -> None:
    streams = readings(WELDING, np.random.default_rng(11))
    wanted, _ = run(WELDING, by_time(streams))
    for away_ns in (YEAR, -YEAR):
        camera = list(streams["camera"])
        camera[5:5] = [frame("camera", START + away_ns)] * 4
        windows, rejected = run(WELDING, [*camera, *streams["joints"]])
        assert bits(windows) == bits(wanted)
        assert len(rejected) == 4
        assert reasons(rejected)["duplicate"] == 3


def test_the_only_reading_of_a_modality_is_believed_when_the_stream_ends() -> None:
    streams = readings(WELDING, np.random.default_rng(12))
    lone = streams["camera"][7]
    windows, rejected = run(WELDING, [*streams["joints"], lone])
    assert [window.anchor_ns for window in windows] == [lone.time_ns]
    assert not rejected


# Going back


@given(rng=seeds, largest=st.sampled_from([1, 10, 300]))
@settings(max_examples=60, deadline=None)
def test_a_station_that_goes_back_begins_one_new_epoch_and_loses_nothing(
    rng: np.random.Generator, largest: int
) -> None:
    first, again = rewinding(rng)
    streams = {name: first[name] + again[name] for name in first}
    wanted, _ = run(THREE, [*by_time(first), *by_time(again)])
    delivered = {name: batched(stream, rng, largest) for name, stream in streams.items()}
    windows, rejected = run(THREE, interleaved(delivered, rng))
    assert not rejected
    assert bits(windows) == bits(wanted)
    frames = {epoch: [f.time_ns for f in s["camera"]] for epoch, s in enumerate((first, again))}
    for epoch, times in frames.items():
        anchors = [window.anchor_ns for window in windows if window.epoch == epoch]
        assert [anchor for anchor in anchors if anchor <= times[-1]] == times
    fresh, _ = run(THREE, by_time(again))
    assert bits(replace(w, epoch=0) for w in windows if w.epoch == 1) == bits(fresh)


def test_a_new_epoch_waits_for_a_live_modality_but_not_for_an_idle_one() -> None:
    first, again = rewinding(np.random.default_rng(13))
    aligner = Aligner(THREE)
    run(aligner, by_time(first), flush=False)
    run(aligner, [*again["camera"], *again["joints"]], flush=False)
    assert aligner.epoch == 0
    windows, rejected = run(aligner, [Idle(modality="process")], flush=False)
    assert aligner.epoch == 1
    assert not rejected
    new = [window for window in windows if window.epoch == 1]
    assert len(new) >= 13
    assert {window.closed_by for window in new} == {ClosedBy.IDLE}


def test_an_idle_modality_that_had_gone_back_halfway_stops_no_window_of_the_new_epoch() -> None:
    first, again = rewinding(np.random.default_rng(14))
    aligner = Aligner(THREE)
    run(aligner, by_time(first), flush=False)
    run(aligner, [again["process"][0], Idle(modality="process")], flush=False)
    windows, _ = run(aligner, by_time({n: again[n] for n in ("camera", "joints")}), flush=False)
    assert aligner.epoch == 1
    assert len([window for window in windows if window.epoch == 1]) >= 13


def test_a_modality_that_returns_from_far_back_is_waited_for_again() -> None:
    streams = readings(WELDING, np.random.default_rng(15), seconds=2)
    back = [batch("joints", [START - 100 * SECOND + k * MS]) for k in range(5)]
    streams["joints"][100:100] = back
    windows, rejected = run(WELDING, in_turns(streams))
    assert reasons(rejected) == {"late": 5}
    assert {window.epoch for window in windows} == {0}
    assert all(window.views["joints"].present for window in windows[2:-1])


def test_readings_held_for_a_new_epoch_are_bounded_and_counted() -> None:
    spec = replace(WELDING, budget_bytes=20_000)
    aligner = Aligner(spec)
    first = readings(spec, np.random.default_rng(16))
    run(aligner, by_time(first), flush=False)
    back = [batch("joints", [START - 900 * SECOND + k * 8 * MS]) for k in range(1000)]
    _, rejected = run(aligner, back, flush=False)
    held = sum(aligner.needs("joints", one.time_ns) for one in back)
    assert set(reasons(rejected)) == {"overflow"}
    assert len(rejected) + held == len(back)
    assert aligner.size_bytes < 3 * 20_000
