"""The worker's way of the data: every task and queue of it, in one task group."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import structlog

from stream.alarms import Change, Transition
from stream.batcher import Batcher
from stream.config import WorkerSettings
from stream.control import Control
from stream.engine import Engine
from stream.events import Surroundings
from stream.gate import GatedLatent, Verdict, gate
from stream.idleness import Idleness
from stream.images import decode, fit
from stream.inputs import Inputs, Route
from stream.ledger import Ledger
from stream.messages import Frame, Malformed, Reading, Rejected, Window
from stream.metrics import Metrics
from stream.outbox import Outbox
from stream.refusals import RateCap
from stream.station import MS, Station
from stream.status import WorkerStatus
from stream.topics import topics_for
from stream.transports.transport import Delivery, Message, Transport, TransportError

log = structlog.get_logger(__name__)

INTAKE = 64  # deliveries being decoded
BACKLOG_WINDOWS = 128  # closed and not yet judged; beyond it nothing more is taken in
OUTBOUND = 256
TICK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parcel:
    """Messages to publish together; what to acknowledge afterwards."""

    messages: Sequence[Message]
    released: Sequence[Delivery] = ()
    anchor_ns: int = 0
    station: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A delivery on its way to its aligner, its image being decoded meanwhile."""

    delivery: Delivery
    route: Route | None
    reading: asyncio.Future[Reading]


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
        self._now_ns = now_ns
        topics = topics_for(settings.broker.url)
        stations = [engine.completed(station) for station in settings.stations]
        self._stations = {one.id: Station(one, engine.motion_scales(one)) for one in stations}
        self._inputs = Inputs(settings.inputs, stations, topics)
        self._control = Control(self._stations, topics)
        self._outbox = Outbox(topics, shadow)
        self._idleness = {
            one.id: Idleness(one.modalities, round(one.idle_timeout_ms * MS), now_ns())
            for one in stations
        }
        self._ledgers = {one.id: Ledger() for one in stations}
        self._released: dict[tuple[str, int, int], list[Delivery]] = {}
        self._paused: set[str] = set()
        self.metrics = metrics or Metrics()
        self.status = WorkerStatus(settings, engine, self._stations)
        self._cap = RateCap()
        waits_ns = round(settings.model.max_wait_ms * MS)
        self._batcher = Batcher(engine.group, settings.model.max_batch, waits_ns)
        self._ready: list[list[Window]] = []
        self._in_flight = 0
        self._work, self._room = asyncio.Event(), asyncio.Event()
        self._intake: asyncio.Queue[_Prepared | None] = asyncio.Queue(INTAKE)
        self._outbound: asyncio.Queue[_Parcel | None] = asyncio.Queue(OUTBOUND)
        self._decoders = ThreadPoolExecutor(2, thread_name_prefix="decode")
        self._model_thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._max_pixels = round(settings.max_image_mpx * 1_000_000)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then finish what was begun."""
        await self._transport.subscribe(
            [*self._inputs.subscriptions(), *self._control.subscriptions()]
        )
        await self._publish_status("running")
        async with asyncio.TaskGroup() as tasks:
            intake = tasks.create_task(self._take_in())
            ticking = tasks.create_task(self._tick())
            reporting = tasks.create_task(self._report())
            aligning = tasks.create_task(self._align())
            inferring = tasks.create_task(self._infer())
            publishing = tasks.create_task(self._publish())
            await _first(stop, intake)
            for task in (intake, ticking, reporting):
                task.cancel()
            await self._intake.put(None)
            await aligning
            self._ready += self._batcher.flush()
            await self._until_judged()
            inferring.cancel()
            await self._outbound.put(None)
            await publishing
        await self._publish_status("stopped")
        self._decoders.shutdown()
        self._model_thread.shutdown()

    # Deliveries to readings

    async def _take_in(self) -> None:
        async for delivery in self._transport.deliveries():
            if self._control.concerns(delivery):
                await self._obey(delivery)
            else:
                await self._intake.put(self._prepare(delivery))

    async def _obey(self, delivery: Delivery) -> None:
        applied = self._control.apply(delivery)
        if applied is not None:
            station, changes = applied
            await self._tell(station, changes, None, {})
        self._transport.acknowledge(delivery)

    def _prepare(self, delivery: Delivery) -> _Prepared:
        loop = asyncio.get_running_loop()
        reading: asyncio.Future[Reading] = loop.create_future()
        route = None
        try:
            route = self._inputs.route(delivery)
            found = self._inputs.read(route, delivery)
        except Malformed as error:
            reading.set_exception(error)
            return _Prepared(delivery=delivery, route=route, reading=reading)
        if isinstance(found, Frame):
            size_px = self._stations[route.station].settings.modalities[route.modality].size_px
            reading = asyncio.ensure_future(
                loop.run_in_executor(self._decoders, _decoded, found, size_px, self._max_pixels)
            )
        else:
            reading.set_result(found)
        return _Prepared(delivery=delivery, route=route, reading=reading)

    # Readings to windows

    async def _align(self) -> None:
        while (prepared := await self._intake.get()) is not None:
            try:
                reading = await prepared.reading
            except Malformed as error:
                await self._refuse(prepared, error)
                continue
            assert prepared.route is not None
            await self._add(prepared.route.station, reading, prepared.delivery)
            while len(self._batcher) + self._in_flight > BACKLOG_WINDOWS:
                self._room.clear()
                await self._room.wait()

    async def _add(self, station_id: str, reading: Reading, delivery: Delivery) -> None:
        station = self._stations[station_id]
        self._idleness[station_id].heard(reading.modality, self._now_ns())
        windows, rejected = station.add(reading)
        if self._transport.acknowledges_early:
            self._transport.acknowledge(delivery)
        else:
            self._ledgers[station_id].enter(reading.modality, reading.time_ns, delivery)
        await self._collect(station, windows, rejected)

    async def _collect(
        self, station: Station, windows: Sequence[Window], rejected: Sequence[Rejected]
    ) -> None:
        if rejected:
            await self._tell_refused(station, rejected)
        for window in windows:
            self._ready += self._batcher.add(window, self._now_ns())
            self.metrics.windows.labels(station.id).inc()
        if windows:
            last = windows[-1]
            released = self._ledgers[station.id].release(station.aligner.needs)
            self._released[(station.id, last.epoch, last.anchor_ns)] = released
            self._work.set()
        self._balance(station)

    def _balance(self, station: Station) -> None:
        """Pause only a modality that is ahead of one still waited for."""
        wanted = {
            topic
            for name in station.aligner.to_pause()
            for topic in self._inputs.topics_of(station.id, name)
        }
        for topic in wanted - self._paused:
            if self._transport.pause(topic):
                self._paused.add(topic)
        own = {
            topic
            for name in station.settings.modalities
            for topic in self._inputs.topics_of(station.id, name)
        }
        for topic in (self._paused & own) - wanted:
            self._transport.resume(topic)
            self._paused.discard(topic)

    # Refusals

    async def _refuse(self, prepared: _Prepared, error: Malformed) -> None:
        route, delivery = prepared.route, prepared.delivery
        if route is None:
            self.status.unrouted[error.reason] += 1
            station_id, modality = next(iter(self._stations)), ""
        else:
            station_id, modality = route.station, route.modality
            self._stations[station_id].refuse(modality, error.reason)
            self._idleness[station_id].heard(modality, self._now_ns())
        self.metrics.refused.labels(station_id, modality).inc()
        if not self._cap.allows(error.reason, self._now_ns()):
            self._transport.acknowledge(delivery)
            return
        message = self._outbox.dead_letter(
            delivery, station_id, modality, error.reason, error.detail
        )
        await self._outbound.put(_Parcel(messages=[message], released=[delivery]))

    async def _tell_refused(self, station: Station, rejected: Sequence[Rejected]) -> None:
        messages = []
        for one in rejected:
            self.metrics.refused.labels(station.id, one.modality).inc(one.samples)
            if self._cap.allows(one.reason, self._now_ns()):
                messages.append(self._outbox.refused_reading(station.id, one))
        if messages:
            await self._outbound.put(_Parcel(messages=messages))

    # Windows to verdicts

    async def _infer(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next_batch()
            self._in_flight = len(batch)
            verdicts = await loop.run_in_executor(self._model_thread, self._engine.infer, batch)
            for verdict in verdicts:
                await self._judge(verdict)
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
            await asyncio.sleep(TICK_S / 4)

    async def _judge(self, verdict: Verdict) -> None:
        window = verdict.window
        station = self._stations[window.station]
        gated = gate(verdict)
        messages = [self._outbox.latent(verdict, gated)]
        changes = station.judge(verdict, self._idleness[station.id].caught_up)
        messages += self._fault_messages(station, changes, verdict, gated)
        released = self._released.pop((station.id, window.epoch, window.anchor_ns), [])
        await self._outbound.put(
            _Parcel(
                messages=messages,
                released=released,
                anchor_ns=window.anchor_ns,
                station=station.id,
            )
        )

    def _fault_messages(
        self,
        station: Station,
        changes: Sequence[Change],
        verdict: Verdict | None,
        gated: dict[str, GatedLatent],
    ) -> list[Message]:
        messages = []
        for change in changes:
            self.metrics.events.labels(station.id, change.modality).inc()
            around = self._surroundings(station, change, verdict, gated)
            messages += self._outbox.fault(change, around)
            subject = (station.id, change.modality, str(change.condition))
            if change.transition is Transition.CLEARED:
                due_ns = self._now_ns() + round(self._settings.state_retention_s * 1e9)
                self.status.forget_at[subject] = due_ns
            else:
                self.status.forget_at.pop(subject, None)
        return messages

    def _surroundings(
        self,
        station: Station,
        change: Change,
        verdict: Verdict | None,
        gated: dict[str, GatedLatent],
    ) -> Surroundings:
        modality = station.settings.modalities.get(change.modality)
        state = gated.get(change.modality)
        return Surroundings(
            station=station.id,
            producer=self.status.producer(station.id),
            equipment=modality.device if modality else {},
            correction=str(state.state) if state else "unavailable",
            evidence=_evidence(verdict, change.modality),
            simulated=station.simulation,
            context=station.context,
        )

    async def _tell(
        self,
        station: Station,
        changes: Sequence[Change],
        verdict: Verdict | None,
        gated: dict[str, GatedLatent],
    ) -> None:
        messages = self._fault_messages(station, changes, verdict, gated)
        if messages:
            await self._outbound.put(_Parcel(messages=messages))

    # Silence and health

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now_ns = self._now_ns()
            for station in self._stations.values():
                idleness = self._idleness[station.id]
                for idle in idleness.check(now_ns, self._exhausted(station)):
                    await self._collect(station, *station.add(idle))
                silent_ns = idleness.silent_ns(now_ns)
                if silent_ns:
                    await self._tell(station, station.silent(silent_ns), None, {})

    def _exhausted(self, station: Station) -> Callable[[str], bool]:
        def exhausted(modality: str) -> bool:
            topics = self._inputs.topics_of(station.id, modality)
            return (
                self._transport.connected
                and self._intake.empty()
                and not self._paused.intersection(topics)
                and all(self._transport.exhausted(topic) for topic in topics)
            )

        return exhausted

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self._settings.status_interval_s)
            await self._publish_status("running")
            now_ns = self._now_ns()
            for subject in self.status.forgettable(now_ns):
                await self._publish_one(self._outbox.forget_state(*subject))
            for station in self._stations.values():
                lag_s = (now_ns - station.aligner.newest_ns) / 1e9
                if station.tally.windows:
                    self.metrics.lag_s.labels(station.id).set(lag_s)

    async def _publish_status(self, state: str) -> None:
        for station in self._stations:
            document = self.status.document(station, state, self._now_ns())
            await self._publish_one(self._outbox.monitoring(station, document))

    # Messages to the broker

    async def _publish(self) -> None:
        while (parcel := await self._outbound.get()) is not None:
            parcels = [parcel]
            while not self._outbound.empty() and (more := self._outbound.get_nowait()) is not None:
                parcels.append(more)
            await asyncio.gather(
                *(self._publish_one(message) for one in parcels for message in one.messages)
            )
            for one in parcels:
                self._finish(one)
            if parcels[-1] is not parcel and more is None:
                return

    def _finish(self, parcel: _Parcel) -> None:
        for delivery in parcel.released:
            self._transport.acknowledge(delivery)
        if parcel.anchor_ns:
            latency_s = (self._now_ns() - parcel.anchor_ns) / 1e9
            self.metrics.latency_s.labels(parcel.station).observe(latency_s)

    async def _publish_one(self, message: Message) -> None:
        try:
            await self._transport.publish(message)
        except TransportError as error:
            self.status.unpublished[message.topic] += 1
            log.error("not published", topic=message.topic, error=str(error))


def _decoded(frame: Frame, size_px: tuple[int, int], max_pixels: int) -> Reading:
    return Frame(
        modality=frame.modality,
        time_ns=frame.time_ns,
        data=frame.data,
        format=frame.format,
        pixels=fit(decode(frame.data, max_pixels), size_px),
        source=frame.source,
    )


def _evidence(verdict: Verdict | None, modality: str) -> dict[str, object]:
    """Where the frame of the window can be found again."""
    if verdict is None:
        return {}
    view = verdict.window.views.get(modality)
    frame = getattr(view, "frame", None)
    if frame is None or frame.source is None:
        return {}
    source = frame.source
    return {"topic": source.topic, "partition": source.partition, "offset": source.offset}


async def _first(stop: asyncio.Event, intake: asyncio.Task[None]) -> None:
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({stopping, intake}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
