"""The worker's way of the data: every task and queue of it, in one task group."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from stream.alarms import Change
from stream.balance import Balance
from stream.config import WorkerSettings
from stream.control import Control
from stream.courier import Courier, Granted, Incoming, Parcel, PlainCourier, Withdrawn
from stream.engine import Engine
from stream.gate import Verdict
from stream.idleness import Idleness
from stream.inferring import Inferring
from stream.inputs import Inputs
from stream.intake import Intake, Prepared
from stream.messages import Malformed, Reading, Rejected, Window
from stream.metrics import Metrics
from stream.outbox import Outbox
from stream.publisher import Publisher
from stream.refusals import RateCap
from stream.reporter import Reporter
from stream.served import Origin, Served, Step
from stream.specs import MS
from stream.station import Station
from stream.status import WorkerStatus
from stream.topics import topics_for
from stream.transports.transport import Delivery, Message, Transport

BEING_DECODED = 64
TICK_S = 0.02
STRIDE_NS = round(2 * TICK_S * 1e9)  # the most that a tick counts for as silence
DRAIN_S = 8.0  # a container is killed 10 s after SIGTERM
log = structlog.get_logger(__name__)


class Pipeline:
    """From a courier's deliveries to its parcels, for all stations of a worker."""

    def __init__(
        self,
        settings: WorkerSettings,
        engine: Engine,
        transport: Transport,
        *,
        courier: Courier | None = None,
        shadow: bool = False,
        metrics: Metrics | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings, self._engine, self._transport = settings, engine, transport
        self._now_ns, self.metrics = now_ns, metrics or Metrics()
        self._courier = courier or PlainCourier(transport, [one.id for one in settings.stations])
        topics = topics_for(settings.broker.url)
        self._configured = {one.id: engine.completed(one) for one in settings.stations}
        stations = list(self._configured.values())
        inputs = Inputs(settings.inputs, stations, topics)
        self._subscriptions = inputs.subscriptions()
        self._served: dict[str, Served] = {}
        self._intake = Intake(inputs, stations, round(settings.max_image_mpx * 1_000_000))
        self._balance = Balance(transport, self._courier, inputs)
        self._control = Control(self._configured, topics)
        self._outbox = Outbox(topics, shadow)
        self.status = WorkerStatus(settings, engine)
        retention_ns = round(settings.state_retention_s * 1e9)
        self._reporter = Reporter(self._outbox, self.status, self.metrics, retention_ns)
        self._publisher = Publisher(self._courier, transport, self.metrics, now_ns)
        self.status.watch(transport.refused, self._courier.dropped)
        self.metrics.transport_dropped.set_function(lambda: sum(transport.refused.values()))
        self.metrics.broker_failures.set_function(lambda: sum(transport.failures.values()))
        self._cap = RateCap()
        self._inferring = Inferring(engine, settings.model, now_ns)
        self.metrics.unjudged.set_function(lambda: self._inferring.unjudged)
        self._pending: Counter[tuple[str, str]] = Counter()  # being decoded, by source
        self._prepared: asyncio.Queue[Prepared | Incoming | None] = asyncio.Queue(BEING_DECODED)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set or the transport is closed, then finish what was begun."""
        await self._transport.subscribe([*self._subscriptions, *self._control.subscriptions()])
        async with asyncio.TaskGroup() as tasks:
            taking_in = tasks.create_task(self._take_in())
            on_the_clock = [tasks.create_task(one) for one in (self._tick(), self._report())]
            aligning = tasks.create_task(self._align())
            inferring = tasks.create_task(self._inferring.run(self._judge))
            publishing = tasks.create_task(self._publisher.run())
            await _first(stop, taking_in)
            for task in (taking_in, *on_the_clock):
                task.cancel()
            try:
                async with asyncio.timeout(DRAIN_S):
                    await self._drain(aligning, publishing)
            except TimeoutError:
                log.error("stopped with readings unpublished: the broker takes nothing")
            for task in (aligning, inferring, publishing):
                task.cancel()
        self._intake.close()
        self._inferring.close()

    async def _drain(self, aligning: asyncio.Task[None], publishing: asyncio.Task[None]) -> None:
        """Finish and publish what was taken in, then say goodbye."""
        await self._prepared.put(None)
        await aligning
        await self._inferring.drained()
        await self._publisher.close()
        await publishing
        await self._publish_status("stopped")

    # Deliveries to windows

    async def _take_in(self) -> None:
        async for one in self._courier.incoming():
            if not isinstance(one, Delivery) or self._control.concerns(one):
                await self._prepared.put(one)
            else:
                prepared = self._intake.prepare(one)
                self._pending[prepared.source] += 1
                await self._prepared.put(prepared)

    async def _obey(self, delivery: Delivery) -> None:
        served = self._served.get(self._control.station_of(delivery))
        if served is None:
            await self._publisher.put(Parcel(released=[delivery]))
            return
        changes = self._control.apply(delivery, served.station)
        await self._tell(served, changes, [delivery])

    async def _align(self) -> None:
        while (one := await self._prepared.get()) is not None:
            match one:
                case Granted():
                    await self._grant(one)
                case Withdrawn():
                    await self._forget(one.stations)
                case Delivery():
                    await self._obey(one)
                case Prepared():
                    await self._enter(one)

    async def _enter(self, prepared: Prepared) -> None:
        try:
            reading = await prepared.reading
        except Malformed as error:
            await self._refuse(prepared, error)
        else:
            await self._add(prepared.source[0], reading, prepared.delivery)
        self._pending[prepared.source] -= 1
        await self._inferring.room()

    async def _grant(self, granted: Granted) -> None:
        """Begin to serve stations, each where its memory left it."""
        await self._forget(granted.stations)
        for name in granted.stations:
            settings = self._configured[name]
            station = Station(settings, self._engine.motion_scales(settings))
            memory = granted.memories.get(name)
            if memory is not None:
                station.restore(memory["taken_in"], memory["judged"])
                self._engine.restore(name, memory["session"])
            timeout_ns = round(settings.idle_timeout_ms * MS)
            self._served[name] = Served(
                station=station,
                idleness=Idleness(settings.modalities, timeout_ns, STRIDE_NS, self._now_ns()),
                grant=granted.grant,
                told=station.taken_in(),
                session=memory["session"] if memory is not None else {},
            )
            await self._publisher.publish(self._monitoring(name, "running"))

    async def _forget(self, stations: Sequence[str]) -> None:
        """Stop serving stations: what is on its way is dropped, what is computed awaited."""
        known = [name for name in stations if self._served.pop(name, None) is not None]
        if not known:
            return
        await self._inferring.drop(known)
        for name in known:
            self._engine.forget(name)

    async def _add(self, name: str, reading: Reading, delivery: Delivery) -> None:
        served = self._served.get(name)
        if served is None:
            return  # it was withdrawn meanwhile
        windows, rejected = served.station.add(reading)
        used = reading.time_ns not in [one.time_ns for one in rejected]
        if used:  # a source of nothing but refused readings is as good as silent
            served.idleness.heard(reading.modality)
        served.ledger.enter(reading, delivery)
        await self._collect(served, windows, rejected, (reading, delivery))

    async def _collect(
        self,
        served: Served,
        windows: Sequence[Window],
        rejected: Sequence[Rejected],
        origin: Origin | None = None,
    ) -> None:
        if self._served.get(served.station.id) is not served:
            return  # it was withdrawn meanwhile: nothing of it may be judged any more
        served.enter(windows, rejected, origin)
        self._inferring.add(windows)
        self.metrics.windows.labels(served.station.id).inc(len(windows))
        self._balance.settle(served.station)
        await self._tell_steps(served)

    async def _refuse(self, prepared: Prepared, error: Malformed) -> None:
        route, delivery = prepared.route, prepared.delivery
        station, modality = (route.station, route.modality) if route else ("", "")
        self.metrics.refused.labels(station, modality).inc()
        letters = []
        if self._cap.allows(error.reason, self._now_ns()):
            letter = (delivery, station, modality, error.reason, error.detail)
            site_of = next(iter(self._configured))
            letters.append(self._outbox.dead_letter(*letter, site_of=site_of))
        served = self._served.get(station)
        if served is None:
            self.status.unrouted[error.reason] += 1
            await self._publisher.put(Parcel(messages=letters, released=[delivery]))
            return
        served.station.refuse(modality, error.reason)
        served.refuse(letters, delivery)
        await self._tell_steps(served)

    # What is told

    async def _judge(self, verdict: Verdict) -> None:
        window = verdict.window
        served = self._served.get(window.station)
        if served is None or not served.awaits(window):
            return  # it was withdrawn meanwhile
        step = served.steps.popleft()
        served.told = step.taken_in
        if not verdict.skipped:
            served.session = verdict.session
        messages, changes = self._reporter.window(
            served.station, verdict, step.caught_up, self._now_ns()
        )
        await self._settle(served, messages, step.released, window.anchor_ns, bool(changes))
        await self._tell_steps(served)

    async def _tell_steps(self, served: Served) -> None:
        """Tell the refusals whose turn it is: all windows before them are told."""
        for step in served.tellable():
            served.told = step.taken_in
            messages = [*step.letters, *self._refused(served.station, step)]
            await self._settle(served, messages, step.released)

    def _refused(self, station: Station, step: Step) -> list[Message]:
        messages = []
        for one in step.rejected:
            self.metrics.refused.labels(station.id, one.modality).inc(one.samples)
            if one.reason != "duplicate" and self._cap.allows(one.reason, self._now_ns()):
                messages.append(self._outbox.refused_reading(station.id, one, step.told_by(one)))
        return messages

    async def _tell(
        self, served: Served, changes: Sequence[Change], released: Sequence[Delivery] = ()
    ) -> None:
        """Tell changes that no window caused."""
        messages = self._reporter.changes(served.station, changes, self._now_ns())
        await self._settle(served, messages, released, urgent=bool(changes))

    async def _settle(
        self,
        served: Served,
        messages: Sequence[Message],
        released: Sequence[Delivery],
        anchor_ns: int = 0,
        urgent: bool = False,
    ) -> None:
        if not messages and not released:
            return
        parcel = Parcel(
            messages=messages,
            released=released,
            station=served.station.id,
            grant=served.grant,
            memory=served.memory() if self._courier.remembers else None,
            anchor_ns=anchor_ns,
            urgent=urgent,
        )
        await self._publisher.put(parcel)

    # Silence and health

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now_ns = self._now_ns()
            for served in list(self._served.values()):
                for idle in served.idleness.check(now_ns, self._exhausted(served.station)):
                    await self._collect(served, *served.station.add(idle))
                if silent_ns := served.idleness.silent_ns:
                    await self._tell(served, served.station.silent(silent_ns))

    def _exhausted(self, station: Station) -> Callable[[str], bool]:
        def exhausted(modality: str) -> bool:
            pending = self._pending[(station.id, modality)]
            return not pending and self._balance.exhausted(station, modality)

        return exhausted

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._settings.status_interval_s)
            await self._publish_status("running")
            for served in list(self._served.values()):
                due = served.station.forgettable(self._now_ns())
                gone = [self._outbox.forget_state(served.station.id, *one) for one in due]
                await self._settle(served, gone, [])

    async def _publish_status(self, state: str) -> None:
        for name in list(self._served):
            if name in self._served:  # else it was withdrawn meanwhile
                await self._publisher.publish(self._monitoring(name, state))

    def _monitoring(self, name: str, state: str) -> Message:
        now_ns, station = self._now_ns(), self._served[name].station
        if station.tally.windows:
            self.metrics.lag_s.labels(name).set((now_ns - station.aligner.newest_ns) / 1e9)
        return self._outbox.monitoring(name, self.status.document(station, state, now_ns))


async def _first(stop: asyncio.Event, taking_in: asyncio.Task[None]) -> None:
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({stopping, taking_in}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
