"""Transactions on Kafka itself: what is committed, what is fenced, and what must not hang."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from stream.exactly_once import Assigned, LogError, LogEvent
from stream.transports.broker import BrokerConfig
from stream.transports.kafka import KafkaTransport
from stream.transports.kafka_connection import has_connection
from stream.transports.kafka_log import KafkaLog, Token
from stream.transports.transport import Delivery, Message
from tests.integration.sites import LIMIT_S, lower

STATION = "plant.hall.cell"


@asynccontextmanager
async def member(url: str, group: str, topic: str) -> AsyncIterator[KafkaTransport]:
    """A member of a group that reads one topic and has partition number 0."""
    config = BrokerConfig(url=url, group=group)
    async with KafkaTransport(config, transactional=True) as transport:
        await transport.subscribe([topic])
        assert await following(transport.log) == Assigned(numbers=frozenset({0}))
        yield transport


async def following(log: KafkaLog, limit_s: float = LIMIT_S) -> LogEvent | None:
    async with asyncio.timeout(limit_s):
        return await log.next()


def names(kafka: str) -> tuple[str, str, str]:
    """A broker, a group and a topic for one test."""
    name = uuid.uuid4().hex[:8]
    return kafka, f"group-{name}", f"in-{name}"


async def test_a_topic_that_appears_while_records_wait_does_not_hold_them_up(kafka: str) -> None:
    url, group, topic = names(kafka)
    old, new = f"old-{group}", f"new-{group}"
    async with member(url, group, topic) as transport:
        await transport.prepare([old])  # before the claim's producer looks what there is
        token = (await transport.log.claim(0)).token
        await transport.log.commit(token, [_record(old)], {topic: 1})
        await transport.log.commit(token, [_record(old), _record(new)], {topic: 2})


async def test_who_claims_a_number_goes_on_from_what_was_committed_and_fences(kafka: str) -> None:
    url, group, topic = names(kafka)
    async with member(url, group, topic) as transport:
        log = transport.log
        first = (await log.claim(0)).token
        kept = log.changelog_message(STATION, b"memory")
        await log.commit(first, [kept], {topic: 7})
        second = await log.claim(0)
        assert second.changelog == {STATION: b"memory"}
        assert second.committed == {topic: 7}
        with pytest.raises(LogError):
            await log.commit(first, [kept], {topic: 8})
        await log.commit(second.token, [kept], {topic: 9})
        assert (await log.claim(0)).committed == {topic: 9}


async def test_groups_beside_one_another_keep_their_memories_apart(kafka: str) -> None:
    url, group, topic = names(kafka)
    async with member(url, group, topic) as one, member(url, f"{group}-shadow", topic) as other:
        for transport, memory in ((one, b"mine"), (other, b"yours")):
            token = (await transport.log.claim(0)).token
            kept = transport.log.changelog_message(STATION, memory)
            await transport.log.commit(token, [kept], {topic: 1})
        assert (await one.log.claim(0)).changelog == {STATION: b"mine"}
        assert (await other.log.claim(0)).changelog == {STATION: b"yours"}


async def test_a_producer_that_was_fenced_leaves_no_connection_behind(kafka: str) -> None:
    url, group, topic = names(kafka)
    config = BrokerConfig(url=url, group=group)
    async with (
        member(url, group, topic) as fenced,
        KafkaTransport(config, transactional=True) as successor,
    ):
        token = (await fenced.log.claim(0)).token
        assert isinstance(token, Token)
        await successor.log.claim(0)
        committing = asyncio.create_task(fenced.log.commit(token, [], {topic: 1}))
        while not any("_do_add_offsets_to_txn" in repr(one) for one in asyncio.all_tasks()):  # noqa: ASYNC110
            await asyncio.sleep(0)  # until it is about to be told
        await fenced.log.claim(0)
        with pytest.raises(LogError):
            await committing
        assert not has_connection(token.producer.client)


async def test_a_number_is_delivered_from_where_it_was_begun_until_it_is_ended(kafka: str) -> None:
    url, group, topic = names(kafka)
    async with (
        member(url, group, topic) as transport,
        KafkaTransport(BrokerConfig(url=url)) as writer,
    ):
        log = transport.log
        for number in range(3):
            await writer.publish(_record(topic, b"%d" % number))
        log.begin(0, (await log.claim(0)).committed)
        first = await following(log)
        assert isinstance(first, Delivery)
        assert first.payload == b"0"
        log.end(0)
        with pytest.raises(TimeoutError):
            await following(log, 0.5)
        log.begin(0, {topic: 2})
        again = await following(log)
        assert isinstance(again, Delivery)
        assert again.payload == b"2"


def _record(topic: str, payload: bytes = b"1") -> Message:
    return Message(topic=topic, key=STATION, payload=payload)


async def test_what_is_committed_at_once_fits_a_topic_that_takes_little(kafka: str) -> None:
    url, group, topic = names(kafka)
    narrow = f"narrow-{group}"
    async with KafkaTransport(BrokerConfig(url=url)) as owner:
        await owner.prepare([narrow])
    await lower(kafka, narrow, 20_000)
    async with member(url, group, topic) as transport:
        token = (await transport.log.claim(0)).token
        records = [_record(narrow, bytes(8_000)) for _ in range(10)]
        await transport.log.commit(token, records, {topic: 1})
