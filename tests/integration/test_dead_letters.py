"""Dead letters on the real brokers: shown from where they are, and sent again once."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from typer.testing import CliRunner

from stream.dead_letters import Resending, Wanted, letters
from stream.letters import ENVELOPE_LIMIT_BYTES, Letter
from stream.outbox import Outbox
from stream.topics import topics_for
from stream.transports.open import open_transport
from stream.transports.transport import Delivery, Transport
from tests.integration.sites import Site, take, until
from weldfusion import app


class Cell:
    """A station of its own for every test, whose worker refuses what it is told to."""

    def __init__(self, site: Site) -> None:
        self.site, self.topics = site, topics_for(site.url)
        self.station = f"acme/t{site.run}/hall/line/cell"
        self.source = site.topic("cam")

    async def refuse(self, worker: Transport, payload: bytes, reason: str = "not_an_image") -> None:
        place = {"partition": 0, "offset": 7} if self.site.broker == "kafka" else {}
        headers = {"weldfusion-time-ns": "17"}
        delivery = Delivery(
            topic=self.source, payload=payload, key="k.1", headers=headers, received_ns=1, **place
        )
        letter = (delivery, self.station, "camera", reason, "why")
        await worker.publish(Outbox(self.topics).dead_letter(*letter))

    @asynccontextmanager
    async def reader(self) -> AsyncIterator[Transport]:
        async with open_transport(self.site.config(), from_beginning=True) as transport:
            yield transport

    async def sent_again(self, **options: Any) -> dict[str, int]:
        wanted = Wanted(station=self.station, reason=options.pop("reason", ""))
        told: list[str] = []
        resending = Resending(wanted, told.append, dry_run=options.pop("dry_run", False))
        async with self.reader() as transport:
            await resending.run(transport, self.site.config(), self.topics)
        counts = dict(resending.counts)
        counts.pop("left out by the filters", None)
        assert len(told) == counts.get("not to be sent", 0)
        return counts


@pytest.fixture
def on_kafka(kafka: str) -> Cell:
    return Cell(Site("kafka", kafka, uuid.uuid4().hex[:8]))


@pytest.fixture(params=["amqtt", pytest.param("mosquitto", marks=pytest.mark.real_broker)])
def on_mqtt(request: pytest.FixtureRequest) -> Cell:
    url, version = request.getfixturevalue(request.param), "3.1.1"
    return Cell(
        Site(request.param, url, uuid.uuid4().hex[:8], "5" if request.param != "amqtt" else version)
    )


async def test_on_kafka_the_whole_topic_is_shown_and_then_it_ends(on_kafka: Cell) -> None:
    async with on_kafka.site.open() as worker:
        for at in range(30):
            await on_kafka.refuse(worker, b"%d" % at, ("jump", "not_an_image")[at % 2])
    async with on_kafka.reader() as transport:
        found = [
            letter
            async for _, letter in letters(transport, on_kafka.topics, "")
            if isinstance(letter, Letter) and letter.station == on_kafka.station
        ]
    assert [one.original for one in found] == [b"%d" % at for at in range(30)]
    assert {(one.topic, one.partition, one.offset) for one in found} == {(on_kafka.source, 0, 7)}


async def test_the_command_shows_what_the_filters_let_through(on_kafka: Cell) -> None:
    async with on_kafka.site.open() as worker:
        for reason in ("jump", "not_an_image", "jump"):
            await on_kafka.refuse(worker, b"{\x1b[2J}", reason)
    command = ["dlq", "show", on_kafka.site.url, "--station", on_kafka.station, "--reason", "jump"]
    result = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert result.exit_code == 0, result.output
    *shown, last = result.stdout.splitlines()
    assert last == "2 shown: 2 jump"
    assert len(shown) == 2
    for line in shown:
        assert f"{on_kafka.station}/camera from {on_kafka.source}[0]@7" in line
        assert line.isprintable()


async def test_on_kafka_an_original_is_sent_once_with_its_key_whatever_the_filters(
    on_kafka: Cell,
) -> None:
    cell = on_kafka
    async with cell.site.open() as worker, cell.site.open() as source:
        await source.subscribe([cell.source])
        for at in range(4):
            await cell.refuse(worker, b"%d" % at, ("jump", "not_an_image")[at % 2])
        await cell.refuse(worker, bytes(ENVELOPE_LIMIT_BYTES + 1))
        would = {"to be sent": 2}
        assert await cell.sent_again(reason="jump", dry_run=True) == would
        assert await cell.sent_again(reason="jump") == {"sent again": 2}
        assert await cell.sent_again() == {"sent again": 2, "sent before": 2, "not to be sent": 1}
        assert await cell.sent_again() == {"sent before": 4, "not to be sent": 1}
        await cell.refuse(worker, b"new", "jump")
        assert await cell.sent_again(reason="jump") == {"sent before": 2, "sent again": 1}
        again = await take(source, 5)
    assert [one.payload for one in again] == [b"0", b"2", b"1", b"3", b"new"]
    assert {(one.key, one.headers["weldfusion-time-ns"]) for one in again} == {("k.1", "17")}


async def test_on_kafka_what_is_refused_again_meanwhile_is_left_for_the_next_run(
    on_kafka: Cell,
) -> None:
    cell = on_kafka
    async with cell.site.open() as worker, cell.site.open() as source:
        await source.subscribe([cell.source])

        again: list[bytes] = []

        async def refuse_again() -> None:
            async for one in source.deliveries():
                await cell.refuse(worker, one.payload)
                again.append(one.payload)

        await cell.refuse(worker, b"still wrong")
        refusing = asyncio.create_task(refuse_again())
        assert await cell.sent_again() == {"sent again": 1}
        await until(lambda: again == [b"still wrong"])
        assert await cell.sent_again() == {"sent again": 1, "sent before": 1}
        refusing.cancel()


async def test_on_mqtt_originals_are_sent_again_as_letters_come_and_none_for_ever(
    on_mqtt: Cell,
) -> None:
    cell, told = on_mqtt, list[str]()
    resending = Resending(Wanted(station=cell.station), told.append, dry_run=False)
    async with cell.site.open() as worker, cell.site.open() as source, cell.reader() as transport:
        await source.subscribe([cell.source])
        running = asyncio.create_task(resending.run(transport, cell.site.config(), cell.topics))
        while not resending.counts:  # letters before it listens are lost, as MQTT does
            await cell.refuse(worker, bytes(ENVELOPE_LIMIT_BYTES + 1))
            await asyncio.sleep(0.05)
        await cell.refuse(worker, b"one")
        (first,) = await take(source, 1)
        await cell.refuse(worker, first.payload)  # still wrong
        await cell.refuse(worker, b"two", "jump")
        assert [one.payload for one in await take(source, 1)] == [b"two"]
        await until(lambda: resending.counts["sent again"] == 2)
        assert resending.counts["sent before"] == 1
        running.cancel()
    assert first.payload == b"one"
    assert len(told) == resending.counts["not to be sent"] >= 1
