"""Which simulated stations there are."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from simulators.recordings.recording import Modality, Record
from simulators.stations.trajectory import Trajectory
from simulators.stations.ur5 import station as ur5
from simulators.stations.welding.dual import DUAL
from simulators.stations.welding.single import SINGLE

SimulateTrajectory: TypeAlias = Callable[[Trajectory], Iterator[Record]]
"""A trajectory -> its records in the order of their log times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A simulated station and its sensors; those in ``optional`` are recorded when asked for."""

    name: str
    modalities: Mapping[str, Modality]
    simulate_trajectory: SimulateTrajectory
    trajectory_s: float = 60.0
    optional: frozenset[str] = frozenset()


STATIONS: dict[str, Station] = {
    station.name: station
    for station in (
        *(
            Station(
                name=cell.name,
                modalities=cell.modalities,
                simulate_trajectory=cell.simulate_trajectory,
                optional=frozenset({"process"}),
            )
            for cell in (SINGLE, DUAL)
        ),
        Station(
            name="ur5",
            modalities=ur5.MODALITIES,
            simulate_trajectory=ur5.simulate_trajectory,
        ),
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
