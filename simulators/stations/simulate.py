"""Trajectories of a station, simulated in processes side by side and written in their order."""

import math
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

from simulators.recordings.mcap_writer import McapWriter
from simulators.recordings.recording import Record
from simulators.recordings.timeline import EPISODE_GAP_NS
from simulators.stations.opengl import prepare_opengl
from simulators.stations.station import Station, find_station
from simulators.stations.trajectory import Trajectory

RECORDING_BEGINS_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z, so that runs compare
SPLITS = {"train": 0.5, "calibration": 0.2, "validation": 0.1, "test": 0.2}
_LEAST_SHARE = 1 / 12
_LOOK_EVERY_S = 0.2
_REPORT_EVERY_NS = 1_000_000_000


class SimulationError(Exception):
    """A simulation that cannot run: says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to simulate of a station; ``extra`` names optional modalities."""

    seconds: float
    seed: int
    extra: frozenset[str] = frozenset()
    unfamiliar: bool = False


def plan_trajectories(station: Station, request: Request) -> list[Trajectory]:
    """Cut the request into whole trajectories; the last one takes what is over, or is shorter.

    A rest of less than a twelfth of a trajectory becomes no trajectory of its own. Raises
    SimulationError for an extra modality that the station lacks.
    """
    unknown = request.extra - station.optional
    if unknown:
        there = ", ".join(sorted(station.optional)) or "none"
        raise SimulationError(
            f"{station.name} has no optional modality {min(unknown)!r}; there is: {there}"
        )
    count = max(1, math.ceil(round(request.seconds / station.trajectory_s - _LEAST_SHARE, 9)))
    step_ns = round(station.trajectory_s * 1e9) + EPISODE_GAP_NS
    last_s = request.seconds - (count - 1) * station.trajectory_s
    return [
        Trajectory(
            seed=request.seed,
            number=number,
            seconds=station.trajectory_s if number < count - 1 else last_s,
            start_ns=RECORDING_BEGINS_NS + number * step_ns,
            modalities=_recorded(station, request.extra),
            unfamiliar=request.unfamiliar,
        )
        for number in range(count)
    ]


def _recorded(station: Station, extra: frozenset[str]) -> tuple[str, ...]:
    left_out = station.optional - extra
    return tuple(name for name in station.modalities if name not in left_out)


def split_trajectories(trajectories: Sequence[Trajectory]) -> dict[str, list[Trajectory]]:
    """Share trajectories out over SPLITS, each at least one; raises SimulationError for too few.

    They keep their numbers, so that no two splits hold the same.
    """
    if len(trajectories) < len(SPLITS):
        raise SimulationError(
            f"{len(trajectories)} trajectories cannot be split into {', '.join(SPLITS)}: "
            f"ask for {len(SPLITS)} minutes or more"
        )
    ends = [round(share * len(trajectories)) for share in accumulate(SPLITS.values())]
    ends = [max(end, at + 1) for at, end in enumerate(ends)]
    ends = [min(end, len(trajectories) - len(ends) + 1 + at) for at, end in enumerate(ends)]
    return {
        name: list(trajectories[begin:end])
        for name, (begin, end) in zip(SPLITS, pairwise([0, *ends]), strict=True)
    }


def simulate_recording(
    station: Station,
    trajectories: Sequence[Trajectory],
    *,
    path: Path,
    jobs: int,
    progress: Callable[[float], None],
) -> None:
    """Write trajectories of a station to ``path``; what comes out does not depend on ``jobs``.

    ``progress`` hears the seconds simulated so far. At most ``jobs`` + 1 trajectories are held
    in memory. Raises SimulationError, OpenGLError or RecordingError.
    """
    check_mujoco()
    prepare_opengl()
    first = trajectories[0]
    modalities = {name: station.modalities[name] for name in first.modalities}
    metadata = {"station": station.name, "seed": str(first.seed), "simulated": "true"}
    if first.unfamiliar:
        metadata["surroundings"] = "unfamiliar"
    with McapWriter(path, modalities, metadata) as writer:
        for trajectory, records in _simulated(station, trajectories, jobs, progress):
            writer.episode(trajectory.episode)
            for record in records:
                writer.write(record)


def check_mujoco() -> None:
    """Raise SimulationError where MuJoCo is not installed, without importing it."""
    from importlib.util import find_spec

    if find_spec("mujoco") is None:
        raise SimulationError(
            "simulating needs MuJoCo: install it with `pip install 'weldfusion[sim]'`"
        )


def _simulated(
    station: Station,
    trajectories: Sequence[Trajectory],
    jobs: int,
    progress: Callable[[float], None],
) -> Iterator[tuple[Trajectory, list[Record]]]:
    """Yield trajectory after trajectory, the next ones being simulated meanwhile."""
    spawn = multiprocessing.get_context("spawn")
    done_s = spawn.Value("d", 0.0)
    # Each process fills one core; Mesa's own threads would only make them wait for each other.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    pool = ProcessPoolExecutor(
        min(jobs, len(trajectories)), spawn, initializer=_share, initargs=(done_s,)
    )
    ahead = iter(trajectories)
    running: deque[tuple[Trajectory, Future[list[Record]]]] = deque()

    def start_next() -> None:
        if (trajectory := next(ahead, None)) is not None:
            running.append((trajectory, pool.submit(_simulate, station.name, trajectory)))

    try:
        for _ in range(jobs):
            start_next()
        while running:
            trajectory, future = running.popleft()
            start_next()
            yield trajectory, _wait(future, lambda: progress(done_s.value))
            progress(done_s.value)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _wait(future: Future[list[Record]], look: Callable[[], None]) -> list[Record]:
    while True:
        try:
            return future.result(timeout=_LOOK_EVERY_S)
        except TimeoutError:
            look()
        except BrokenProcessPool as error:
            raise SimulationError(
                "a simulating process died (killed for memory?): try fewer --jobs"
            ) from error


_done_s: Any = None  # seconds simulated so far, shared by the pool's processes


def _share(done_s: Any) -> None:
    global _done_s
    _done_s = done_s


def _simulate(name: str, trajectory: Trajectory) -> list[Record]:
    station = find_station(name)
    records, reported_ns = [], trajectory.start_ns
    for record in station.simulate_trajectory(trajectory):
        records.append(record)
        if record.log_time_ns - reported_ns >= _REPORT_EVERY_NS:
            _report((record.log_time_ns - reported_ns) / 1e9)
            reported_ns = record.log_time_ns
    return records


def _report(seconds: float) -> None:
    with _done_s.get_lock():
        _done_s.value += seconds
