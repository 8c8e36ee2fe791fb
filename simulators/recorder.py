"""A station's data topics into an MCAP file."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from simulators.recordings.mcap_writer import McapWriter
from simulators.recordings.recording import Episode, Modality, Record, RecordingError
from simulators.recordings.timeline import first_time_ns
from stream.images import header_size_px
from stream.inputs import MODALITY_HEADER
from stream.messages import Frame, Kind, Malformed, Reading
from stream.topics import KafkaTopics, Topics, topics_for
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Delivery
from stream.wire import decode_frame, decode_samples

PROBE_S = 2.0  # heard before the file is begun, to know every modality and its rate


async def record_station(
    broker: BrokerConfig, station: str, out: Path, seconds: float | None
) -> int:
    """Record until ``seconds`` are over or SIGINT/SIGTERM; return the number of messages."""
    topics = topics_for(broker.url)
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with open_transport(broker) as transport:
        await transport.subscribe(_data_topics(topics, station))
        queue: asyncio.Queue[Record] = asyncio.Queue()

        async def hear() -> None:
            async for delivery in transport.deliveries():
                transport.acknowledge(delivery)
                record = _record(delivery, topics, station)
                if record is not None:
                    queue.put_nowait(record)

        hearing = asyncio.create_task(hear())
        try:
            return await _write(queue, out, station, seconds, stop)
        finally:
            hearing.cancel()


async def _write(
    queue: asyncio.Queue[Record],
    out: Path,
    station: str,
    seconds: float | None,
    stop: asyncio.Event,
) -> int:
    end = time.monotonic() + (seconds if seconds is not None else 1e12)
    first = await _gather(queue, PROBE_S, stop)
    if not first:
        raise RecordingError(f"{station}: nothing arrived within {PROBE_S:g} s; nothing recorded")
    start_ns, newest_ns, count = min(first_time_ns(one.reading) for one in first), 0, 0
    with McapWriter(out, describe(first), {"station": station}) as writer:
        batch: Sequence[Record] = first
        while True:
            for one in batch:
                writer.write(one)
                newest_ns = max(newest_ns, one.reading.time_ns)
            count += len(batch)
            if stop.is_set() or time.monotonic() >= end:
                break
            batch = await _gather(queue, min(0.5, max(end - time.monotonic(), 0)), stop)
        writer.episode(Episode(number=0, start_ns=start_ns, end_ns=newest_ns))
    return count


async def _gather(
    queue: asyncio.Queue[Record], seconds: float, stop: asyncio.Event
) -> list[Record]:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    found = [queue.get_nowait() for _ in range(queue.qsize())]
    return sorted(found, key=lambda one: one.log_time_ns)


def _data_topics(topics: Topics, station: str) -> list[str]:
    return sorted({topics.data(station, str(kind), "+").topic for kind in Kind})


def _record(delivery: Delivery, topics: Topics, station: str) -> Record | None:
    """A delivery as it came; None for another station, or for what no reader could read."""
    image = topics.data(station, "image", "+")
    if isinstance(topics, KafkaTopics):
        if delivery.key != image.key:
            return None
        is_image, name = delivery.topic == image.topic, delivery.headers.get(MODALITY_HEADER, "")
    else:
        is_image, name = "/data/image/" in delivery.topic, delivery.topic.rpartition("/")[2]
    try:
        reading: Reading = (
            decode_frame(delivery.payload, name)
            if is_image
            else decode_samples(delivery.payload, name)
        )
    except Malformed:
        return None
    return Record(log_time_ns=delivery.received_ns, episode=0, reading=reading)


def describe(records: Sequence[Record]) -> dict[str, Modality]:
    """Each modality as its first readings show it; the rate is measured."""
    by_name: dict[str, list[Reading]] = {}
    for record in records:
        by_name.setdefault(record.reading.modality, []).append(record.reading)
    return {name: _described(name, readings) for name, readings in by_name.items()}


def _described(name: str, readings: Sequence[Reading]) -> Modality:
    first = readings[0]
    count = sum(1 if isinstance(one, Frame) else len(one.times_ns) for one in readings)
    first_ns = min(first_time_ns(one) for one in readings)
    span_s = (max(one.time_ns for one in readings) - first_ns) / 1e9
    rate_hz = round((count - 1) / span_s, 2) if span_s > 0 and count > 1 else 1.0
    if isinstance(first, Frame):
        size_px = header_size_px(first.data)
        return Modality(name=name, kind=Kind.IMAGE, rate_hz=rate_hz, size_px=size_px)
    names = first.names or tuple(f"channel_{at + 1}" for at in range(first.values.shape[1]))
    return Modality(name=name, kind=Kind.VECTOR, rate_hz=rate_hz, names=names, units=first.units)
