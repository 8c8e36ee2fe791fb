"""Observed conditions, driven by readings through all pure stages of a station."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from stream.alarms import Change
from stream.config import StationSettings
from stream.gate import Verdict
from stream.messages import Frame, Idle, Reading, Samples
from stream.station import Station

MS = 1_000_000
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
FRAME_NS = SECOND // 15
SAMPLE_NS = SECOND // 125
IDLE_NS = 500 * MS

Told = list[tuple[str, str]]


def settings(**changed: Any) -> StationSettings:
    camera = {"kind": "image", "rate_hz": 15, "size_px": [16, 16], **changed.pop("camera", {})}
    arm = {"kind": "vector", "rate_hz": 125, "samples": 32, **changed.pop("arm", {})}
    modalities = {"camera": camera, "arm": arm, **changed.pop("others", {})}
    return StationSettings.model_validate(
        {"id": "acme/plant/hall/line/cell", "modalities": modalities, **changed}
    )


def picture(seed: int, level: int = 120) -> np.ndarray[Any, np.dtype[np.uint8]]:
    noise = np.random.default_rng(seed).integers(-40, 40, (16, 16, 3))
    return np.asarray(np.clip(level + noise, 0, 255), np.uint8)


BLACK = np.zeros((16, 16, 3), np.uint8)
Pixels = Callable[[float], np.ndarray[Any, np.dtype[np.uint8]]]
Values = Callable[[float], Sequence[float]]


def moving(second: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return picture(round(second * 1000))


def standing(second: float) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return picture(7)


def swinging(second: float) -> Sequence[float]:
    return [np.sin(5 * second), np.cos(5 * second)]


def resting(second: float) -> Sequence[float]:
    return [0.5, -0.25]


def frames(
    seconds: float,
    pixels: Pixels = moving,
    modality: str = "camera",
    hz: float = 15,
    first_s: float = 0.0,
) -> list[Reading]:
    times = [first_s + at / hz for at in range(round((seconds - first_s) * hz))]
    return [
        Frame(
            modality=modality,
            time_ns=START + round(second * SECOND),
            data=b"",
            format="jpeg",
            pixels=pixels(second),
        )
        for second in times
    ]


def samples(
    seconds: float, values: Values = swinging, hz: float = 125, first_s: float = 0.0
) -> list[Reading]:
    times = [first_s + at / hz for at in range(round((seconds - first_s) * hz))]
    return [
        Samples(
            modality="arm",
            times_ns=np.array([START + round(second * SECOND)], np.int64),
            values=np.array([values(second)], np.float64),
        )
        for second in times
    ]


def after(seconds: float, readings: Iterable[Reading]) -> list[Reading]:
    return [one for one in readings if one.time_ns >= START + round(seconds * SECOND)]


def before(seconds: float, readings: Iterable[Reading]) -> list[Reading]:
    return [one for one in readings if one.time_ns < START + round(seconds * SECOND)]


def delivered(*streams: Iterable[Reading], names: Sequence[str]) -> list[Reading | Idle]:
    """In order of time, a modality that is silent for long enough being declared idle."""
    items: list[Reading | Idle] = []
    heard = dict.fromkeys(names, START)
    idle: set[str] = set()
    for one in sorted((one for stream in streams for one in stream), key=lambda one: one.time_ns):
        for name in names:
            if name not in idle and one.time_ns - heard[name] > IDLE_NS:
                idle.add(name)
                items.append(Idle(modality=name))
        heard[one.modality] = one.time_ns
        idle.discard(one.modality)
        items.append(one)
    return items


def judged(station: Station, items: Iterable[Reading | Idle], caught_up: bool) -> list[Change]:
    return [
        change
        for item in items
        for window in station.add(item)[0]
        for change in station.judge(Verdict(window=window), caught_up)
    ]


def changes(
    of: StationSettings, *streams: Iterable[Reading], caught_up: bool = True
) -> list[Change]:
    station = Station(of)
    items = delivered(*streams, names=list(of.modalities))
    found = judged(station, items, caught_up)
    assert station.tally.windows > 10
    return found


def told(found: Iterable[Change]) -> Told:
    return [(f"{one.modality}/{one.condition}", str(one.transition)) for one in found]


# Healthy stations


def test_a_healthy_station_raises_nothing() -> None:
    assert changes(settings(), frames(5), samples(5)) == []


def test_a_healthy_robot_that_stands_still_for_four_seconds_raises_nothing() -> None:
    def arm(second: float) -> Sequence[float]:
        return resting(second) if 1 <= second < 5 else swinging(second)

    def camera(second: float) -> Any:
        return standing(second) if 1 <= second < 5 else moving(second)

    assert changes(settings(), frames(7, camera), samples(7, arm)) == []


def test_a_robot_at_rest_under_a_camera_with_noise_raises_nothing() -> None:
    def noisy(second: float) -> Any:
        flicker = np.random.default_rng(round(second * 1000)).integers(0, 2, (16, 16, 3))
        return np.asarray(picture(3) + flicker, np.uint8)

    assert changes(settings(), frames(5, noisy), samples(5, resting)) == []


def test_jitter_and_a_lost_frame_now_and_then_raise_nothing() -> None:
    rng = np.random.default_rng(0)
    kept = [one for at, one in enumerate(frames(10)) if at % 20 != 5]
    jittered = [
        Frame(
            modality="camera",
            time_ns=one.time_ns + int(rng.integers(-8 * MS, 8 * MS)),
            data=b"",
            format="jpeg",
            pixels=one.pixels,
        )
        for one in kept
        if isinstance(one, Frame)
    ]
    assert changes(settings(), jittered, samples(10)) == []


def test_one_lost_frame_of_a_slow_second_camera_is_no_stall() -> None:
    second = {"side": {"kind": "image", "rate_hz": 3, "size_px": [16, 16]}}
    side = frames(6, modality="side", hz=3)
    lost = [*side[:8], *side[9:]]
    assert changes(settings(others=second), frames(6), samples(6), lost) == []


# Missing


def test_a_camera_that_falls_silent_is_missing_until_it_speaks_again() -> None:
    camera = [*before(2, frames(6)), *after(4, frames(6))]
    found = changes(settings(), camera, samples(6))
    assert told(found) == [("camera/missing", "raised"), ("camera/missing", "cleared")]
    assert 0 <= found[0].onset_ns - (START + 2 * SECOND) < 150 * MS


def test_an_arm_that_falls_silent_is_missing() -> None:
    found = changes(settings(), frames(6), before(2, samples(6)))
    assert told(found) == [("arm/missing", "raised")]


def test_a_modality_that_never_spoke_is_missing() -> None:
    assert told(changes(settings(), frames(3))) == [("arm/missing", "raised")]
    assert told(changes(settings(), samples(3))) == [("camera/missing", "raised")]


def test_a_station_that_falls_silent_as_a_whole_misses_no_single_modality() -> None:
    of = settings(out_of_order_ms=400)
    station = Station(of)
    assert judged(station, [*frames(3), *samples(3)], caught_up=True) == []
    silent = [Idle(modality="camera"), Idle(modality="arm")]
    assert judged(station, silent, caught_up=True) == []
    assert station.tally.windows > 40


# Stalled


@pytest.mark.parametrize("hz", [4, 6.5])
def test_a_camera_below_half_its_rate_is_stalled(hz: float) -> None:
    slow = [*before(2, frames(6)), *frames(6, hz=hz, first_s=2)]
    assert told(changes(settings(), slow, samples(6))) == [("camera/stalled", "raised")]


def test_a_camera_at_two_thirds_of_its_rate_is_not_stalled() -> None:
    assert changes(settings(), frames(6, hz=10), samples(6)) == []


def test_an_arm_below_half_its_rate_is_stalled_until_it_recovers() -> None:
    slow = [*before(2, samples(6)), *samples(4, hz=50, first_s=2), *after(4, samples(6))]
    found = told(changes(settings(), frames(6), slow))
    assert found == [("arm/stalled", "raised"), ("arm/stalled", "cleared")]


def test_an_arm_at_three_quarters_of_its_rate_is_not_stalled() -> None:
    assert changes(settings(), frames(5), samples(5, hz=94)) == []


# Frozen


def test_a_picture_that_stays_the_same_while_the_arm_moves_is_frozen() -> None:
    def stuck(second: float) -> Any:
        return moving(2.0) if 2 <= second < 5 else moving(second)

    found = changes(settings(), frames(8, stuck), samples(8))
    assert told(found) == [("camera/frozen", "raised"), ("camera/frozen", "cleared")]
    assert SECOND <= found[0].time_ns - (START + 2 * SECOND) < SECOND + 3 * FRAME_NS


def test_an_arm_whose_values_stay_the_same_while_the_picture_moves_is_frozen() -> None:
    def stuck(second: float) -> Sequence[float]:
        return resting(second) if 2 <= second < 5 else swinging(second)

    found = changes(settings(), frames(8), samples(8, stuck))
    assert told(found) == [("arm/frozen", "raised"), ("arm/frozen", "cleared")]


def test_frozen_after_ms_says_how_long_standing_still_is_normal() -> None:
    patient = settings(camera={"frozen_after_ms": 4000})
    assert changes(patient, frames(3.8, standing), samples(3.8)) == []
    assert told(changes(patient, frames(6, standing), samples(6))) == [("camera/frozen", "raised")]


def test_motion_below_its_threshold_freezes_nobody() -> None:
    def trembling(second: float) -> Sequence[float]:
        return [0.01 * np.sin(40 * second), 0.0]

    assert changes(settings(), frames(5, standing), samples(5, trembling)) == []
    keen = settings(arm={"motion_threshold": 0.005})
    found = told(changes(keen, frames(5, standing), samples(5, trembling)))
    assert found == [("camera/frozen", "raised")]


def test_a_black_camera_whose_darkness_is_normal_raises_nothing() -> None:
    arc_camera = settings(camera={"dark_is_normal": True})
    assert changes(arc_camera, frames(5, lambda _: BLACK), samples(5)) == []
    found = told(changes(settings(), frames(5, lambda _: BLACK), samples(5)))
    assert found == [("camera/frozen", "raised")]


def test_a_lit_picture_that_stays_the_same_is_frozen_even_where_darkness_is_normal() -> None:
    arc_camera = settings(camera={"dark_is_normal": True})
    found = told(changes(arc_camera, frames(5, standing), samples(5)))
    assert found == [("camera/frozen", "raised")]


def test_a_channel_that_never_moved_on_clean_data_hides_no_motion_of_the_others() -> None:
    station = Station(settings(), {"arm": [0.0, 1.0]})

    def second_channel(second: float) -> Sequence[float]:
        return [0.5, np.sin(5 * second)]

    items = delivered(frames(4, standing), samples(4, second_channel), names=("camera", "arm"))
    assert told(judged(station, items, True)) == [("camera/frozen", "raised")]


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
                memory = json.loads(json.dumps(station.conditions.snapshot()))
                fresh = Station(settings())
                fresh.conditions.restore(memory)
                fresh.alarms.restore(json.loads(json.dumps(station.alarms.snapshot())))
                station.conditions, station.alarms = fresh.conditions, fresh.alarms
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
