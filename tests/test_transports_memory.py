import asyncio
import uuid

import pytest

from stream.transports.memory import MemoryTransport
from stream.transports.transport import Delivery, Message, TransportError


@pytest.fixture
def name() -> str:
    return uuid.uuid4().hex


async def take(transport: MemoryTransport, count: int) -> list[Delivery]:
    deliveries = transport.deliveries()
    return [await anext(deliveries) for _ in range(count)]


async def publish(transport: MemoryTransport, topic: str, *texts: str) -> None:
    for text in texts:
        await transport.publish(Message(topic=topic, payload=text.encode()))


def texts(deliveries: list[Delivery]) -> list[str]:
    return [delivery.payload.decode() for delivery in deliveries]


async def test_everyone_who_subscribed_gets_what_matches(name: str) -> None:
    async with MemoryTransport(name) as one, MemoryTransport(name) as two:
        await one.subscribe(["a/+/c"])
        await two.subscribe(["a/#", "x"])
        await publish(one, "a/b/c", "1")
        await publish(one, "a/b", "2")
        await publish(one, "x", "3")
        assert texts(await take(one, 1)) == ["1"]
        assert texts(await take(two, 3)) == ["1", "2", "3"]
        assert one.exhausted("#")


async def test_overlapping_filters_deliver_once(name: str) -> None:
    async with MemoryTransport(name) as transport:
        await transport.subscribe(["a/#", "a/b"])
        await publish(transport, "a/b", "1", "2")
        assert texts(await take(transport, 2)) == ["1", "2"]


async def test_key_headers_and_content_type_arrive(name: str) -> None:
    async with MemoryTransport(name) as transport:
        await transport.subscribe(["a"])
        await transport.publish(
            Message(topic="a", payload=b"{}", key="k", headers={"h": "v"}, content_type="text/x")
        )
        (arrived,) = await take(transport, 1)
    assert (arrived.key, arrived.headers) == ("k", {"h": "v", "content-type": "text/x"})


async def test_retained_state_greets_a_newcomer_until_it_is_removed(name: str) -> None:
    async with MemoryTransport(name) as writer, MemoryTransport(name) as newcomer:
        for topic in ("old", "current"):
            await writer.publish(Message(topic=topic, payload=b"state", retain=True))
        await writer.publish(Message(topic="old", payload=b"", retain=True))
        await newcomer.subscribe(["#"])
        (greeting,) = await take(newcomer, 1)
        assert (greeting.topic, greeting.retained) == ("current", True)
        assert newcomer.exhausted("#")


async def test_what_a_crashed_reader_did_not_acknowledge_comes_again(name: str) -> None:
    async with MemoryTransport(name) as writer:
        reader = MemoryTransport(name, client_id="r", persistent=True)
        await reader.__aenter__()
        await reader.subscribe(["a"])
        await publish(writer, "a", "1", "2", "3")
        for delivery in (await take(reader, 3))[1:2]:
            reader.acknowledge(delivery)
        reader.crash()
        await publish(writer, "a", "4")
        async with MemoryTransport(name, client_id="r", persistent=True) as successor:
            again = await take(successor, 3)
    assert texts(again) == ["1", "3", "4"]
    assert all(delivery.redelivered for delivery in again)


async def test_a_session_that_is_not_persistent_is_forgotten(name: str) -> None:
    async with MemoryTransport(name) as writer:
        async with MemoryTransport(name, client_id="r") as reader:
            await reader.subscribe(["a"])
        await publish(writer, "a", "1")
        async with MemoryTransport(name, client_id="r") as reader:
            await publish(writer, "a", "2")
            assert reader.exhausted("a")


async def test_the_last_will_follows_a_crash_but_no_farewell(name: str) -> None:
    will = Message(topic="state", payload=b"gone", retain=True)
    async with MemoryTransport(name) as reader:
        await reader.subscribe(["state"])
        async with MemoryTransport(name, will=will):
            pass
        assert reader.exhausted("state")
        client = await MemoryTransport(name, will=will).__aenter__()
        client.crash()
        assert texts(await take(reader, 1)) == ["gone"]


async def test_a_paused_topic_waits_in_order_while_others_go_on(name: str) -> None:
    async with MemoryTransport(name) as transport:
        await transport.subscribe(["#"])
        await publish(transport, "a", "1", "2")
        assert transport.pause("a")
        await publish(transport, "b", "3")
        await publish(transport, "a", "4")
        assert texts(await take(transport, 1)) == ["3"]
        assert not transport.exhausted("a")
        assert transport.exhausted("b")
        transport.resume("a")
        assert texts(await take(transport, 3)) == ["1", "2", "4"]


async def test_a_publisher_waits_for_a_reader_that_is_far_behind(name: str) -> None:
    count = 10_000
    async with MemoryTransport(name) as transport, MemoryTransport(name) as sender:
        await transport.subscribe(["a"])
        publishing = asyncio.create_task(publish(sender, "a", *map(str, range(count))))
        await asyncio.sleep(0)
        assert not publishing.done()
        assert texts(await take(transport, count)) == [str(number) for number in range(count)]
        await publishing


async def test_a_publisher_does_not_wait_for_a_topic_that_the_reader_paused(name: str) -> None:
    async with MemoryTransport(name) as transport:
        await transport.subscribe(["#"])
        transport.pause("ahead")
        await publish(transport, "ahead", *map(str, range(10_000)))
        await publish(transport, "awaited", "now")
        assert texts(await take(transport, 1)) == ["now"]


async def test_a_publisher_goes_on_when_the_reader_pauses_what_it_is_behind_with(name: str) -> None:
    async with MemoryTransport(name) as transport, MemoryTransport(name) as sender:
        await transport.subscribe(["#"])
        publishing = asyncio.create_task(publish(sender, "a", *map(str, range(10_000))))
        await asyncio.sleep(0)
        transport.pause("a")
        await publishing


async def test_closing_ends_the_reader_after_what_is_left(name: str) -> None:
    transport = await MemoryTransport(name).__aenter__()
    await transport.subscribe(["a"])
    await publish(transport, "a", "1")
    deliveries = transport.deliveries()
    first = await anext(deliveries)
    reading = asyncio.create_task(anext(deliveries, None))
    await asyncio.sleep(0)
    await transport.__aexit__(None, None, None)
    assert first.payload == b"1"
    assert await reading is None


async def test_what_cannot_be_sent_is_refused_with_its_reason(name: str) -> None:
    async with MemoryTransport(name, max_message_bytes=10) as transport:
        with pytest.raises(TransportError, match="too large for a: 11 bytes, at most 10"):
            await transport.publish(Message(topic="a", payload=bytes(11)))
        with pytest.raises(TransportError, match="published to the topic 'a/#'"):
            await transport.publish(Message(topic="a/#", payload=b""))
        with pytest.raises(TransportError, match=r"not a topic filter: a/b\+"):
            await transport.subscribe(["a/b+"])
    with pytest.raises(TransportError, match="needs a client_id"):
        MemoryTransport(name, persistent=True)
    with pytest.raises(TransportError, match="not open"):
        await transport.publish(Message(topic="a", payload=b""))


async def test_a_client_that_hears_itself_never_waits_for_itself() -> None:
    async with MemoryTransport("echo") as client:
        await client.subscribe(["own"])
        async with asyncio.timeout(10):
            for _ in range(6000):  # more than a reader may be behind
                await client.publish(Message(topic="own", payload=b""))
