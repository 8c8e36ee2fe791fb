"""Readings that come late, malformed, skewed or not at all; and what the conditions remember.

Driven by readings through all pure stages of a station.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from stream.alarms import Change
from stream.messages import Frame, Idle, Reading, Samples
from stream.station import Station
from tests.observing import (
    MS,
    SECOND,
    START,
    Told,
    after,
    before,
    changes,
    delivered,
    frames,
    judged,
    moving,
    samples,
    settings,
    standing,
    told,
)

# Late and malformed


def interleaved(station: Station, seconds: float, refuse: Callable[[Station, int], None]) -> Told:
    found: list[Change] = []
    for at, item in enumerate(delivered(frames(seconds), samples(seconds), names=())):
        refuse(station, at)
        found += judged(station, [item], True)
    return told(found)


def test_payloads_that_cannot_be_read_make_a_modality_malformed() -> None:
    def garbage(station: Station, at: int) -> None:
        if at % 20 == 0:
            station.refuse("camera", "truncated_image")

    station = Station(settings())
    assert interleaved(station, 4, garbage) == [("camera/malformed", "raised")]
    assert station.tally.refused["truncated_image"] > 20


def test_a_single_unreadable_payload_raises_nothing() -> None:
    def once(station: Station, at: int) -> None:
        if at == 200:
            station.refuse("camera", "truncated_image")
            station.refuse("arm", "undecodable_protobuf")

    assert interleaved(Station(settings()), 4, once) == []


def test_a_single_unreadable_picture_of_a_slow_camera_raises_nothing() -> None:
    side = {"side": {"kind": "image", "rate_hz": 2, "size_px": [16, 16]}}
    station, found = Station(settings(others=side)), []
    slow = frames(6, modality="side", hz=2)
    for at, item in enumerate(delivered(frames(6), samples(6), slow, names=())):
        if at == 400:
            station.refuse("side", "truncated_image")
        found += judged(station, [item], True)
    assert told(found) == []


def test_a_malformed_modality_is_cleared_once_its_payloads_are_read_again() -> None:
    def for_a_second(station: Station, at: int) -> None:
        if 140 <= at < 280:
            station.refuse("arm", "not_finite")

    found = interleaved(Station(settings()), 7, for_a_second)
    assert found == [("arm/malformed", "raised"), ("arm/malformed", "cleared")]


def test_unreadable_batches_count_for_the_samples_that_they_would_have_held() -> None:
    """Five payloads a second and fifteen windows: most windows see no refusal of their own."""
    station = Station(settings())
    found: list[Change] = []
    singles = samples(6)
    for at in range(0, len(singles), 25):
        part = [one for one in singles[at : at + 25] if isinstance(one, Samples)]
        whole = Samples(
            modality="arm",
            times_ns=np.concatenate([one.times_ns for one in part]),
            values=np.concatenate([one.values for one in part]),
        )
        if at // 25 % 2 and at > 250:
            station.refuse("arm", "undecodable_protobuf")
        else:
            found += judged(station, [whole], True)
        end_ns = int(whole.times_ns[-1])
        new = [one for one in frames(6) if end_ns - 200 * MS < one.time_ns <= end_ns]
        found += judged(station, new, True)
    assert ("arm/malformed", "raised") in told(found)


def test_readings_that_come_after_their_windows_make_a_modality_late() -> None:
    station = Station(settings())
    found: list[Change] = []
    old, fresh = samples(5)[::5], [one for at, one in enumerate(samples(5)) if at % 5]
    items = delivered(frames(5), fresh, names=())
    arrivals = [(one.time_ns, one) for one in items if not isinstance(one, Idle)]
    arrivals += [(one.time_ns + 400 * MS, one) for one in old]
    for _, one in sorted(arrivals, key=lambda entry: entry[0]):
        found += judged(station, [one], True)
    assert told(found) == [("arm/late", "raised")]
    assert station.tally.refused["late"] > 50


def test_duplicates_are_counted_and_raise_nothing() -> None:
    station = Station(settings())
    twice = [one for one in samples(4) for _ in range(2)]
    assert judged(station, delivered(frames(4), twice, names=()), True) == []
    assert station.tally.refused["duplicate"] >= 490


# Skewed


def test_a_clock_that_lies_behind_is_skewed_and_the_offset_to_enter_is_told() -> None:
    behind = [
        Frame(
            modality="camera",
            time_ns=one.time_ns - 3 * SECOND,
            data=b"",
            format="jpeg",
            pixels=one.pixels,
        )
        for one in frames(12)
        if isinstance(one, Frame)
    ]
    arrivals = [(one.time_ns, one) for one in samples(12)]
    arrivals += [(one.time_ns + 3 * SECOND, one) for one in behind]
    ordered = [one for _, one in sorted(arrivals, key=lambda entry: entry[0])]
    (raised,) = judged(Station(settings()), ordered, True)
    assert told([raised]) == [("camera/skewed", "raised")]
    assert raised.facts["clock_offset_ms"] == pytest.approx(3000, abs=80)
    corrected = settings(camera={"clock_offset_ms": raised.facts["clock_offset_ms"]})
    assert corrected.modalities["camera"].clock_offset_ms == raised.facts["clock_offset_ms"]


def test_a_backlog_is_not_taken_for_a_skewed_clock() -> None:
    """After a restart one topic may be read far ahead of the other."""
    station = Station(settings())
    ahead: list[Reading] = [*samples(9), *frames(9)]
    assert judged(station, ahead, caught_up=False) == []
    assert station.tally.windows > 100


def test_a_silent_modality_is_missing_and_not_skewed() -> None:
    found = changes(settings(), before(2, frames(12)), samples(12))
    assert told(found) == [("camera/missing", "raised")]


# Offline


def silent_for(station: Station, *seconds: float) -> list[Change]:
    return [change for one in seconds for change in station.silent(round(one * SECOND))]


def test_a_station_that_says_nothing_is_offline_until_it_speaks_again() -> None:
    station = Station(settings())
    items = delivered(frames(12), samples(12), names=())
    newest_ns = START + 3 * SECOND
    assert judged(station, [one for one in items if one.time_ns < newest_ns], True) == []  # type: ignore[union-attr]
    newest_ns = station.aligner.newest_ns
    assert silent_for(station, 1, 3, 4.9) == []
    (raised,) = silent_for(station, 5.03, 5.07, 5.5)
    assert told([raised]) == [("station/offline", "raised")]
    assert raised.time_ns == newest_ns + 5 * SECOND
    assert silent_for(station, 1, 2) == [], "silence clears nothing"
    later = [one for one in items if one.time_ns > START + 9 * SECOND]  # type: ignore[union-attr]
    assert told(judged(station, later, True)) == [("station/offline", "cleared")]


def test_the_event_of_an_offline_station_does_not_depend_on_when_the_clock_was_read() -> None:
    def raised_at(*looks: float) -> int:
        station = Station(settings())
        judged(station, delivered(frames(2), samples(2), names=()), True)
        return silent_for(station, *looks)[0].time_ns

    assert raised_at(5.001, 5.02) == raised_at(4.99, 5.9)


def test_a_station_that_never_spoke_is_not_offline() -> None:
    assert silent_for(Station(settings()), 5, 60, 600) == []


# Memory


def test_a_snapshot_of_the_conditions_restored_anywhere_changes_nothing() -> None:
    def stuck(second: float) -> Any:
        return moving(1.0) if 1 <= second < 3 else moving(second)

    camera = [*before(4, frames(6, stuck)), *after(5, frames(6, stuck))]
    items = delivered(camera, samples(6), names=("camera", "arm"))

    def run(restore_at: Sequence[int]) -> list[Change]:
        station, found = Station(settings()), []
        for at, item in enumerate(items):
            if at % 40 == 3 and at > 300:
                station.refuse("arm", "not_finite")
            if at in restore_at:
                taken_in = json.loads(json.dumps(station.taken_in()))
                fresh = Station(settings())
                fresh.restore(taken_in, json.loads(json.dumps(station.judged())))
                station.conditions, station.alarms = fresh.conditions, fresh.alarms
                station.hearing = fresh.hearing
            found += judged(station, [item], True)
        return found

    whole = run([])
    assert {one for one, _ in told(whole)} >= {"camera/frozen", "camera/missing"}
    assert run(range(1, len(items), 7)) == whole


def test_a_new_epoch_forgets_how_long_something_stood_still() -> None:
    def shifted(readings: Iterable[Reading], seconds: float) -> list[Reading]:
        by_ns = round(seconds * SECOND)
        return [
            Frame(
                modality=one.modality,
                time_ns=one.time_ns + by_ns,
                data=one.data,
                format=one.format,
                pixels=one.pixels,
            )
            if isinstance(one, Frame)
            else Samples(modality="arm", times_ns=one.times_ns + by_ns, values=one.values)
            for one in readings
        ]

    station = Station(settings())
    items = delivered(frames(0.8, standing), samples(0.8), names=())
    for start_s in (0, 10, 20, 30):
        readings = [one for one in items if not isinstance(one, Idle)]
        assert judged(station, shifted(readings, start_s), True) == []
    assert station.aligner.epoch == 3
