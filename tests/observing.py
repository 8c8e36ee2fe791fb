"""Readings of a camera and an arm for the tests of the conditions, and what a station tells."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from stream.alarms import Change
from stream.config import StationSettings
from stream.gate import Verdict
from stream.messages import Frame, Idle, Reading, Samples
from stream.station import Station

MS = 1_000_000
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
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
