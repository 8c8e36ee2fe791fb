"""What every transport promises, on the real brokers.

amqtt takes part wherever it can. It cannot in redelivery: what it sent to a client that went
without acknowledging does not come again (tried with 0.12.1), not even what it sent while the
client was saying goodbye; and a restart loses everything. It speaks MQTT 3.1.1 only, so that
neither headers nor the broker's own limit on packets can be tried on it.
"""

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from simulators.brokers.amqtt import Amqtt
from simulators.brokers.broker import EmbeddedBroker
from simulators.brokers.kafka import Kafka
from simulators.brokers.mosquitto import Mosquitto
from stream.transports.open import BrokerConfig, open_transport
from stream.transports.transport import Delivery, Message, Transport, TransportError

_HERE = Path(__file__).parent
_LIMIT_S = 30

_real = pytest.mark.real_broker
mqtt_5_and_kafka = [pytest.param(("mosquitto", "5"), marks=_real, id="mosquitto")]
mqtt_5_and_kafka += [pytest.param(("kafka", "5"), marks=_real, id="kafka")]
mosquitto_311 = pytest.param(("mosquitto", "3.1.1"), marks=_real, id="mosquitto-3.1.1")
amqtt = pytest.param(("amqtt", "3.1.1"), id="amqtt")
mosquitto_and_kafka = [*mqtt_5_and_kafka, mosquitto_311]
mqtt_brokers = [mqtt_5_and_kafka[0], mosquitto_311, amqtt]
every_broker = [*mosquitto_and_kafka, amqtt]


@dataclass(frozen=True, slots=True)
class Site:
    """One broker with names that no other test uses."""

    broker: str
    url: str
    run: str
    protocol: str = "5"

    def topic(self, *parts: str) -> str:
        return ("." if self.broker == "kafka" else "/").join((f"t{self.run}", *parts))

    def config(self, reader: str = "", **more: object) -> BrokerConfig:
        name = f"{reader}{self.run}" if reader else ""
        settings = {"protocol": self.protocol, "client_id": name, "group": name, **more}
        return BrokerConfig(url=self.url, insecure=True, **settings)

    @asynccontextmanager
    async def open(self, reader: str = "", **more: object) -> AsyncIterator[Transport]:
        """Open a transport; with a reader's name, one whose unread messages wait for it."""
        config = self.config(reader, **more)
        async with open_transport(config, persistent=bool(reader)) as transport:
            yield transport


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Site:
    broker, protocol = request.param
    return Site(broker, request.getfixturevalue(broker), uuid.uuid4().hex[:8], protocol)


async def take(transport: Transport, count: int) -> list[Delivery]:
    """Read and acknowledge so many deliveries."""
    taken: list[Delivery] = []
    async with asyncio.timeout(_LIMIT_S):
        async for delivery in transport.deliveries():
            transport.acknowledge(delivery)
            taken.append(delivery)
            if len(taken) == count:
                break
    return taken


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(_LIMIT_S):
        while not condition():  # noqa: ASYNC110 the transports promise a property, not an event
            await asyncio.sleep(0.02)


@contextmanager
def process(script: str, order: dict[str, object]) -> Iterator[subprocess.Popen[str]]:
    """Run one of the scripts beside this file; give it once it says that it is ready."""
    command = [sys.executable, str(_HERE / script), json.dumps(order)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        assert "ready\n" in running.stdout, f"{script} ended with {running.wait()}"
        yield running
    finally:
        running.kill()
        running.communicate()


@pytest.mark.parametrize("site", every_broker, indirect=True)
async def test_what_is_published_arrives_unchanged(site: Site) -> None:
    payload = bytes(range(256)) * 100
    async with site.open() as reader, site.open() as writer:
        await reader.subscribe([site.topic("a")])
        await writer.publish(Message(topic=site.topic("a"), payload=payload, key="x.y"))
        (arrived,) = await take(reader, 1)
    assert arrived.topic == site.topic("a")
    assert arrived.payload == payload
    assert arrived.received_ns > 0


@pytest.mark.parametrize("site", mqtt_5_and_kafka, indirect=True)
async def test_headers_and_content_type_travel_with_the_message(site: Site) -> None:
    message = Message(
        topic=site.topic("a"),
        payload=b"{}",
        key="x.y",
        headers={"reason": "größer"},
        content_type="application/json",
    )
    async with site.open() as reader, site.open() as writer:
        await reader.subscribe([message.topic])
        await writer.publish(message)
        (arrived,) = await take(reader, 1)
    assert arrived.headers == {"reason": "größer", "content-type": "application/json"}


@pytest.mark.parametrize("site", every_broker, indirect=True)
async def test_an_empty_message_arrives_as_an_empty_one(site: Site) -> None:
    async with site.open() as reader, site.open() as writer:
        await reader.subscribe([site.topic("a")])
        await writer.publish(Message(topic=site.topic("a"), payload=b"", key="x.y"))
        await writer.publish(Message(topic=site.topic("a"), payload=b"", key=""))
        assert [arrived.payload for arrived in await take(reader, 2)] == [b"", b""]


@pytest.mark.parametrize("site", every_broker, indirect=True)
async def test_messages_of_one_topic_and_key_keep_their_order(site: Site) -> None:
    topics, keys = [site.topic("a"), site.topic("b")], ["p.q", "r.s", "t.u"]
    async with site.open(partitions=3) as reader, site.open(partitions=3) as writer:
        await reader.subscribe(topics)

        async def publish(topic: str, key: str) -> None:
            for number in range(50):
                payload = f"{key} {number}".encode()
                await writer.publish(Message(topic=topic, payload=payload, key=key))

        async with asyncio.TaskGroup() as group:
            for topic in topics:
                for key in keys:
                    group.create_task(publish(topic, key))
            arrived = await take(reader, 300)
    for topic in topics:
        for key in keys:
            mine = [d.payload.decode() for d in arrived if d.topic == topic]
            assert [text for text in mine if text.startswith(key)] == [
                f"{key} {number}" for number in range(50)
            ]


@pytest.mark.parametrize("site", mosquitto_and_kafka, indirect=True)
async def test_what_a_crashed_reader_did_not_acknowledge_comes_again(site: Site) -> None:
    topic = site.topic("a")
    order = {
        "config": site.config("reader").model_dump(mode="json"),
        "topic": topic,
        "acknowledge": [0, 1, 2, 3, 6],
    }
    with process("reader_that_crashes.py", order) as reader:
        async with site.open() as writer:
            for number in range(10):
                await writer.publish(Message(topic=topic, payload=b"%d" % number, key="x.y"))
        assert await asyncio.to_thread(reader.wait, _LIMIT_S) == 9
    async with site.open("reader") as successor, site.open() as writer:
        await successor.subscribe([topic])
        await writer.publish(Message(topic=topic, payload=b"99", key="x.y"))
        again: list[int] = []
        while 99 not in again:
            again += [int(delivery.payload) for delivery in await take(successor, 1)]
    # MQTT remembers each message, Kafka the oldest that is open and all that follow it.
    expected = [4, 5, 7, 8, 9] if site.broker == "mosquitto" else [4, 5, 6, 7, 8, 9]
    assert again == [*expected, 99]


@pytest.mark.parametrize("site", mosquitto_and_kafka, indirect=True)
async def test_a_reader_that_acknowledged_everything_gets_nothing_again(site: Site) -> None:
    topic = site.topic("a")
    async with site.open() as writer:
        async with site.open("reader") as reader:
            await reader.subscribe([topic])
            await writer.publish(Message(topic=topic, payload=b"before", key="x.y"))
            await take(reader, 1)
        await writer.publish(Message(topic=topic, payload=b"meanwhile", key="x.y"))
        async with site.open("reader") as reader:
            await reader.subscribe([topic])
            (arrived,) = await take(reader, 1)
    assert arrived.payload == b"meanwhile"


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(Mosquitto, marks=pytest.mark.real_broker),
        pytest.param(Kafka, marks=pytest.mark.real_broker),
    ],
)
async def test_nothing_is_lost_while_the_broker_restarts(
    kind: type[EmbeddedBroker], start_broker: Callable[..., EmbeddedBroker]
) -> None:
    broker = await asyncio.to_thread(start_broker, kind)
    site = Site(broker.name, broker.url, "r")
    topic = site.topic("a")
    async with site.open("reader") as reader, site.open() as writer:
        await reader.subscribe([topic])
        await writer.publish(Message(topic=topic, payload=b"before", key="x.y"))
        assert [d.payload for d in await take(reader, 1)] == [b"before"]
        await asyncio.to_thread(broker.stop)
        await until(lambda: not reader.connected)
        meanwhile = asyncio.create_task(
            writer.publish(Message(topic=topic, payload=b"meanwhile", key="x.y"))
        )
        await asyncio.sleep(0.1)
        assert not meanwhile.done()
        await asyncio.to_thread(broker.start)
        await meanwhile
        assert [d.payload for d in await take(reader, 1)] == [b"meanwhile"]
        await until(lambda: reader.connected and writer.connected)


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


@pytest.mark.parametrize("site", every_broker, indirect=True)
async def test_a_message_over_the_limit_is_refused_and_the_next_one_passes(site: Site) -> None:
    topic = site.topic("a")
    async with (
        site.open(max_message_bytes=1000) as reader,
        site.open(max_message_bytes=1000) as writer,
    ):
        await reader.subscribe([topic])
        with pytest.raises(TransportError, match=r"too large for .*1001 bytes, at most 1000"):
            await writer.publish(Message(topic=topic, payload=bytes(1001), key="x.y"))
        await writer.publish(Message(topic=topic, payload=bytes(1000), key="x.y"))
        (arrived,) = await take(reader, 1)
    assert len(arrived.payload) == 1000


@pytest.mark.parametrize("site", every_broker, indirect=True)
async def test_a_message_of_four_mebibytes_passes(site: Site) -> None:
    async with site.open() as reader, site.open() as writer:
        await reader.subscribe([site.topic("a")])
        payload = bytes(4 * 1024**2)
        await writer.publish(Message(topic=site.topic("a"), payload=payload, key="x.y"))
        (arrived,) = await take(reader, 1)
    assert arrived.payload == payload


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


@pytest.mark.parametrize("site", mqtt_brokers, indirect=True)
async def test_retained_state_greets_a_newcomer_until_it_is_removed(site: Site) -> None:
    topics = [site.topic("old"), site.topic("current")]
    async with site.open() as writer:
        for topic in topics:
            await writer.publish(Message(topic=topic, payload=b"state", retain=True))
        await writer.publish(Message(topic=topics[0], payload=b"", retain=True))
        async with site.open() as newcomer:
            await newcomer.subscribe([site.topic("#")])
            (greeting,) = await take(newcomer, 1)
            await writer.publish(Message(topic=site.topic("live"), payload=b"live"))
            (live,) = await take(newcomer, 1)
    assert (greeting.topic, greeting.payload, greeting.retained) == (topics[1], b"state", True)
    assert (live.payload, live.retained) == (b"live", False)


@pytest.mark.parametrize("site", mqtt_brokers, indirect=True)
async def test_the_last_will_speaks_for_a_client_that_was_killed(site: Site) -> None:
    topic = site.topic("state")
    async with site.open() as reader:
        await reader.subscribe([topic])
        order = {"config": site.config().model_dump(mode="json"), "topic": topic}
        with process("client_with_a_will.py", order):
            assert [d.payload for d in await take(reader, 1)] == [b"here"]
        assert [d.payload for d in await take(reader, 1)] == [b"gone"]


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
    async with asyncio.timeout(_LIMIT_S):
        async for delivery in reader.deliveries():
            waiting.append(delivery)
            numbers.append(int(delivery.payload))
            if len(numbers) == count:
                break
    acknowledging.cancel()
    return numbers


@pytest.mark.parametrize("site", every_broker, indirect=True)
async def test_a_source_is_exhausted_only_when_everything_was_read(site: Site) -> None:
    topic = site.topic("a")
    async with site.open("reader") as reader, site.open() as writer:
        await reader.subscribe([topic])
        for number in range(5):
            await writer.publish(Message(topic=topic, payload=b"%d" % number, key="x.y"))
        await until(lambda: not reader.exhausted(topic))
        deliveries = reader.deliveries()
        for _ in range(5):
            await anext(deliveries)
        waiting = asyncio.ensure_future(anext(deliveries))
        await until(lambda: reader.exhausted(topic))
        waiting.cancel()


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


async def test_a_broker_that_is_not_there_is_named_with_its_url() -> None:
    for url in ("mqtt://127.0.0.1:9", "kafka://127.0.0.1:9"):
        with pytest.raises(TransportError, match=f"no connection to {url}: .*does the broker run"):
            await open_transport(BrokerConfig(url=url)).__aenter__()
