"""``weldfusion worker``: from a configuration file to a running pipeline and back."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from stream.config import (
    ConfigError,
    StationSettings,
    WorkerSettings,
    override,
    parse,
    read_mapping,
    with_broker,
)
from stream.courier import Courier, PlainCourier
from stream.exactly_once import LogCourier
from stream.journal import Journal
from stream.journaling import WRITE_EVERY_S, JournalCourier
from stream.only_one import only_one
from stream.topics import topics_for
from stream.transports.kafka import KafkaTransport
from stream.transports.mqtt_sessions import inflight_needed
from stream.transports.open import open_sessions, open_transport
from stream.transports.transport import Transport

log = structlog.get_logger(__name__)


def read_worker(
    path: Path, assignments: Sequence[str] = (), broker: str | None = None, insecure: bool = False
) -> WorkerSettings:
    """Read and override a worker's configuration; raises ConfigError with every mistake."""
    content: dict[str, Any] = override(read_mapping(path), assignments)
    if content.get("kind") != "worker":
        raise ConfigError(str(path), [f"kind: must be 'worker', not {content.get('kind')!r}"])
    content = with_broker(content, "broker", broker, insecure)
    return parse(content, WorkerSettings, str(path))


async def run_worker(settings: WorkerSettings, shadow: bool = False) -> None:
    """Load the models, connect, and work until SIGTERM or SIGINT; then drain."""
    from stream.engine import Engine
    from stream.pipeline import Pipeline

    if shadow:
        settings = as_shadow(settings)
    engine = Engine(settings.stations, settings.model)
    engine.warm_up()
    transport = open_worker_transport(settings)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with alone(settings), transport, open_courier(settings, transport) as courier:
        pipeline = Pipeline(settings, engine, transport, courier=courier, shadow=shadow)
        if settings.metrics_port is not None:
            pipeline.metrics.serve(settings.metrics_port)
        log.info("working", stations=[one.id for one in settings.stations])
        await pipeline.run(stop)
    log.info("stopped cleanly")


def as_shadow(settings: WorkerSettings) -> WorkerSettings:
    """The settings of a worker that takes nothing away from the one that it shadows."""
    broker = settings.broker
    names = {"client_id": broker.client_id or "weldfusion", "group": broker.group}
    apart = {key: f"{name}-shadow" for key, name in names.items() if name}
    own = {"name": f"{settings.name}-shadow", "broker": broker.model_copy(update=apart)}
    return settings.model_copy(update=own)


def open_worker_transport(settings: WorkerSettings) -> Transport:
    """The worker's connection: lasting sessions, so that what came meanwhile is not missed.

    On MQTT each station has its own, whichever worker serves it.
    """
    from stream.outbox import Outbox
    from stream.wire import rfc3339

    broker = settings.broker
    if broker.address.scheme.startswith("kafka") and not broker.group:
        broker = broker.model_copy(update={"group": f"weldfusion-{settings.name}"})
    client_id = broker.client_id or "weldfusion"
    if broker.address.scheme.startswith("kafka"):  # where members of a group are told apart by it
        client_id = f"{client_id}-{settings.name}"
    broker = broker.model_copy(update={"client_id": client_id})
    outbox = Outbox(topics_for(broker.url))
    gone = {"state": "gone", "worker": settings.name, "time": None, "validUntil": rfc3339(0)}
    wills = {one.id: outbox.monitoring(one.id, gone) for one in settings.stations}
    if broker.address.scheme.startswith("mqtt"):
        inflight = {one.id: _inflight_needed(one) for one in settings.stations}
        return open_sessions(broker, wills, inflight)
    will = next(iter(wills.values()))
    return open_transport(broker, will=will, persistent=True, transactional=True)


def _inflight_needed(station: StationSettings) -> int:
    rates_hz = [one.rate_hz for one in station.modalities.values()]
    return inflight_needed(rates_hz, WRITE_EVERY_S)


@asynccontextmanager
async def alone(settings: WorkerSettings) -> AsyncIterator[None]:
    """See to it that no other worker of this name is beside the same broker on this machine."""
    if settings.broker.address.scheme == "memory":
        yield
        return
    with only_one(state_path(settings, ".lock")):
        yield


@asynccontextmanager
async def open_courier(settings: WorkerSettings, transport: Transport) -> AsyncIterator[Courier]:
    """The guarantee that a worker gives on its broker; needs the open transport."""
    stations = [one.id for one in settings.stations]
    scheme = settings.broker.address.scheme
    if isinstance(transport, KafkaTransport):
        async with LogCourier(transport.log, stations) as courier:
            yield courier
    elif scheme.startswith("mqtt"):
        with Journal(state_path(settings, ".sqlite")) as journal:
            async with JournalCourier(transport, journal, stations) as kept:
                yield kept
    else:
        yield PlainCourier(transport, stations)


def state_path(settings: WorkerSettings, suffix: str) -> Path:
    """Where a worker keeps something of its own, by broker.

    Below ``state_dir``, else $XDG_STATE_HOME, else ~/.local/state.
    """
    home = os.environ.get("XDG_STATE_HOME")
    default = (Path(home) if home else Path.home() / ".local" / "state") / "weldfusion"
    broker = re.sub(r"[^a-z0-9.]+", "-", settings.broker.url.lower())
    return (settings.state_dir or default) / f"{settings.name}@{broker}{suffix}"
