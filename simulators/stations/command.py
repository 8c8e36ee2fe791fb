"""``weldfusion simulate``: a station's recording, made rather than found."""

import os
from pathlib import Path
from typing import Annotated

import typer


def simulate(
    station: Annotated[str, typer.Argument(help="Which station, such as welding-single.")],
    out: Annotated[Path, typer.Option(help="The recording to write, an .mcap file.")],
    minutes: Annotated[float, typer.Option(help="How long; a trajectory lasts a minute.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same recording.")] = 0,
    jobs: Annotated[
        int, typer.Option(min=0, help="Processes side by side; 0 takes one for each core.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Simulate a station and write what its sensors saw, with the noise-free values beside it."""
    from simulators.recordings.recording import RecordingError
    from simulators.stations.opengl import OpenGLError
    from simulators.stations.simulate import SimulationError
    from simulators.stations.station import UnknownStationError

    known = (UnknownStationError, SimulationError, OpenGLError, RecordingError)
    try:
        _check(minutes, out, force)
        _simulate(station, minutes * 60, seed, out, jobs or os.cpu_count() or 1)
    except known as error:
        typer.secho(f"simulate: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from error


def _check(minutes: float, out: Path, force: bool) -> None:
    from simulators.stations.simulate import SimulationError

    if not 1 / 60 <= minutes <= 60 * 24:
        raise SimulationError(
            f"--minutes {minutes:g}: at least a second (0.017), at most a day (1440)"
        )
    if out.is_dir() or not out.parent.is_dir():
        what = "is a directory" if out.is_dir() else f"the directory {out.parent} does not exist"
        raise SimulationError(f"--out {out}: {what}")
    if out.exists() and not force:
        raise SimulationError(f"--out {out}: the file exists; --force overwrites it")


def _simulate(name: str, seconds: float, seed: int, out: Path, jobs: int) -> None:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from simulators.stations.simulate import simulate_recording
    from simulators.stations.station import find_station

    station = find_station(name)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, transient=True) as bar:
        task = bar.add_task(f"simulating {name}", total=seconds)
        simulate_recording(
            station,
            seconds=seconds,
            seed=seed,
            path=out,
            jobs=jobs,
            progress=lambda done_s: bar.update(task, completed=done_s),
        )
    typer.echo(f"{out}: {seconds:g} s of {name}, seed {seed}, {out.stat().st_size / 1e6:.1f} MB")
