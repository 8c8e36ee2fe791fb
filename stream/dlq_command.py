"""``weldfusion dlq show`` and ``weldfusion dlq replay``."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stream.command import Broker, Insecure, MqttVersion, broker_config, fail

if TYPE_CHECKING:
    from stream.dead_letters import Resending, Wanted
    from stream.transports.broker import BrokerConfig

Reason = Annotated[
    str, typer.Option(help="Only this reason, such as truncated_image or wrong_channels.")
]
Station = Annotated[str, typer.Option(help="Only this station: enterprise/site/area/line/cell.")]
Seconds = Annotated[float | None, typer.Option(min=0.1, help="Stop after so many seconds.")]

SENT = ("sent again", "to be sent")

dlq = typer.Typer(
    help="Dead letters: look at what was refused, and send it again once the cause is mended.",
    no_args_is_help=True,
)


@dlq.command()
def show(
    url: Broker,
    reason: Reason = "",
    station: Station = "",
    late: Annotated[bool, typer.Option("--late", help="Late readings too.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="On Kafka: go on with those to come.")
    ] = False,
    seconds: Seconds = None,
    insecure: Insecure = False,
    mqtt_version: MqttVersion = None,
) -> None:
    """List dead letters: when, why, from where, how large, how they begin.

    Kafka keeps them: all are listed, then the command ends. MQTT keeps none: those are listed
    that come from now on, until Ctrl-C or --seconds. A worker publishes at most 20 letters a
    second for each reason; its counters know the rest. Originals over 64 KiB are kept as hash
    and length.

    Example: weldfusion dlq show kafka://localhost:9092 --reason wrong_channels

    Example: weldfusion dlq show mqtt://localhost:1883 --late --seconds 60
    """
    found: Counter[str] = Counter()
    with _told("dlq show"):
        wanted = _wanted(reason, station)
        broker = broker_config(url, insecure, mqtt_version)
        _run(_show(broker, wanted, found, late=late, follow=follow), seconds)
        typer.echo(f"{found.total()} shown{_listed(found)}")


@dlq.command()
def replay(
    url: Broker,
    reason: Reason = "",
    station: Station = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing, only tell what would be sent.")
    ] = False,
    seconds: Seconds = None,
    insecure: Insecure = False,
    mqtt_version: MqttVersion = None,
) -> None:
    """Send the originals of dead letters again, to the topics that they came from.

    First mend the cause, for instance the number of channels in the worker's configuration; what
    is still wrong becomes a dead letter again. Capture times stay as they are, so that a worker
    whose windows have passed them counts them as late.

    Kafka remembers for each station and reason what was sent (consumer groups named
    weldfusion-dlq-replay.*): a second run goes on from there. On MQTT, which keeps no letters,
    those are sent again that come while this runs. Originals that were kept as hash and length
    are named and counted, not sent.

    Example: weldfusion dlq replay kafka://localhost:9092 --reason wrong_channels --dry-run

    Example: weldfusion dlq replay mqtt://localhost:1883 --station acme/plant/hall/line/cell
    """
    from stream.dead_letters import Resending
    from stream.transports.transport import TransportError

    with _told("dlq replay"):
        resending = Resending(_wanted(reason, station), typer.echo, dry_run=dry_run)
        broker = broker_config(url, insecure, mqtt_version)
        try:
            _run(_replay(broker, resending), seconds)
        except TransportError:
            if resending.counts:
                typer.echo(summary(resending.counts, resending.reasons))
            raise
        typer.echo(summary(resending.counts, resending.reasons))


async def _show(
    broker: "BrokerConfig", wanted: "Wanted", found: Counter[str], *, late: bool, follow: bool
) -> None:
    from rich.console import Console

    from stream.dead_letters import letters, line, visible
    from stream.messages import Malformed
    from stream.topics import topics_for
    from stream.transports.open import open_transport

    console, topics = Console(soft_wrap=True), topics_for(broker.url)
    async with open_transport(broker, from_beginning=True) as transport:
        async for _, letter in letters(transport, topics, wanted.station, late=late, follow=follow):
            if isinstance(letter, Malformed):
                console.print(f"no letter: {visible(str(letter), 120)}", markup=False)
                found["no letter"] += 1
            elif wanted.takes(letter):
                console.print(line(letter), highlight=False)
                found[letter.reason] += 1


async def _replay(broker: "BrokerConfig", resending: "Resending") -> None:
    from stream.topics import topics_for
    from stream.transports.open import open_transport

    async with open_transport(broker, from_beginning=True) as transport:
        await resending.run(transport, broker, topics_for(broker.url))


def _wanted(reason: str, station: str) -> "Wanted":
    import re

    from stream.config import STATION_PATTERN
    from stream.dead_letters import Wanted

    if station and not re.fullmatch(STATION_PATTERN, station):
        raise ValueError(f"--station {station!r}: five segments, as in acme/plant/hall/line/cell")
    return Wanted(reason=reason, station=station)


def _run(work: Coroutine[Any, Any, None], seconds: float | None) -> None:
    """Until it ends, for so many seconds, or until Ctrl-C."""

    async def bounded() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await work

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(bounded())


@contextlib.contextmanager
def _told(command: str) -> Iterator[None]:
    """What goes wrong is one clear error and an exit."""
    from stream.config import ConfigError
    from stream.logs import configure_logs
    from stream.transports.transport import TransportError

    configure_logs()
    try:
        yield
    except (ConfigError, TransportError, ValueError) as error:
        raise fail(command, error) from error


def summary(counts: Mapping[str, int], reasons: Mapping[str, int]) -> str:
    """What became of the letters that a replay saw, a line each."""
    if not counts:
        return "no dead letters"
    return "\n".join(
        f"{count:>6} {what}{_listed(reasons) if what in SENT else ''}"
        for what, count in sorted(counts.items(), key=lambda item: -item[1])
    )


def _listed(reasons: Mapping[str, int]) -> str:
    named = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f": {named}" if named else ""
