"""Which simulated stations there are."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from simulators.recordings.recording import Modality, Record
from simulators.stations import welding_single

SimulateTrajectory: TypeAlias = Callable[[int, int, float, int], Iterator[Record]]
"""(seed, number, seconds, start_ns) -> the trajectory's records in the order of log times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A simulated station: its sensors, and how long one draw of its surroundings lasts."""

    name: str
    modalities: Mapping[str, Modality]
    trajectory_s: float
    gap_ns: int
    simulate_trajectory: SimulateTrajectory


STATIONS: dict[str, Station] = {
    welding_single.STATION: Station(
        name=welding_single.STATION,
        modalities=welding_single.MODALITIES,
        trajectory_s=welding_single.TRAJECTORY_S,
        gap_ns=welding_single.EPISODE_GAP_NS,
        simulate_trajectory=welding_single.simulate_trajectory,
    )
}


class UnknownStationError(Exception):
    """A station that nobody simulates: lists those that are."""


def find_station(name: str) -> Station:
    """Give a station by its name; raises UnknownStationError."""
    if name not in STATIONS:
        raise UnknownStationError(
            f"no simulated station is called {name!r}; there is {', '.join(sorted(STATIONS))}"
        )
    return STATIONS[name]
