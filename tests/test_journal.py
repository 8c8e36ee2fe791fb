"""What a worker keeps on its own disk, and what a crash leaves of it."""

import asyncio
import sqlite3
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from stream.courier import Granted, Incoming, Parcel
from stream.journal import Journal, JournalError, packed, unpacked
from stream.journaling import JournalCourier
from stream.transports.memory import MemoryTransport
from stream.transports.transport import Delivery, Message
from tests.plant import new_broker

STATION = "acme/plant/hall/line/cell"
MEMORY = {"taken_in": {"epoch": 3}, "session": {"data": b"\x00\xff", "ages": [1.5, None]}}


def delivery(at: int) -> Delivery:
    return Delivery(topic="cam", payload=bytes([at]), headers={"time": "7"}, received_ns=at)


def test_open_deliveries_and_memories_are_read_as_they_were_written(tmp_path: Path) -> None:
    with Journal(tmp_path / "w.sqlite") as journal:
        journal.write({1: delivery(1), 2: delivery(2)}, [], {STATION: MEMORY})
        journal.write({3: delivery(3)}, [1], {})
    with Journal(tmp_path / "w.sqlite") as journal:
        kept = journal.read()
    assert [(number, one.payload) for number, one in kept.deliveries.items()] == [
        (2, b"\x02"),
        (3, b"\x03"),
    ]
    assert all(one.redelivered and one.headers == {"time": "7"} for one in kept.deliveries.values())
    assert kept.memories == {STATION: MEMORY}


def test_what_is_remembered_of_stations_that_are_gone_is_forgotten(tmp_path: Path) -> None:
    with Journal(tmp_path / "w.sqlite") as journal:
        journal.write({}, [], {STATION: MEMORY, "other": MEMORY})
        journal.forget_others([STATION])
        assert list(journal.read().memories) == [STATION]


def test_a_second_worker_of_the_same_name_is_refused_and_told_why(tmp_path: Path) -> None:
    with Journal(tmp_path / "w.sqlite") as journal:
        journal.write({1: delivery(1)}, [], {})
        with pytest.raises(JournalError, match="does another worker of this name run"):
            Journal(tmp_path / "w.sqlite")


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be one" * 50])
def test_a_file_that_is_no_journal_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.sqlite").write_bytes(content)
    with pytest.raises(JournalError, match=r"w\.sqlite cannot be used"):
        Journal(tmp_path / "w.sqlite")


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "w.sqlite").close()
    database = sqlite3.connect(tmp_path / "w.sqlite")
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(JournalError, match="another version"):
        Journal(tmp_path / "w.sqlite")


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x93\x01\x02\x03", packed({"a": 1})[:-1]])
def test_bytes_that_are_no_memory_are_refused(data: bytes) -> None:
    with pytest.raises(JournalError, match="cannot be read"):
        unpacked(data)


class Life:
    """One process: a courier on a persistent session, ended by a crash or in peace."""

    def __init__(self, broker: str, path: Path) -> None:
        self.transport = MemoryTransport(broker, client_id="worker", persistent=True)
        self.journal = Journal(path)
        self.courier = JournalCourier(self.transport, self.journal, [STATION])
        self.memories: Mapping[str, Mapping[str, Any]] = {}

    async def take(self, incoming: Any, count: int) -> list[Delivery]:
        taken: list[Delivery] = []
        while len(taken) < count:
            one: Incoming = await asyncio.wait_for(anext(incoming), 5)
            if isinstance(one, Granted):
                self.memories = one.memories
            elif isinstance(one, Delivery):
                taken.append(one)
        return taken

    def crash(self) -> None:
        """Vanish: nothing is written or acknowledged any more."""
        if self.courier._writer is not None:
            self.courier._writer.cancel()
        self.transport.crash()
        self.journal.close()


async def test_after_a_crash_what_is_open_comes_again_and_what_was_settled_does_not(
    tmp_path: Path,
) -> None:
    broker, path = new_broker(), tmp_path / "w.sqlite"
    async with MemoryTransport(broker) as plant:
        first = Life(broker, path)
        await first.transport.__aenter__()
        await first.transport.subscribe(["cam"])
        await first.courier.__aenter__()
        for at in range(4):
            await plant.publish(Message(topic="cam", payload=bytes([at])))
        incoming = first.courier.incoming()
        taken = await first.take(incoming, 4)
        settled = Parcel(station=STATION, released=taken[:2], memory=MEMORY)
        await first.courier.settle([settled])
        await asyncio.sleep(0.3)  # a few writes later
        await plant.publish(Message(topic="cam", payload=b"unwritten"))
        await first.take(incoming, 1)
        first.crash()
        second = Life(broker, path)
        async with second.transport, second.courier:
            again = await second.take(second.courier.incoming(), 3)
    assert second.memories == {STATION: MEMORY}
    assert [one.payload for one in again] == [b"\x02", b"\x03", b"unwritten"]
    second.journal.close()


async def test_nothing_is_acknowledged_before_the_journal_holds_it(tmp_path: Path) -> None:
    broker, path = new_broker(), tmp_path / "w.sqlite"
    acknowledged: list[bytes] = []

    class Watched(MemoryTransport):
        def acknowledge(self, delivery: Delivery) -> None:
            kept = life.journal.read().deliveries.values()
            assert delivery.payload in [one.payload for one in kept]
            acknowledged.append(delivery.payload)
            super().acknowledge(delivery)

    life = Life(broker, path)
    life.transport = Watched(broker, client_id="worker", persistent=True)
    life.courier = JournalCourier(life.transport, life.journal, [STATION])
    async with MemoryTransport(broker) as plant, life.transport, life.courier:
        await life.transport.subscribe(["cam"])
        for at in range(3):
            await plant.publish(Message(topic="cam", payload=bytes([at])))
        await life.take(life.courier.incoming(), 3)
        await asyncio.sleep(0.3)
    assert acknowledged == [b"\x00", b"\x01", b"\x02"]
    life.journal.close()


class Unheard(MemoryTransport):
    """A connection that loses every acknowledgement."""

    def acknowledge(self, delivery: Delivery) -> None:
        """It never arrives."""


async def test_what_comes_again_although_it_was_kept_is_taken_once_and_counted(
    tmp_path: Path,
) -> None:
    broker, path = new_broker(), tmp_path / "w.sqlite"
    async with MemoryTransport(broker) as plant:
        first = Life(broker, path)
        first.transport = Unheard(broker, client_id="worker", persistent=True)
        first.courier = JournalCourier(first.transport, first.journal, [STATION])
        async with first.transport, first.courier:
            await first.transport.subscribe(["cam"])
            incoming = first.courier.incoming()
            for _ in range(2):  # a plant may say the same twice
                await plant.publish(Message(topic="cam", payload=b"same"))
            taken = await first.take(incoming, 2)
            await first.courier.settle([Parcel(station=STATION, released=taken)])
        first.journal.close()
        second = Life(broker, path)
        async with second.transport, second.courier:
            await plant.publish(Message(topic="cam", payload=b"news"))
            again = await second.take(second.courier.incoming(), 1)
    assert [one.payload for one in again] == [b"news"]
    assert second.courier.dropped == {"redelivered": 2}
    second.journal.close()


def test_a_journal_is_closed_only_once_what_another_thread_writes_is_there(tmp_path: Path) -> None:
    path, begun, may_end = tmp_path / "w.sqlite", threading.Event(), threading.Event()

    class Slow(dict[str, Mapping[str, Any]]):
        def items(self) -> Any:
            begun.set()
            may_end.wait()
            return super().items()

    journal = Journal(path)
    with ThreadPoolExecutor() as threads:
        written = threads.submit(journal.write, {1: delivery(1)}, [], Slow({STATION: MEMORY}))
        begun.wait()
        closed = threads.submit(journal.close)
        early = wait([closed], timeout=0.1).done
        may_end.set()
        written.result()
        closed.result()
    assert not early
    with Journal(path) as journal:
        assert journal.read().memories == {STATION: MEMORY}
