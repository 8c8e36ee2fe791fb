"""What one kind of broker does and the others do not.

MQTT has versions, brokers that forget who subscribed, and the limits of Mosquitto: its default
ones, and the one on packets that it announces (which amqtt cannot, for it speaks MQTT 3.1.1 only).
Kafka has the limits of its topics, state that is read from its beginning, pausing, patterns and
groups.
"""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from simulators.brokers.amqtt import Amqtt
from simulators.brokers.broker import EmbeddedBroker
from simulators.brokers.mosquitto import Mosquitto
from stream.transports.transport import Delivery, Message, Transport, TransportError
from tests.integration.sites import LIMIT_S, Site, lower, take, until


async def test_a_client_of_mqtt_5_meets_a_broker_of_3_1_1(amqtt: str) -> None:
    site = Site("amqtt", amqtt, uuid.uuid4().hex[:8], "5")
    async with site.open() as reader, site.open() as writer:
        await reader.subscribe([site.topic("a")])
        message = Message(topic=site.topic("a"), payload=b"x", headers={"lost": "here"})
        await writer.publish(message)
        assert [(d.payload, d.headers) for d in await take(reader, 1)] == [(b"x", {})]


async def test_a_reader_subscribes_again_at_a_broker_that_forgot_it(
    start_broker: Callable[..., EmbeddedBroker],
) -> None:
    broker = await asyncio.to_thread(start_broker, Amqtt)
    site = Site(broker.name, broker.url, "r", "3.1.1")
    async with site.open() as reader, site.open() as writer:
        await reader.subscribe([site.topic("+")])
        await asyncio.to_thread(broker.kill)
        await until(lambda: not reader.connected and not writer.connected)
        await asyncio.to_thread(broker.start)
        await until(lambda: reader.connected and writer.connected)
        await writer.publish(Message(topic=site.topic("a"), payload=b"after"))
        assert [d.payload for d in await take(reader, 1)] == [b"after"]


@pytest.mark.real_broker
async def test_the_limit_that_mosquitto_announces_is_respected(
    start_broker: Callable[..., EmbeddedBroker],
) -> None:
    settings = {"max_packet_size": "2000"}
    broker = await asyncio.to_thread(start_broker, Mosquitto, settings=settings)
    site = Site(broker.name, broker.url, "l")
    async with site.open() as writer:
        with pytest.raises(TransportError, match="too large"):
            await writer.publish(Message(topic=site.topic("a"), payload=bytes(2000)))
        await writer.publish(Message(topic=site.topic("a"), payload=bytes(1000)))
        assert writer.connected


async def test_the_limit_of_a_kafka_topic_is_respected(kafka: str) -> None:
    site = Site("kafka", kafka, uuid.uuid4().hex[:8])
    small, large = Message(topic=site.topic("a"), payload=b"", key="x"), bytes(100_000)
    async with site.open(max_message_bytes=1000) as writer:
        await writer.publish(small)
    async with site.open() as writer:
        with pytest.raises(TransportError, match="too large"):
            await writer.publish(Message(topic=small.topic, payload=large, key="x"))
        await writer.publish(small)


@pytest.mark.parametrize("limit_bytes", [4_000_000, 20_000], ids=["waiting", "refused"])
async def test_calls_keep_their_order_on_kafka_where_batches_wait_or_are_refused(
    kafka: str, limit_bytes: int
) -> None:
    """A topic whose limit was lowered refuses what was joined, though not each for itself."""
    site = Site("kafka", kafka, uuid.uuid4().hex[:8])
    topic = site.topic("a")
    wanted = [b"%06d" % number + bytes(1000) for number in range(600)]
    async with site.open() as reader, site.open() as writer:
        await reader.subscribe([topic])
        await writer.publish(Message(topic=topic, payload=b"first", key="p.q"))
        await lower(kafka, topic, limit_bytes)
        async with asyncio.TaskGroup() as group:
            for number, one in enumerate(wanted):
                message = Message(topic=topic, payload=one, key="p.q")
                group.create_task(writer.publish(message))
                if number % 3 == 0:  # so that calls come while others wait
                    await asyncio.sleep(0)
        arrived = [delivery.payload[:6] for delivery in await take(reader, 1 + len(wanted))]
    assert arrived == [b"first"[:6], *(one[:6] for one in wanted)]


async def test_one_message_that_kafka_refuses_takes_no_other_with_it(kafka: str) -> None:
    site = Site("kafka", kafka, uuid.uuid4().hex[:8])
    topic = site.topic("a")
    payloads = [b"first", *(bytes([at]) * (15_000 if at == 50 else 100) for at in range(100))]
    async with site.open() as reader, site.open() as writer:
        await reader.subscribe([topic])
        await writer.publish(Message(topic=topic, payload=payloads[0], key="p.q"))
        await lower(kafka, topic, 12_000)
        ends = await asyncio.gather(
            *(writer.publish(Message(topic=topic, payload=one, key="p.q")) for one in payloads[1:]),
            return_exceptions=True,
        )
        arrived = [delivery.payload for delivery in await take(reader, 100)]
    assert [at for at, end in enumerate(ends) if end is not None] == [50]
    assert isinstance(ends[50], TransportError)
    assert arrived == [one for one in payloads if len(one) < 15_000]


async def test_state_on_kafka_is_read_from_its_beginning_by_everyone(kafka: str) -> None:
    site = Site("kafka", kafka, uuid.uuid4().hex[:8])
    state, events = site.topic("state"), site.topic("events")
    async with site.open() as writer:
        await writer.ensure_topics([state, events], compacted=[state])  # type: ignore[attr-defined]
        for topic in (state, events):
            await writer.publish(Message(topic=topic, payload=b"before", key="k"))
        await writer.publish(Message(topic=state, payload=b"", key="k"))
        async with site.open() as newcomer:
            await newcomer.subscribe([state, events])
            await writer.publish(Message(topic=events, payload=b"after", key="k"))
            arrived = await take(newcomer, 3)
    of_state = [(d.payload, d.key, d.retained) for d in arrived if d.topic == state]
    assert of_state == [(b"before", "k", True), (b"", "k", True)]
    assert [d.payload for d in arrived if d.topic == events] == [b"after"]


async def test_single_samples_at_125_hz_all_pass_mosquittos_default_limits(mosquitto: str) -> None:
    site = Site("mosquitto", mosquitto, uuid.uuid4().hex[:8])
    loop, topic = asyncio.get_running_loop(), site.topic("data", "vector", "kinematics")
    async with site.open("worker") as reader, site.open() as writer, AsyncExitStack() as stack:
        await reader.subscribe([topic])
        group = await stack.enter_async_context(asyncio.TaskGroup())

        async def publish() -> None:
            start_s = loop.time()
            for number in range(500):
                await asyncio.sleep(start_s + number / 125 - loop.time())
                group.create_task(writer.publish(Message(topic=topic, payload=b"%d" % number)))

        group.create_task(publish())
        numbers = await _read_as_a_worker(reader, 500)
    assert numbers == list(range(500))


async def _read_as_a_worker(reader: Transport, count: int) -> list[int]:
    """Acknowledge every 50 ms what was read since, as a worker does with its snapshots."""
    numbers: list[int] = []
    waiting: list[Delivery] = []

    async def acknowledge() -> None:
        while True:
            await asyncio.sleep(0.05)
            for delivery in waiting:
                reader.acknowledge(delivery)
            waiting.clear()

    acknowledging = asyncio.create_task(acknowledge())
    async with asyncio.timeout(LIMIT_S):
        async for delivery in reader.deliveries():
            waiting.append(delivery)
            numbers.append(int(delivery.payload))
            if len(numbers) == count:
                break
    acknowledging.cancel()
    return numbers


async def test_a_paused_kafka_topic_waits_and_the_other_goes_on(kafka: str) -> None:
    site = Site("kafka", kafka, uuid.uuid4().hex[:8])
    paused, other = site.topic("a"), site.topic("b")
    async with site.open("reader") as reader, site.open() as writer:
        await reader.subscribe([paused, other])
        for number in range(6):
            topic = (paused, other)[number % 2]
            await writer.publish(Message(topic=topic, payload=b"%d" % number, key="x.y"))
        assert reader.pause(paused)
        assert [d.payload for d in await take(reader, 3)] == [b"1", b"3", b"5"]
        assert not reader.exhausted(paused)
        reader.resume(paused)
        assert [d.payload for d in await take(reader, 3)] == [b"0", b"2", b"4"]


async def test_kafka_topics_that_appear_later_match_a_pattern(kafka: str) -> None:
    site = Site("kafka", kafka, uuid.uuid4().hex[:8])
    async with site.open() as reader, site.open() as writer:
        await reader.subscribe([f"^t{site.run}[.].*$"])
        await writer.publish(Message(topic=site.topic("new"), payload=b"first", key="x.y"))
        assert [d.payload for d in await take(reader, 1)] == [b"first"]


async def test_no_record_is_lost_when_a_second_reader_joins_the_group(kafka: str) -> None:
    site = Site("kafka", kafka, uuid.uuid4().hex[:8])
    topic, count = site.topic("a"), 400
    seen: list[list[int]] = [[], []]

    async def read(transport: Transport, into: list[int]) -> None:
        async for delivery in transport.deliveries():
            into.append(int(delivery.payload))
            transport.acknowledge(delivery)

    async with AsyncExitStack() as stack:
        writer = await stack.enter_async_context(site.open(partitions=4))
        first = await stack.enter_async_context(site.open("reader", partitions=4))
        second = await stack.enter_async_context(site.open("reader", partitions=4))
        await first.subscribe([topic])
        tasks = [asyncio.create_task(read(first, seen[0]))]
        joining: asyncio.Task[None] | None = None
        for number in range(count):
            await writer.publish(
                Message(topic=topic, payload=b"%d" % number, key=f"k{number % 40}")
            )
            if number == count // 4:
                joining = asyncio.create_task(second.subscribe([topic]))
                tasks.append(asyncio.create_task(read(second, seen[1])))
            if number == count // 2 and joining is not None:
                await joining
        await until(lambda: set(seen[0]) | set(seen[1]) == set(range(count)))
        for task in tasks:
            task.cancel()
    assert seen[0], "the first reader kept some partitions"
    assert seen[1], "the second reader got some partitions"
