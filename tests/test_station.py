import json
from dataclasses import replace

import numpy as np

from stream.alarms import Condition, Transition
from stream.config import ModalitySettings, StationSettings
from stream.gate import Verdict
from stream.messages import Frame, Idle, Kind, Samples, TimeSource
from stream.station import Station

MS = 1_000_000
START_NS = 1_700_000_000_000_000_000
PIXELS = np.zeros((8, 8, 3), np.uint8)


def station() -> Station:
    return Station(
        StationSettings(
            id="acme/plant1/hall2/line3/cell4",
            modalities={
                "camera": ModalitySettings(kind=Kind.IMAGE, rate_hz=10, size_px=(8, 8)),
                "joints": ModalitySettings(kind=Kind.VECTOR, rate_hz=100, samples=4, channels=1),
            },
        )
    )


def joints(at_ms: int) -> Samples:
    time_ns = START_NS + at_ms * MS
    return Samples(
        modality="joints", times_ns=np.array([time_ns]), values=np.array([[float(at_ms)]])
    )


def frame(at_ms: int) -> Frame:
    return Frame(
        modality="camera", time_ns=START_NS + at_ms * MS, data=b"", format="jpeg", pixels=PIXELS
    )


def test_a_station_that_wakes_waits_for_a_camera_that_is_delivered_a_little_later() -> None:
    cell, windows, refused = station(), [], []
    for name in ("camera", "joints"):
        cell.add(Idle(modality=name))
    joints_first = [joints(at_ms) for at_ms in range(0, 300, 10)]
    for reading in (*joints_first, *(frame(at_ms) for at_ms in range(0, 300, 100))):
        closed, rejected = cell.add(reading)
        windows += closed
        refused += rejected
    windows += cell.flush()[0]
    assert refused == []
    assert [(one.anchor_ns - START_NS) // MS for one in windows] == [0, 100, 200]


def test_a_window_that_is_corrected_raises_no_alarm_below_the_alarms_own_limit() -> None:
    def raised(score: float) -> list[tuple[Condition, float]]:
        cell, found = station(), []
        readings = [
            reading
            for at_ms in range(0, 1000, 100)
            for reading in (frame(at_ms), *(joints(at_ms + more) for more in range(0, 100, 10)))
        ]
        windows = [window for one in readings for window in cell.add(one)[0]]
        for window in windows:
            verdict = Verdict(window=window, scores={"joints": score}, alarm_limit=2.0)
            found += cell.judge(verdict, caught_up=True)
        return [(one.condition, one.score) for one in found if one.transition is Transition.RAISED]

    assert raised(1.9) == []
    assert raised(3.0) == [(Condition.SIGNAL, 1.5)]


def test_one_idle_modality_of_a_station_that_speaks_is_not_waited_for() -> None:
    cell, windows = station(), []
    cell.add(joints(0))
    cell.add(Idle(modality="camera"))
    for at_ms in range(10, 500, 10):
        windows += cell.add(joints(at_ms))[0]
    assert windows
    assert all(one.idle == frozenset({"camera"}) for one in windows)


def test_a_refused_reading_ends_no_silence() -> None:
    cell = station()
    for at_ms in range(0, 200, 10):
        cell.add(joints(at_ms))
    cell.add(frame(0))
    cell.add(Idle(modality="camera"))
    for at_ms in range(200, 500, 10):
        cell.add(joints(at_ms))
    _, refused = cell.add(frame(0))
    assert [one.reason for one in refused] == ["duplicate"]
    windows = [one for at_ms in range(500, 800, 10) for one in cell.add(joints(at_ms))[0]]
    assert windows
    assert all(one.idle == frozenset({"camera"}) for one in windows)


def test_a_window_tells_which_modality_is_aligned_by_another_clock_than_its_own() -> None:
    cell, windows = station(), []
    for at_ms in range(0, 500, 10):
        windows += cell.add(joints(at_ms))[0]
        if at_ms % 100 == 0:
            windows += cell.add(replace(frame(at_ms), time_source=TimeSource.ARRIVAL))[0]
    assert windows
    assert all(one.time_sources == {"camera": TimeSource.ARRIVAL} for one in windows)


def test_the_production_context_is_the_one_that_was_valid_at_event_time() -> None:
    cell = station()
    assert cell.context_at(START_NS) is None
    cell.know(START_NS, {"part": 1})
    cell.know(START_NS + 1000 * MS, {"part": 2})
    assert cell.context_at(START_NS - 1) == {"part": 1}  # kept by the broker from before
    assert cell.context_at(START_NS + 999 * MS) == {"part": 1}
    assert cell.context_at(START_NS + 1000 * MS) == {"part": 2}


def test_the_state_of_what_was_cleared_goes_in_time_whoever_serves_the_station_by_then() -> None:
    before, after = station(), station()
    before.forget_at = {("camera", "frozen"): 70, ("arm/left", "signal"): 90}
    after.restore(before.taken_in(), json.loads(json.dumps(before.judged())))
    assert after.forgettable(69) == []
    assert after.forgettable(70) == [("camera", "frozen")]
    assert after.forgettable(100) == [("arm/left", "signal")]
