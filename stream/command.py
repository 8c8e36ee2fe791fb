"""The stream's commands: worker, bridge and watch; dlq is mounted beside them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from stream.transports.broker import BrokerConfig

Broker = Annotated[
    str,
    typer.Argument(
        help="Broker URL: mqtt://host:1883, mqtts://, kafka://host:9092, …; "
        "or a YAML file with kind: broker, which also says as whom."
    ),
]
Insecure = Annotated[
    bool, typer.Option("--insecure", help="Allow plaintext or anonymous access beyond localhost.")
]


MqttVersion = Annotated[
    str | None,
    typer.Option(help="MQTT protocol, 5 or 3.1.1; an older broker is told apart in any case."),
]


def mount(app: typer.Typer) -> None:
    """Add this room's commands."""
    from stream.dlq_command import dlq

    app.command()(worker)
    app.command()(bridge)
    app.command()(watch)
    app.add_typer(dlq, name="dlq")


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
    from stream.journal import JournalError
    from stream.logs import configure_logs
    from stream.transports.transport import TransportError
    from stream.worker import read_worker, run_worker

    configure_logs()
    try:
        settings = read_worker(config, assignments or [], broker, insecure)
        asyncio.run(run_worker(settings, shadow))
    except (ConfigError, JournalError, TransportError, ValueError) as error:
        raise fail("worker", error) from error


def bridge(
    config: Annotated[Path, typer.Argument(help="A configuration with kind: bridge.")],
    source: Annotated[
        str | None, typer.Option("--from", help="MQTT's URL, instead of the configuration's.")
    ] = None,
    target: Annotated[
        str | None, typer.Option("--to", help="Kafka's URL, instead of the configuration's.")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="path.to.key=value over the configuration; may be repeated."),
    ] = None,
    insecure: Insecure = False,
) -> None:
    """Carry the configured stations from MQTT into Kafka until SIGTERM, then drain and stop.

    Payloads and headers go on as they came, keyed by station; each message is acknowledged to
    MQTT once Kafka has it. Workers in one Kafka group then share the stations.

    Example: weldfusion bridge configs/bridge-welding-single.yaml --from mqtt://localhost:1883
    """
    from stream.bridge import read_bridge, run_bridge
    from stream.config import ConfigError
    from stream.logs import configure_logs
    from stream.transports.transport import TransportError

    configure_logs()
    try:
        asyncio.run(run_bridge(read_bridge(config, assignments or [], source, target, insecure)))
    except (ConfigError, TransportError, ValueError) as error:
        raise fail("bridge", error) from error


def watch(
    url: Broker,
    station: Annotated[
        str | None, typer.Option(help="Only this station: enterprise/site/area/line/cell.")
    ] = None,
    raw: Annotated[bool, typer.Option("--json", help="Print the events as they are.")] = False,
    insecure: Insecure = False,
    mqtt_version: MqttVersion = None,
) -> None:
    """Show fault events as they come, as an MES would see them. Ctrl-C ends it."""
    import contextlib

    from stream.config import ConfigError
    from stream.logs import configure_logs
    from stream.transports.transport import TransportError

    configure_logs()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            broker = broker_config(url, insecure, mqtt_version)
            asyncio.run(_watch(broker, station, raw))
    except (ConfigError, TransportError, ValueError) as error:
        raise fail("watch", error) from error


async def _watch(broker: "BrokerConfig", station: str | None, raw: bool) -> None:
    import json

    from rich.console import Console

    from stream.topics import topics_for
    from stream.transports.open import open_transport
    from stream.watch import events, line

    console = Console()
    async with open_transport(broker) as transport:
        console.print(f"[dim]watching {broker.url}; Ctrl-C ends it[/]")
        async for seen in events(transport, topics_for(broker.url), station):
            if raw:
                print(json.dumps(seen.document), flush=True)
            else:
                console.print(line(seen), highlight=False)


def broker_config(url: str, insecure: bool, mqtt_version: str | None = None) -> "BrokerConfig":
    """A broker as the command line names it; raises ConfigError without repeating the URL.

    Instead of a URL it may be a YAML file with ``kind: broker``; the options go over it.
    """
    from stream.config import BrokerSettings, parse, read_mapping

    from_file = url.endswith((".yaml", ".yml")) and "://" not in url
    content: dict[str, Any] = {"kind": "broker", "url": url}
    if from_file:
        content = read_mapping(Path(url))
    if insecure:
        content["insecure"] = True
    if mqtt_version is not None:
        content["protocol"] = mqtt_version
    return parse(content, BrokerSettings, url if from_file else "broker")


def fail(command: str, error: Exception) -> typer.Exit:
    """Print one clear error and give the exit to raise."""
    typer.secho(f"{command}: {error}", err=True, fg=typer.colors.RED)
    return typer.Exit(2)
