"""``weldfusion bridge``: the stations of an MQTT broker into Kafka, for the workers there.

What arrives goes on as it came, under Kafka's names and keys, and is acknowledged to MQTT once
Kafka has it: what a killed bridge had under way comes again, and while Kafka is away MQTT sends no
more than its receive maximum.
"""

import asyncio
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from stream.config import (
    BridgeSettings,
    ConfigError,
    override,
    parse,
    read_mapping,
    with_broker,
)
from stream.control import NAME_HEADER, channels
from stream.inputs import MODALITY_HEADER, Inputs
from stream.messages import Malformed
from stream.metrics import BridgeMetrics
from stream.outbox import Outbox
from stream.refusals import RateCap
from stream.topics import Address, KafkaTopics, MqttTopics
from stream.transports.open import open_transport
from stream.transports.transport import Delivery, Message, TooLarge, Transport, TransportError

UNDER_WAY = 200  # messages, unless receive_maximum says otherwise
DRAIN_S = 5.0
CONTENT_TYPE = "content-type"
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something goes on Kafka; ``modality`` is empty for what is no reading."""

    station: str
    modality: str = ""
    address: Address
    headers: Mapping[str, str] = field(default_factory=dict)

    def message(self, delivery: Delivery) -> Message:
        """What arrived, as it came, and when."""
        headers = {**delivery.headers, **self.headers}
        return Message(
            topic=self.address.topic,
            key=self.address.key,
            payload=delivery.payload,
            content_type=headers.pop(CONTENT_TYPE, ""),
            headers=headers,
            time_ns=delivery.broker_time_ns or delivery.received_ns,
        )


class Crossing:
    """What a worker on MQTT subscribes to, and where a worker on Kafka expects it. Pure."""

    def __init__(self, settings: BridgeSettings) -> None:
        mqtt, kafka = MqttTopics(), KafkaTopics()
        self._inputs = Inputs(settings.inputs, settings.stations, mqtt)
        self._readings: dict[tuple[str, str], Place] = {}
        self._control: dict[str, Place] = {}
        for station in settings.stations:
            for name, modality in station.modalities.items():
                address = kafka.data(station.id, modality.kind, name)
                headers = {MODALITY_HEADER: name}
                self._readings[station.id, name] = Place(
                    station=station.id, modality=name, address=address, headers=headers
                )
            there = channels(station.id, kafka)
            for kind, here in channels(station.id, mqtt).items():
                headers = {NAME_HEADER: kind} if kind == "reset" else {}
                self._control[here.topic] = Place(
                    station=station.id, address=there[kind], headers=headers
                )

    def subscriptions(self) -> list[str]:
        """The filters to subscribe to on MQTT."""
        return sorted({*self._inputs.subscriptions(), *self._control})

    def topics(self) -> list[str]:
        """The topics that are written to on Kafka."""
        places = (*self._readings.values(), *self._control.values())
        return sorted({place.address.topic for place in places})

    def place(self, delivery: Delivery) -> Place:
        """Where a delivery goes; raises Malformed for what goes nowhere."""
        place = self._control.get(delivery.topic)
        if place is None:
            route = self._inputs.route(delivery)
            return self._readings[route.station, route.modality]
        if delivery.retained and NAME_HEADER in place.headers:
            raise Malformed("retained_command", "no worker obeys a command that was kept")
        return place


class Bridge:
    """Carries deliveries to another broker and acknowledges them, both in their order."""

    def __init__(
        self,
        settings: BridgeSettings,
        source: Transport,
        target: Transport,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._source, self._target, self._now_ns = source, target, now_ns
        self._crossing = Crossing(settings)
        self._outbox = Outbox(MqttTopics())
        self._any_station = settings.stations[0].id
        self._cap = RateCap()
        self._room = asyncio.Semaphore(settings.source.receive_maximum or UNDER_WAY)
        self._taken: asyncio.Queue[tuple[Delivery, asyncio.Task[None]] | None] = asyncio.Queue()
        self._carrying: set[asyncio.Task[None]] = set()
        self.metrics = BridgeMetrics()
        self.metrics.waiting.set_function(lambda: len(self._carrying))
        self.metrics.transport_dropped.set_function(lambda: source.refused.total())
        self.metrics.broker_failures.set_function(
            lambda: source.failures.total() + target.failures.total()
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Carry until ``stop`` is set or the source is closed, then finish what was begun.

        Raises TransportError where Kafka refuses a message for another reason than its size.
        """
        await self._target.prepare(self._crossing.topics())
        await self._source.subscribe(self._crossing.subscriptions())
        stopping = asyncio.ensure_future(stop.wait())
        taking, settling = asyncio.create_task(self._take()), asyncio.create_task(self._settle())
        running = {stopping, taking, settling}
        try:
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            taking.cancel()
            self._taken.put_nowait(None)
            async with asyncio.timeout(DRAIN_S):
                await settling
        except TimeoutError:
            log.error("stopped with messages that Kafka did not take; MQTT sends them again")
        finally:
            left = [*running, *self._carrying]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _take(self) -> None:
        async for delivery in self._source.deliveries():
            await self._room.acquire()
            carrying = asyncio.create_task(self._carry(delivery))
            self._carrying.add(carrying)
            self._taken.put_nowait((delivery, carrying))

    async def _settle(self) -> None:
        while (oldest := await self._taken.get()) is not None:
            delivery, carrying = oldest
            await carrying
            self._source.acknowledge(delivery)
            self._carrying.discard(carrying)
            self._room.release()

    async def _carry(self, delivery: Delivery) -> None:
        """Return once Kafka has it or, where Kafka can never have it, MQTT its dead letter."""
        station = modality = ""
        try:
            place = self._crossing.place(delivery)
            station, modality = place.station, place.modality
            await self._target.publish(place.message(delivery))
        except Malformed as error:
            await self._refuse(delivery, station, modality, error.reason, error.detail)
        except TooLarge as error:
            await self._refuse(delivery, station, modality, "too_large", str(error))
        else:
            self.metrics.carried.labels(station, modality).inc()

    async def _refuse(
        self, delivery: Delivery, station: str, modality: str, reason: str, detail: str
    ) -> None:
        self.metrics.refused.labels(station, modality).inc()
        if not self._cap.allows(reason, self._now_ns()):
            return
        log.warning("refused", topic=delivery.topic, reason=reason, detail=detail)
        letter = self._outbox.dead_letter(
            delivery, station, modality, reason, detail, site_of=self._any_station
        )
        try:
            await self._source.publish(letter)
        except TransportError as error:
            self.metrics.unpublished.inc()
            log.error("not published", topic=letter.topic, error=str(error))


def read_bridge(
    path: Path,
    assignments: Sequence[str] = (),
    source: str | None = None,
    target: str | None = None,
    insecure: bool = False,
) -> BridgeSettings:
    """Read and override a bridge's configuration; raises ConfigError with every mistake."""
    content = override(read_mapping(path), assignments)
    if content.get("kind") != "bridge":
        raise ConfigError(str(path), [f"kind: must be 'bridge', not {content.get('kind')!r}"])
    for key, url in (("from", source), ("to", target)):
        content = with_broker(content, key, url, insecure)
    return parse(content, BridgeSettings, str(path))


async def run_bridge(settings: BridgeSettings) -> None:
    """Connect to both brokers and carry until SIGTERM or SIGINT; then drain."""
    mqtt = settings.source
    session = mqtt.model_copy(
        update={
            "client_id": mqtt.client_id or f"weldfusion-{settings.name}",
            "receive_maximum": mqtt.receive_maximum or UNDER_WAY,
        }
    )
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    source, target = open_transport(session, persistent=True), open_transport(settings.target)
    async with target, source:
        bridge = Bridge(settings, source, target)
        if settings.metrics_port is not None:
            bridge.metrics.serve(settings.metrics_port)
        log.info("carrying", stations=[one.id for one in settings.stations])
        await bridge.run(stop)
    log.info("stopped cleanly")
