"""``weldfusion train`` and ``evaluate``."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.command import fail

if TYPE_CHECKING:
    from rich.table import Table

    from model.autoencoding import Progress

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
        settings = parse(read_mapping(config), TrainSettings, str(config))
        with progress_bars() as progress:
            path = train_checkpoint(settings, [*data, *(more or [])], out, map, progress)
    except (CheckpointError, ConfigError, RecordingError, ValueError) as error:
        raise fail("train", error) from error
    typer.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A .safetensors file, its .json beside it.")],
    data: Data,
    more: Annotated[list[str] | None, typer.Argument(help="Further recordings.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the injected faults.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the report as one JSON object.")
    ] = None,
    map: Map = None,
) -> None:
    """Judge a checkpoint on recordings that it never saw, with faults injected by the seed.

    Protocol A draws severities over the published ranges, B from 0.02 to 1. Thresholds are the
    checkpoint's own, frozen when it was calibrated.
    """
    from rich.console import Console

    from model.checkpoint import CheckpointError
    from simulators.recordings.recording import RecordingError
    from simulators.training import evaluate_checkpoint, write_report
    from stream.config import ConfigError
    from stream.logs import configure_logs

    configure_logs()
    try:
        with progress_bars() as progress:
            report = evaluate_checkpoint(
                checkpoint,
                [*data, *(more or [])],
                seed,
                map,
                lambda stage, done, total: progress(stage, done, total, None),
            )
    except (CheckpointError, ConfigError, RecordingError, ValueError) as error:
        raise fail("evaluate", error) from error
    for protocol in report["protocols"]:
        Console().print(table(report["protocols"][protocol], protocol))
    Console().print(error_table(report["protocols"]))
    typer.echo(
        f"{report['windows']} clean windows, false alarms {report['clean_false_alarms']:.4f}"
    )
    if json_file is not None:
        write_report(report, json_file)


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


def table(report: dict[str, Any], protocol: str) -> "Table":
    """One protocol's figures by class."""
    from rich.table import Table

    low, high = report["macro_f1_interval"]
    shown = Table(
        title=f"protocol {protocol}: macro F1 {report['macro_f1']:.4f} ({low:.3f}-{high:.3f})"
    )
    for column in ("class", "precision", "recall", "F1", "recall at 1e-2", "measured"):
        shown.add_column(column)
    for name, figures in report["classes"].items():
        cells = [name, *(f"{figures[key]:.3f}" for key in ("precision", "recall", "f1"))]
        if name in report["error"]:
            point = report["recall_at_far"]["1e-2"][name]
            cells += [f"{point['recall']:.3f}", f"{point['measured_far']:.4f}"]
        shown.add_row(*cells)
    return shown


def error_table(protocols: dict[str, dict[str, Any]]) -> "Table":
    """What faulty windows decode to, before and after correction, beside the decoder's own."""
    from rich.table import Table

    keys = ("uncorrected", "corrected", "floor")
    shown = Table(title="mean square error of the faulty modality")
    for column in ("protocol", "modality", *keys):
        shown.add_column(column)
    for protocol, report in protocols.items():
        for name, error in report["error"].items():
            shown.add_row(protocol, name, *(f"{error[key]:.5f}" for key in keys))
    return shown
