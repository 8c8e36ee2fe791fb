"""``weldfusion simulate``: a station's recording, made rather than found."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulators.stations.station import Station
    from simulators.stations.trajectory import Trajectory


def simulate(
    station: Annotated[str, typer.Argument(help="Which station, such as welding-single.")],
    out: Annotated[Path | None, typer.Option(help="The recording to write, an .mcap file.")] = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --out: a directory for train, calibration, validation and test "
            "recordings, which share the minutes 5 : 2 : 1 : 2 by whole trajectories."
        ),
    ] = None,
    minutes: Annotated[float, typer.Option(help="How long; a trajectory lasts a minute.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same recording.")] = 0,
    extra: Annotated[
        list[str] | None,
        typer.Option("--with", help="Also record an optional modality, such as process."),
    ] = None,
    unfamiliar: Annotated[
        bool,
        typer.Option(
            "--unfamiliar", help="Light, mount and parts beyond what other recordings have."
        ),
    ] = False,
    jobs: Annotated[
        int, typer.Option(min=0, help="Processes side by side; 0 takes one for each core.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
) -> None:
    """Simulate a station and write what its sensors saw, with the noise-free values beside it."""
    from simulators.recordings.recording import RecordingError
    from simulators.stations.opengl import OpenGLError
    from simulators.stations.simulate import Request, SimulationError, plan_trajectories
    from simulators.stations.station import UnknownStationError, find_station

    known = (UnknownStationError, SimulationError, OpenGLError, RecordingError)
    try:
        _check(minutes, out, splits)
        found = find_station(station)
        request = Request(
            seconds=minutes * 60, seed=seed, extra=frozenset(extra or ()), unfamiliar=unfamiliar
        )
        files = _files(plan_trajectories(found, request), out, splits, force)
        for path, trajectories in files.items():
            _simulate(found, trajectories, path, jobs or os.cpu_count() or 1)
    except known as error:
        typer.secho(f"simulate: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from error


def _check(minutes: float, out: Path | None, splits: Path | None) -> None:
    from simulators.stations.simulate import SimulationError

    if not 1 / 60 <= minutes <= 60 * 24:
        raise SimulationError(
            f"--minutes {minutes:g}: at least a second (0.017), at most a day (1440)"
        )
    if (out is None) == (splits is None):
        raise SimulationError("give either --out FILE.mcap or --splits DIRECTORY")
    directory = splits.parent if splits else out.parent if out else Path()
    if (out and out.is_dir()) or not directory.is_dir():
        what = "is a directory" if out and out.is_dir() else f"no directory {directory} is there"
        raise SimulationError(f"{out or splits}: {what}")


def _files(
    trajectories: list["Trajectory"], out: Path | None, splits: Path | None, force: bool
) -> dict[Path, list["Trajectory"]]:
    """Which trajectories go into which file; raises SimulationError where one is there already."""
    from simulators.stations.simulate import SimulationError, split_trajectories

    if splits is None:
        files = {out or Path(): trajectories}
    else:
        shared_out = split_trajectories(trajectories)
        files = {splits / f"{name}.mcap": each for name, each in shared_out.items()}
        splits.mkdir(exist_ok=True)
    there = [path for path in files if path.exists()]
    if there and not force:
        raise SimulationError(f"{there[0]}: the file exists; --force overwrites it")
    return files


def _simulate(station: "Station", trajectories: list["Trajectory"], path: Path, jobs: int) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from simulators.stations.simulate import simulate_recording

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
        TimeRemainingColumn(),
    )
    seconds = sum(trajectory.seconds for trajectory in trajectories)
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(f"simulating {station.name}: {path.name}", total=seconds)
        simulate_recording(
            station,
            trajectories,
            path=path,
            jobs=jobs,
            progress=lambda done_s: bar.update(task, completed=done_s),
        )
    typer.echo(
        f"{path}: {seconds:g} s of {station.name}, seed {trajectories[0].seed}, "
        f"{path.stat().st_size / 1e6:.1f} MB"
    )
