"""A recording onto a broker, as if its station ran now, with faults injected live."""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from simulators.faults.effect import measure_spread
from simulators.faults.registry import FaultError, Outgoing
from simulators.injection import Injections
from simulators.recordings.recording import Recording
from simulators.scenario import Planned
from simulators.timing import Departures, Played, played
from simulators.truth import Change, place, truth_event
from stream.control import NAME_HEADER
from stream.events import JSON, to_json
from stream.inputs import MODALITY_HEADER
from stream.messages import Frame, Kind, Reading
from stream.outbox import CLOUDEVENTS, PROTOBUF
from stream.topics import Address, Topics
from stream.transports.transport import Delivery, Message, Transport
from stream.wire import encode_reading, rfc3339

log = structlog.get_logger(__name__)

INFLIGHT = 16  # below Mosquitto's default of 20
QUIET_S = 2.0
STATE_INTERVAL_S = 2.0
STATE_VALID_S = 10.0


class ReplayError(Exception):
    """A replay that must not or cannot start; says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayOptions:
    """How a recording is played. ``speed`` 0 is as fast as the broker takes it."""

    station: str
    source: str
    speed: float = 1.0
    loop: bool = False
    keep_times: bool = False
    seconds: float | None = None


class Replay:
    """One running replay of one station."""

    def __init__(
        self,
        recording: Recording,
        transport: Transport,
        topics: Topics,
        options: ReplayOptions,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._recording, self._transport, self._topics = recording, transport, topics
        self._options, self._now_ns = options, now_ns
        spreads = measure_spread(record.reading for record in recording.records(Kind.VECTOR))
        self.injections = Injections(recording.modalities, spreads)
        self._inflight = asyncio.Semaphore(INFLIGHT)
        self._departures = Departures()
        self._event_ns = 0  # the replay's own time: what was captured up to now
        self.sent = 0

    def data_topics(self) -> list[str]:
        """Where its readings and the truth will go."""
        topics, station = self._topics, self._options.station
        data = [
            topics.data(station, one.kind, name).topic
            for name, one in self._recording.modalities.items()
        ]
        return sorted({*data, topics.truth(station).topic, topics.simulation(station).topic})

    def plan(self, planned: list[Planned], start_ns: int) -> None:
        """Schedule faults, counted from the start of the replay."""
        for one in planned:
            kind = self._recording.modalities[one.modality].kind
            self.injections.add(place(one, start_ns, kind))

    async def run(self, start_ns: int, on_progress: Callable[[float], None] | None = None) -> None:
        """Play until the recording, or the time allowed, ends."""
        inject = self._topics.command(self._options.station, "inject")
        await self._transport.subscribe([inject.topic])
        try:
            async with asyncio.TaskGroup() as tasks:
                hearing = tasks.create_task(self._hear_commands(inject))
                announcing = tasks.create_task(self._announce(start_ns))
                await self._play(tasks, start_ns, on_progress)
                hearing.cancel()
                announcing.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # the reason, not the tasks it came through
        await self._tell_truth(self._begun())
        await self._transport.publish(_state(self._topics, self._options.station, None))

    def _begun(self) -> list[Change]:
        """What is left to tell of faults whose time came before the end of the replay."""
        changes = self.injections.due(1 << 62)
        return [change for change in changes if change.injection.onset_ns <= self._event_ns]

    async def _play(
        self,
        tasks: asyncio.TaskGroup,
        start_ns: int,
        on_progress: Callable[[float], None] | None,
    ) -> None:
        options = self._options
        end_ns = None if options.seconds is None else start_ns + round(options.seconds * 1e9)
        for item in played(self._recording, start_ns, options.loop, options.keep_times):
            if end_ns is not None and item.due_ns >= end_ns:
                break
            await self._send_until(item.due_ns, start_ns, tasks)
            await self._wait_until(item.due_ns, start_ns)
            self._event_ns = item.reading.time_ns
            await self._tell_truth(self.injections.due(self._event_ns))
            self._departures.add(self.injections.send(await self._measured(item)))
            await self._send_until(item.due_ns, start_ns, tasks)
            if on_progress is not None:
                on_progress((item.due_ns - start_ns) / 1e9)
        await self._send_until(end_ns, start_ns, tasks)  # what comes late comes all the same

    async def _send_until(
        self, until_ns: int | None, start_ns: int, tasks: asyncio.TaskGroup
    ) -> None:
        for outgoing in self._departures.until(until_ns):
            await self._wait_until(outgoing.due_ns, start_ns)
            await self._send(outgoing, tasks)

    async def _wait_until(self, due_ns: int, start_ns: int) -> None:
        if self._options.speed <= 0:
            return
        wall_ns = start_ns + (due_ns - start_ns) / self._options.speed
        wait_s = (wall_ns - self._now_ns()) / 1e9
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    async def _measured(self, item: Played) -> Outgoing:
        if isinstance(item.reading, Frame):
            reading = await asyncio.to_thread(self.injections.apply, item.reading)
        else:
            reading = self.injections.apply(item.reading, item.clean)
        return Outgoing(reading=reading, due_ns=item.due_ns)

    async def _send(self, outgoing: Outgoing, tasks: asyncio.TaskGroup) -> None:
        await self._inflight.acquire()
        station = self._options.station
        message = data_message(self._topics, station, outgoing.reading, outgoing.payload)
        tasks.create_task(self._publish(message))
        self.sent += 1

    async def _publish(self, message: Message) -> None:
        try:
            await self._transport.publish(message)
        finally:
            self._inflight.release()

    async def _tell_truth(self, changes: list[Change]) -> None:
        station = self._options.station
        address = self._topics.truth(station)
        for change in changes:
            payload = to_json(truth_event(change, station))
            await self._transport.publish(
                Message(
                    topic=address.topic, key=address.key, payload=payload, content_type=CLOUDEVENTS
                )
            )

    async def _announce(self, start_ns: int) -> None:
        """Say that this station is simulated, for as long as it is."""
        options = self._options
        while True:
            valid_ns = self._now_ns() + round(STATE_VALID_S * 1e9)
            state = {
                "source": options.source,
                "since": rfc3339(start_ns),
                "validUntil": rfc3339(valid_ns),
            }
            await self._transport.publish(_state(self._topics, options.station, state))
            await asyncio.sleep(STATE_INTERVAL_S)

    async def _hear_commands(self, inject: Address) -> None:
        async for delivery in self._transport.deliveries():
            self._transport.acknowledge(delivery)
            if delivery.topic != inject.topic or delivery.key not in ("", inject.key):
                continue
            if delivery.retained:  # meant for an earlier replay
                continue
            if delivery.headers.get(NAME_HEADER, "inject") == "inject":
                self._obey(delivery)

    def _obey(self, delivery: Delivery) -> None:
        try:
            planned = read_command(json.loads(delivery.payload))
            if planned.modality not in self._recording.modalities:
                known = ", ".join(self._recording.modalities)
                raise FaultError(f"no modality {planned.modality!r}; there are: {known}")
            self.plan([planned], self._event_ns)
            log.info("fault injected", modality=planned.modality, fault=planned.fault)
        except (
            FaultError,
            ArithmeticError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            log.warning("inject command refused", reason=str(error))


def read_command(document: Mapping[str, Any]) -> Planned:
    """An inject command as a fault that begins at once; raises KeyError, TypeError, ValueError."""
    severity, seconds = float(document["severity"]), float(document["seconds"])
    if not 0 <= severity <= 1 or not 0 < seconds < 86_400:
        raise ValueError(f"severity {severity} or seconds {seconds} out of range")
    return Planned(
        at_s=0.0,
        modality=str(document["modality"]),
        fault=str(document["fault"]),
        severity=severity,
        seconds=seconds,
        seed=int(document.get("seed", 0)),
    )


def data_message(
    topics: Topics, station: str, reading: Reading, payload: bytes | None = None
) -> Message:
    """A reading as the wire carries it, or other bytes in its place."""
    image = isinstance(reading, Frame)
    address = topics.data(station, "image" if image else "vector", reading.modality)
    return Message(
        topic=address.topic,
        key=address.key,
        payload=encode_reading(reading) if payload is None else payload,
        content_type=PROTOBUF,
        headers={MODALITY_HEADER: reading.modality},
    )


def _state(topics: Topics, station: str, state: Mapping[str, Any] | None) -> Message:
    address = topics.simulation(station)
    payload = b"" if state is None else to_json(state)
    return Message(
        topic=address.topic, key=address.key, payload=payload, content_type=JSON, retain=True
    )


def last_will(topics: Topics, station: str) -> Message:
    """What the broker says for a replay that dies: the station is not simulated any more."""
    return _state(topics, station, None)


async def refuse_busy(
    transport: Transport, topics: Topics, station: str, names: Iterable[tuple[str, str]]
) -> None:
    """Raise ReplayError where anything arrives on the station's data topics for two seconds."""
    wanted = {topics.data(station, kind, name) for name, kind in names}
    await transport.subscribe(sorted({address.topic for address in wanted}))
    keys = {address.key for address in wanted}

    async def first() -> Delivery:
        async for delivery in transport.deliveries():
            if delivery.key in keys or keys == {""}:
                return delivery
        raise ReplayError(f"{station}: the connection was closed while listening")

    try:
        heard = await asyncio.wait_for(first(), QUIET_S)
    except TimeoutError:
        return
    raise ReplayError(
        f"{station} is busy: data arrived on {heard.topic}. Stop its source, choose another "
        "--station, or use --force"
    )
