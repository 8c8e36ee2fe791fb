"""What every transport promises, on the real brokers.

amqtt takes part wherever it can. It cannot in redelivery: what it sent to a client that went
without acknowledging does not come again (tried with 0.12.1), not even what it sent while the
client was saying goodbye; and a restart loses everything. It speaks MQTT 3.1.1 only, so that
headers cannot be tried on it.
"""

import asyncio
import json
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulators.brokers.broker import EmbeddedBroker
from simulators.brokers.kafka import Kafka
from simulators.brokers.mosquitto import Mosquitto
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Message, TransportError
from tests.integration.sites import LIMIT_S, Site, take, until

_HERE = Path(__file__).parent

_real = pytest.mark.real_broker
mqtt_5_and_kafka = [pytest.param(("mosquitto", "5"), marks=_real, id="mosquitto")]
mqtt_5_and_kafka += [pytest.param(("kafka", "5"), marks=_real, id="kafka")]
mosquitto_311 = pytest.param(("mosquitto", "3.1.1"), marks=_real, id="mosquitto-3.1.1")
amqtt = pytest.param(("amqtt", "3.1.1"), id="amqtt")
mosquitto_and_kafka = [*mqtt_5_and_kafka, mosquitto_311]
mqtt_brokers = [mqtt_5_and_kafka[0], mosquitto_311, amqtt]
every_broker = [*mosquitto_and_kafka, amqtt]


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Site:
    broker, protocol = request.param
    return Site(broker, request.getfixturevalue(broker), uuid.uuid4().hex[:8], protocol)


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
async def test_messages_published_at_once_keep_the_order_of_the_calls(site: Site) -> None:
    """Also while the writer still learns what it needs to know of a topic."""
    wanted = [f"{number}".encode() for number in range(40)]
    async with site.open() as reader, site.open() as writer:
        await reader.subscribe([site.topic("a")])
        async with asyncio.TaskGroup() as group:
            for payload in wanted:
                message = Message(topic=site.topic("a"), payload=payload, key="p.q")
                group.create_task(writer.publish(message))
                await asyncio.sleep(0.002)
        assert [arrived.payload for arrived in await take(reader, 40)] == wanted


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
        assert await asyncio.to_thread(reader.wait, LIMIT_S) == 9
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


async def test_a_broker_that_is_not_there_is_named_with_its_url() -> None:
    for url in ("mqtt://127.0.0.1:9", "kafka://127.0.0.1:9"):
        with pytest.raises(TransportError, match=f"no connection to {url}: .*does the broker run"):
            await open_transport(BrokerConfig(url=url)).__aenter__()
