"""``weldfusion train`` and ``evaluate``."""

import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.command import fail

if TYPE_CHECKING:
    from model.descent import Progress

Data = Annotated[
    list[str],
    typer.Option(help="A recording, perhaps with #<episodes>; several may follow one another."),
]
Map = Annotated[Path | None, typer.Option("--map", help="A file with kind: recording.")]
LINE_EVERY_S = 30.0


def train(
    config: Annotated[Path, typer.Argument(help="A file with kind: train.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Directory for the checkpoint.")],
    more: Annotated[list[str] | None, typer.Argument(help="Further recordings.")] = None,
    map: Map = None,
    calibration: Annotated[
        list[str] | None,
        typer.Option(help="A recording to set thresholds on; else a share of the others is."),
    ] = None,
    encoders: Annotated[
        Path | None,
        typer.Option(help="A checkpoint whose autoencoders are taken over instead of trained."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the file's seed.")] = None,
) -> None:
    """Train a checkpoint on clean recordings; goes on where an interrupted run stopped.

    Writes OUT/<name>.safetensors and OUT/<name>.json. Faults for the corrector are injected
    here; the recordings themselves must be healthy.
    """
    from model.checkpoint import CheckpointError
    from simulators.recordings.recording import RecordingError
    from simulators.training import TrainSettings, train_checkpoint
    from stream.config import ConfigError, parse, read_mapping
    from stream.logs import configure_logs

    configure_logs()
    try:
        settings = parse(read_mapping(config), TrainSettings, str(config)).seeded(seed)
        with progress_bars() as progress:
            path = train_checkpoint(
                settings, [*data, *(more or [])], out, map, progress, encoders, calibration or ()
            )
    except (CheckpointError, ConfigError, RecordingError, ValueError) as error:
        raise fail("train", error) from error
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def calibrate(
    checkpoint: Annotated[Path, typer.Argument(help="A .safetensors file, its .json beside it.")],
    data: Data,
    out: Annotated[Path, typer.Option(help="Directory for the checkpoint with new thresholds.")],
    more: Annotated[list[str] | None, typer.Argument(help="Further recordings.")] = None,
    map: Map = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="Evidence not to count, such as camera.tone where lights flicker."),
    ] = None,
) -> None:
    """Set a checkpoint's thresholds from a plant's own clean hours, without training.

    The recordings must be healthy: half an hour or more, from several sessions. Look at what it
    would raise with `weldfusion worker --shadow` before you trust it. What an evidence is worth
    shows in `weldfusion evaluate --beside` a checkpoint --without it.
    """
    from model.checkpoint import CheckpointError
    from simulators.recordings.recording import RecordingError
    from simulators.training import calibrate_checkpoint
    from stream.config import ConfigError
    from stream.logs import configure_logs

    configure_logs()
    recordings = [*data, *(more or [])]
    try:
        with progress_bars() as progress:
            path = calibrate_checkpoint(checkpoint, recordings, out, map, progress, without or ())
    except (CheckpointError, ConfigError, RecordingError, ValueError) as error:
        raise fail("calibrate", error) from error
    typer.echo(f"{path}: thresholds of {', '.join(Path(one).name for one in recordings)}")


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A .safetensors file, its .json beside it.")],
    data: Data,
    more: Annotated[list[str] | None, typer.Argument(help="Further recordings.")] = None,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="Another checkpoint, judged on the same; may be given several times."),
    ] = None,
    clean: Annotated[
        list[str] | None,
        typer.Option(help="A recording that nothing is injected into; may be given several times."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the injected faults.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as one JSON object.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write it as one page with pictures.")
    ] = None,
    map: Map = None,
) -> None:
    """Judge checkpoints on recordings that they never saw, with faults injected by the seed.

    Protocol A draws severities over the published ranges, B from 0.02 to 1. Each runs in the
    engine of the worker; thresholds are the checkpoint's own, frozen when it was calibrated. Hours
    of a healthy station, or parts and light that training never saw, are judged for false alarms
    alone with --clean.
    """
    from rich.console import Console

    from model.checkpoint import CheckpointError
    from simulators.evaluating import evaluate_systems
    from simulators.recordings.recording import RecordingError
    from simulators.report.terminal import tables
    from simulators.reporting import report_of, with_costs, write_page, write_report
    from stream.config import ConfigError
    from stream.logs import configure_logs

    configure_logs()
    recordings = [*data, *(more or [])]
    try:
        with progress_bars() as progress:
            evaluated = evaluate_systems(
                [checkpoint, *(beside or [])],
                recordings,
                seed,
                map,
                lambda stage, done, total: progress(stage, done, total, None),
                clean or (),
            )
    except (CheckpointError, ConfigError, RecordingError, ValueError) as error:
        raise fail("evaluate", error) from error
    report = with_costs(report_of(evaluated, recordings, seed, _command()), evaluated)
    for name, system in report["systems"].items():
        for one in tables(name, system):
            Console().print(one)
    if json_file is not None:
        write_report(report, json_file)
    if html_file is not None:
        write_page(report, evaluated, html_file)


def _command() -> str:
    """What was typed, without folders that only this machine has."""
    typed = [Path(one).name if Path(one).is_absolute() else one for one in sys.argv[1:]]
    return shlex.join(["weldfusion", *typed])


@contextmanager
def progress_bars() -> Iterator["Progress"]:
    """One bar for each stage of a long run; lines now and then where no terminal shows bars."""
    from rich import progress as rich_progress
    from rich.console import Console

    if not Console().is_terminal:
        yield _lines()
        return
    columns = (
        rich_progress.TextColumn("{task.description:<24}"),
        rich_progress.BarColumn(),
        rich_progress.TextColumn("{task.completed:.4g} of {task.total:.4g}"),
        rich_progress.TextColumn("{task.fields[loss]}"),
        rich_progress.TimeElapsedColumn(),
    )
    with rich_progress.Progress(*columns) as bars:
        tasks: dict[str, Any] = {}

        def progress(stage: str, done: float, total: float, loss: float | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, loss="")
            shown = "" if loss is None else f"loss {loss:.5f}"
            bars.update(tasks[stage], completed=done, total=total, loss=shown)

        yield progress


def _lines() -> "Progress":
    said_s: dict[str, float] = {}

    def progress(stage: str, done: float, total: float, loss: float | None) -> None:
        now_s = time.monotonic()
        if done < total and now_s - said_s.get(stage, -LINE_EVERY_S) < LINE_EVERY_S:
            return
        said_s[stage] = now_s
        shown = "" if loss is None else f", loss {loss:.5f}"
        typer.echo(f"{stage}: {done:.4g} of {total:.4g}{shown}", err=True)

    return progress
