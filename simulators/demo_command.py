"""``weldfusion demo``: the main job, shown."""

import asyncio
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.command import Insecure, fail

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from simulators.demo import DemoOptions


def demo(
    broker: Annotated[
        str,
        typer.Option(
            help="mqtt or kafka starts a broker here; a URL or a kind: broker file takes yours."
        ),
    ] = "mqtt",
    seconds: Annotated[float, typer.Option(min=12.0, help="How long the replay runs.")] = 60.0,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the faults; random and printed without one.")
    ] = None,
    scenario: Annotated[
        Path | None, typer.Option(help="Your own faults: a file with kind: scenario.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the result as one JSON object.")
    ] = None,
    recording: Annotated[
        str | None, typer.Option(help="Another recording than the shipped welding station.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Another checkpoint: a shipped name, a file, or none.")
    ] = None,
    insecure: Insecure = False,
) -> None:
    """Replay a recorded welding station, inject faults live, and watch them being caught.

    Starts a broker, a worker and a replay as processes of their own, listens as a factory's MES
    would, and ends with a table of what was injected, found, missed and falsely alarmed.
    """
    from rich.console import Console

    from simulators.brokers.broker import BrokerError
    from simulators.demo import MODEL, RECORDING, DemoError, DemoOptions
    from simulators.recordings.recording import RecordingError
    from simulators.scenario import ScenarioError
    from stream.config import ConfigError
    from stream.logs import configure_logs
    from stream.transports.transport import TransportError

    configure_logs()
    console = Console()
    options = DemoOptions(
        broker=broker,
        seconds=seconds,
        seed=secrets.randbelow(1 << 31) if seed is None else seed,
        recording=recording or str(RECORDING),
        model=model or MODEL,
        scenario=scenario,
        insecure=insecure,
    )
    try:
        result = _run(options, console)
    except (
        BrokerError,
        DemoError,
        RecordingError,
        ScenarioError,
        ConfigError,
        TransportError,
        ValueError,
    ) as error:
        raise fail("demo", error) from error
    console.print(table(result))
    console.print(summary(result), highlight=False)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(result, indent=2) + "\n")


def _run(options: "DemoOptions", console: "Console") -> dict[str, Any]:
    from rich.progress import BarColumn, Progress, TextColumn

    from simulators.demo import Demo, broker_for
    from stream.watch import line

    console.print(f"seed [bold]{options.seed}[/], {options.recording}")
    with broker_for(options.broker, console.print) as url:
        console.print("starting the worker …")
        columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.completed:.0f} s"))
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("replaying", total=options.seconds)
            running = Demo(
                options, url, lambda seen: bar.console.print(line(seen), highlight=False)
            )
            return asyncio.run(running.run(lambda done_s: bar.update(task, completed=done_s)))


def table(result: dict[str, Any]) -> "Table":
    """Each injected fault and what became of it."""
    from rich.table import Table

    shown = Table(title="injected faults")
    for column in ("fault", "severity", "found", "as", "delay", "cleared"):
        shown.add_column(column)
    for one in result["injected"]:
        delay = "" if one["delay_ms"] is None else f"{one['delay_ms']:.0f} ms"
        shown.add_row(
            f"{one['modality']}.{one['fault']}",
            f"{one['severity']:.2f}",
            "[green]found[/]" if one["detected"] else "[red]missed[/]",
            one["condition"] or "",
            delay,
            "yes" if one["cleared"] else "no" if one["detected"] else "",
        )
    return shown


def summary(result: dict[str, Any]) -> str:
    """The rest of the result in a few lines."""
    found = sum(one["detected"] for one in result["injected"])
    latency = result["latency_ms"]
    dropped = ", ".join(f"{n} {reason}" for reason, n in result["dropped"].items()) or "nothing"
    times = "–" if latency["p50"] is None else f"{latency['p50']:.0f} / {latency['p99']:.0f} ms"
    return (
        f"found {found} of {len(result['injected'])}, false alarms {result['false_alarms']}, "
        f"events {result['events']}\n"
        f"windows {result['windows']} ({result['windows_per_s']:.1f}/s), capture to latent "
        f"p50 / p99 {times}\n"
        f"dropped: {dropped}; model {result['model'] or 'none'}; seed {result['seed']}"
    )
