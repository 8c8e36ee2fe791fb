"""The stream's commands: worker and watch."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

Broker = Annotated[
    str, typer.Argument(help="Broker URL: mqtt://host:1883, mqtts://, kafka://host:9092, …")
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow plaintext or anonymous access beyond localhost.")
]


def mount(app: typer.Typer) -> None:
    """Add this room's commands."""
    app.command()(worker)
    app.command()(watch)


def worker(
    config: Annotated[Path, typer.Argument(help="A configuration with kind: worker.")],
    broker: Annotated[
        str | None, typer.Option(help="Broker URL, instead of the configuration's.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="path.to.key=value over the configuration; may be repeated."),
    ] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Write events to the shadow topics only.")
    ] = False,
    insecure: Insecure = False,
) -> None:
    """Fuse the streams of the configured stations until SIGTERM, then drain and stop.

    Example: weldfusion worker configs/worker-welding-single.yaml --broker mqtt://localhost:1883
    """
    from stream.config import ConfigError
    from stream.logs import configure_logs
    from stream.transports.transport import TransportError
    from stream.worker import read_worker, run_worker

    configure_logs()
    try:
        settings = read_worker(config, assignments or [], broker, insecure)
        asyncio.run(run_worker(settings, shadow))
    except (ConfigError, TransportError, ValueError) as error:
        raise fail("worker", error) from error


def watch(
    url: Broker,
    station: Annotated[
        str | None, typer.Option(help="Only this station: enterprise/site/area/line/cell.")
    ] = None,
    raw: Annotated[bool, typer.Option("--json", help="Print the events as they are.")] = False,
    insecure: Insecure = False,
) -> None:
    """Show fault events as they come, as an MES would see them. Ctrl-C ends it."""
    import contextlib

    from stream.logs import configure_logs
    from stream.transports.transport import TransportError

    configure_logs()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_watch(url, station, raw, insecure))
    except (TransportError, ValueError) as error:
        raise fail("watch", error) from error


async def _watch(url: str, station: str | None, raw: bool, insecure: bool) -> None:
    import json

    from rich.console import Console

    from stream.topics import topics_for
    from stream.transports.open import BrokerConfig, open_transport
    from stream.watch import events, line

    console = Console()
    async with open_transport(BrokerConfig(url=url, insecure=insecure)) as transport:
        console.print(f"[dim]watching {url}; Ctrl-C ends it[/]")
        async for seen in events(transport, topics_for(url), station):
            if raw:
                print(json.dumps(seen.document), flush=True)
            else:
                console.print(line(seen), highlight=False)


def fail(command: str, error: Exception) -> typer.Exit:
    """Print one clear error and give the exit to raise."""
    typer.secho(f"{command}: {error}", err=True, fg=typer.colors.RED)
    return typer.Exit(2)
