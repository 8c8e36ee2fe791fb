"""The worker's way of the data: every task and queue of it, in one task group."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog

from stream.balance import Balance
from stream.batcher import Batcher
from stream.config import WorkerSettings
from stream.control import Control
from stream.engine import Engine
from stream.gate import Verdict
from stream.idleness import Idleness
from stream.inputs import Inputs
from stream.intake import Intake, Prepared
from stream.ledger import Ledger
from stream.messages import Malformed, Reading, Rejected, Window
from stream.metrics import Metrics
from stream.outbox import Outbox
from stream.publisher import Parcel, Publisher
from stream.refusals import RateCap
from stream.reporter import Reporter
from stream.station import MS, Station
from stream.status import WorkerStatus
from stream.topics import topics_for
from stream.transports.transport import Delivery, Transport

BEING_DECODED = 64
BACKLOG_WINDOWS = 128  # closed and not yet judged; beyond it nothing more is taken in
TICK_S = 0.02
DRAIN_S = 8.0  # a container is killed 10 s after SIGTERM

log = structlog.get_logger(__name__)


class Pipeline:
    """From a transport's deliveries to its publications, for all stations of a worker."""

    def __init__(
        self,
        settings: WorkerSettings,
        engine: Engine,
        transport: Transport,
        *,
        shadow: bool = False,
        metrics: Metrics | None = None,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings, self._engine, self._transport = settings, engine, transport
        self._now_ns, self.metrics = now_ns, metrics or Metrics()
        topics = topics_for(settings.broker.url)
        stations = [engine.completed(station) for station in settings.stations]
        self._stations = {one.id: Station(one, engine.motion_scales(one)) for one in stations}
        inputs = Inputs(settings.inputs, stations, topics)
        self._subscriptions = inputs.subscriptions()
        self._intake = Intake(inputs, self._stations, round(settings.max_image_mpx * 1_000_000))
        self._balance = Balance(transport, inputs)
        self._control = Control(self._stations, topics)
        self._outbox = Outbox(topics, shadow)
        self.status = WorkerStatus(settings, engine, self._stations)
        retention_ns = round(settings.state_retention_s * 1e9)
        self._reporter = Reporter(self._outbox, self.status, self.metrics, retention_ns)
        self._publisher = Publisher(transport, self.metrics, now_ns)
        self.status.watch(transport.refused, self._publisher.dropped)
        self.metrics.transport_dropped.set_function(lambda: sum(transport.refused.values()))
        self.metrics.broker_failures.set_function(lambda: sum(transport.failures.values()))
        self._idleness = {
            one.id: Idleness(one.modalities, round(one.idle_timeout_ms * MS), now_ns())
            for one in stations
        }
        self._ledgers = {one.id: Ledger() for one in stations}
        self._released: dict[tuple[str, int, int], list[Delivery]] = {}
        self._cap = RateCap()
        waits_ns = round(settings.model.max_wait_ms * MS)
        self._batcher = Batcher(engine.group, settings.model.max_batch, waits_ns)
        self._ready: list[list[Window]] = []
        self._in_flight = 0
        self._work, self._room = asyncio.Event(), asyncio.Event()
        self._pending: Counter[tuple[str, str]] = Counter()  # being decoded, by source
        self._prepared: asyncio.Queue[Prepared | None] = asyncio.Queue(BEING_DECODED)
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set or the transport is closed, then finish what was begun."""
        await self._transport.subscribe([*self._subscriptions, *self._control.subscriptions()])
        await self._publish_status("running")
        async with asyncio.TaskGroup() as tasks:
            taking_in = tasks.create_task(self._take_in())
            on_the_clock = [tasks.create_task(one) for one in (self._tick(), self._report())]
            aligning = tasks.create_task(self._align())
            inferring = tasks.create_task(self._infer())
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
        self._model_thread.shutdown()

    async def _drain(self, aligning: asyncio.Task[None], publishing: asyncio.Task[None]) -> None:
        """Finish and publish what was taken in, then say goodbye."""
        await self._prepared.put(None)
        await aligning
        if self._transport.acknowledges_early:  # what is held will not come again
            for station in self._stations.values():
                await self._collect(station, *station.flush())
        await self._until_judged()
        await self._publisher.close()
        await publishing
        await self._publish_status("stopped")

    # Deliveries to windows

    async def _take_in(self) -> None:
        async for delivery in self._transport.deliveries():
            if self._control.concerns(delivery):
                await self._obey(delivery)
            else:
                prepared = self._intake.prepare(delivery)
                self._pending[prepared.source] += 1
                await self._prepared.put(prepared)

    async def _obey(self, delivery: Delivery) -> None:
        applied = self._control.apply(delivery)
        messages = self._reporter.changes(*applied, self._now_ns()) if applied else []
        await self._publisher.put(Parcel(messages=messages, released=[delivery]))

    async def _align(self) -> None:
        while (prepared := await self._prepared.get()) is not None:
            try:
                reading = await prepared.reading
            except Malformed as error:
                await self._refuse(prepared, error)
            else:
                await self._add(self._stations[prepared.source[0]], reading, prepared.delivery)
            self._pending[prepared.source] -= 1
            while self._unjudged > BACKLOG_WINDOWS:
                self._room.clear()
                await self._room.wait()

    async def _add(self, station: Station, reading: Reading, delivery: Delivery) -> None:
        windows, rejected = station.add(reading)
        used = reading.time_ns not in [one.time_ns for one in rejected]
        if used:  # a source of nothing but refused readings is as good as silent
            self._idleness[station.id].heard(reading.modality, self._now_ns())
        if self._transport.acknowledges_early:
            self._transport.acknowledge(delivery)
        else:
            self._ledgers[station.id].enter(reading, delivery)
        await self._collect(station, windows, rejected)

    @property
    def _unjudged(self) -> int:
        return len(self._batcher) + sum(map(len, self._ready)) + self._in_flight

    async def _collect(
        self, station: Station, windows: Sequence[Window], rejected: Sequence[Rejected]
    ) -> None:
        for window in windows:
            self._ready += self._batcher.add(window, self._now_ns())
            self.metrics.windows.labels(station.id).inc()
        released: list[Delivery] = []
        if windows or rejected:
            released = self._ledgers[station.id].release(station.aligner.needs)
        if windows:
            last = windows[-1]
            self._released[(station.id, last.epoch, last.anchor_ns)] = released
            self._work.set()
        self._balance.settle(station)
        if rejected:
            await self._tell_refused(station, rejected, [] if windows else released)

    # Refusals

    async def _refuse(self, prepared: Prepared, error: Malformed) -> None:
        route, delivery = prepared.route, prepared.delivery
        if route is None:
            self.status.unrouted[error.reason] += 1
            station_id, modality = "", ""
        else:
            station_id, modality = route.station, route.modality
            self._stations[station_id].refuse(modality, error.reason)
        self.metrics.refused.labels(station_id, modality).inc()
        messages = []
        if self._cap.allows(error.reason, self._now_ns()):
            letter = (delivery, station_id, modality, error.reason, error.detail)
            site_of = next(iter(self._stations))
            messages.append(self._outbox.dead_letter(*letter, site_of=site_of))
        await self._publisher.put(Parcel(messages=messages, released=[delivery]))

    async def _tell_refused(
        self, station: Station, rejected: Sequence[Rejected], released: Sequence[Delivery]
    ) -> None:
        messages = []
        for one in rejected:
            self.metrics.refused.labels(station.id, one.modality).inc(one.samples)
            if one.reason != "duplicate" and self._cap.allows(one.reason, self._now_ns()):
                messages.append(self._outbox.refused_reading(station.id, one))
        await self._publisher.put(Parcel(messages=messages, released=released))

    # Windows to verdicts

    async def _infer(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next_batch()
            self._in_flight = len(batch)
            verdicts = await loop.run_in_executor(self._model_thread, self._engine.infer, batch)
            for verdict in verdicts:
                await self._tell(verdict)
            self._in_flight = 0
            self._room.set()

    async def _next_batch(self) -> list[Window]:
        while not self._ready:
            self._ready += self._batcher.expire(self._now_ns())
            if self._ready:
                break
            self._work.clear()
            deadline_ns = self._batcher.deadline_ns
            wait_s = None if deadline_ns is None else max(deadline_ns - self._now_ns(), 0) / 1e9
            try:
                await asyncio.wait_for(self._work.wait(), wait_s)
            except TimeoutError:
                continue
        return self._ready.pop(0)

    async def _until_judged(self) -> None:
        while self._ready or self._in_flight or len(self._batcher):
            self._work.set()
            await asyncio.sleep(TICK_S)

    async def _tell(self, verdict: Verdict) -> None:
        window = verdict.window
        station = self._stations[window.station]
        caught_up = self._idleness[station.id].caught_up
        messages = self._reporter.window(station, verdict, caught_up, self._now_ns())
        released = self._released.pop((station.id, window.epoch, window.anchor_ns), [])
        parcel = Parcel(
            messages=messages, released=released, anchor_ns=window.anchor_ns, station=station.id
        )
        await self._publisher.put(parcel)

    # Silence and health

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now_ns = self._now_ns()
            for station in self._stations.values():
                idleness = self._idleness[station.id]
                for idle in idleness.check(now_ns, self._exhausted(station)):
                    await self._collect(station, *station.add(idle))
                if silent_ns := idleness.silent_ns(now_ns):
                    changes = station.silent(silent_ns)
                    messages = self._reporter.changes(station, changes, now_ns)
                    await self._publisher.put(Parcel(messages=messages))

    def _exhausted(self, station: Station) -> Callable[[str], bool]:
        def exhausted(modality: str) -> bool:
            pending = self._pending[(station.id, modality)]
            return not pending and self._balance.exhausted(station, modality)

        return exhausted

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._settings.status_interval_s)
            await self._publish_status("running")
            for subject in self.status.forgettable(self._now_ns()):
                await self._publisher.publish(self._outbox.forget_state(*subject))

    async def _publish_status(self, state: str) -> None:
        now_ns = self._now_ns()
        for name, station in self._stations.items():
            document = self.status.document(name, state, now_ns)
            await self._publisher.publish(self._outbox.monitoring(name, document))
            if station.tally.windows:
                self.metrics.lag_s.labels(name).set((now_ns - station.aligner.newest_ns) / 1e9)


async def _first(stop: asyncio.Event, taking_in: asyncio.Task[None]) -> None:
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({stopping, taking_in}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
