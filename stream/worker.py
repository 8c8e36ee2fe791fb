"""``weldfusion worker``: from a configuration file to a running pipeline and back."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from stream.config import (
    ConfigError,
    StationSettings,
    WorkerSettings,
    override,
    parse,
    read_mapping,
)
from stream.courier import Courier, PlainCourier
from stream.exactly_once import LogCourier
from stream.journal import Journal
from stream.journaling import WRITE_EVERY_S, JournalCourier
from stream.topics import topics_for
from stream.transports.kafka import KafkaTransport
from stream.transports.mqtt_sessions import inflight_needed
from stream.transports.open import open_sessions, open_transport
from stream.transports.transport import Transport

if TYPE_CHECKING:
    from stream.pipeline import Pipeline

log = structlog.get_logger(__name__)


def read_worker(
    path: Path, assignments: Sequence[str] = (), broker: str | None = None, insecure: bool = False
) -> WorkerSettings:
    """Read and override a worker's configuration; raises ConfigError with every mistake."""
    content: dict[str, Any] = override(read_mapping(path), assignments)
    if content.get("kind") != "worker":
        raise ConfigError(str(path), [f"kind: must be 'worker', not {content.get('kind')!r}"])
    if isinstance(content.get("broker", {}), dict):
        given = dict(content.get("broker") or {})
        if broker:
            given["url"] = broker
        if insecure:
            given["insecure"] = True
        content = {**content, "broker": given}
    return parse(content, WorkerSettings, str(path))


async def run_worker(settings: WorkerSettings, shadow: bool = False) -> None:
    """Load the models, connect, and work until SIGTERM or SIGINT; then drain."""
    from stream.engine import Engine
    from stream.pipeline import Pipeline

    engine = Engine(settings.stations, settings.model)
    engine.warm_up()
    transport = open_worker_transport(settings, shadow)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with transport, open_courier(settings, transport) as courier:
        pipeline = Pipeline(settings, engine, transport, courier=courier, shadow=shadow)
        if settings.metrics_port is not None:
            _serve(pipeline, settings.metrics_port)
        log.info("working", stations=[one.id for one in settings.stations])
        await pipeline.run(stop)
    log.info("stopped cleanly")


def _serve(pipeline: "Pipeline", port: int) -> None:
    try:
        pipeline.metrics.serve(port)
    except OSError as error:
        raise ConfigError("metrics", [f"metrics_port: {port} cannot be opened: {error}"]) from error


def open_worker_transport(settings: WorkerSettings, shadow: bool = False) -> Transport:
    """The worker's connection: lasting sessions, so that what came meanwhile is not missed.

    On MQTT each station has its own, whichever worker serves it; a shadow worker has others.
    """
    from stream.outbox import Outbox
    from stream.wire import rfc3339

    broker = settings.broker
    if broker.address.scheme.startswith("kafka") and not broker.group:
        broker = broker.model_copy(update={"group": f"weldfusion-{settings.name}"})
    if not broker.client_id:
        broker = broker.model_copy(update={"client_id": _client_id(settings, shadow)})
    outbox = Outbox(topics_for(broker.url))
    gone = {"state": "gone", "worker": settings.name, "time": None, "validUntil": rfc3339(0)}
    wills = {one.id: outbox.monitoring(one.id, gone) for one in settings.stations}
    if broker.address.scheme.startswith("mqtt"):
        inflight = {one.id: _inflight_needed(one) for one in settings.stations}
        return open_sessions(broker, wills, inflight)
    will = next(iter(wills.values()))
    return open_transport(broker, will=will, persistent=True, transactional=True)


def _client_id(settings: WorkerSettings, shadow: bool) -> str:
    if settings.broker.address.scheme.startswith("mqtt"):
        return "weldfusion-shadow" if shadow else "weldfusion"
    return f"weldfusion-{settings.name}"


def _inflight_needed(station: StationSettings) -> int:
    rates_hz = [one.rate_hz for one in station.modalities.values()]
    return inflight_needed(rates_hz, WRITE_EVERY_S)


@asynccontextmanager
async def open_courier(settings: WorkerSettings, transport: Transport) -> AsyncIterator[Courier]:
    """The guarantee that a worker gives on its broker; needs the open transport."""
    stations = [one.id for one in settings.stations]
    scheme = settings.broker.address.scheme
    if isinstance(transport, KafkaTransport):
        async with LogCourier(transport.log, stations) as courier:
            yield courier
    elif scheme.startswith("mqtt"):
        with Journal(journal_path(settings)) as journal:
            async with JournalCourier(transport, journal, stations) as kept:
                yield kept
    else:
        yield PlainCourier(transport, stations)


def journal_path(settings: WorkerSettings) -> Path:
    """Where a worker keeps its journal: one for each broker, for what it holds is that one's.

    Below ``state_dir``, else $XDG_STATE_HOME, else ~/.local/state.
    """
    home = os.environ.get("XDG_STATE_HOME")
    default = (Path(home) if home else Path.home() / ".local" / "state") / "weldfusion"
    broker = re.sub(r"[^a-z0-9.]+", "-", settings.broker.url.lower())
    return (settings.state_dir or default) / f"{settings.name}@{broker}.sqlite"
