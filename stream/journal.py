"""A worker's memory on its own disk: what it took in and still needs, and what it remembers.

One SQLite file. Each write is one transaction: after a crash it holds all of it or nothing.
"""

import sqlite3
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

import msgpack

from stream.transports.transport import Delivery

LAYOUT = 1
MOST_KNOWN = 4096  # more than a broker sends before it waits for an acknowledgement
NOTHING_KNOWN: Mapping[int, bytes] = {}
_TABLES = """
CREATE TABLE IF NOT EXISTS deliveries (number INTEGER PRIMARY KEY, delivery BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS memories (station TEXT PRIMARY KEY, memory BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS known (number INTEGER PRIMARY KEY, digest BLOB NOT NULL);
"""


class JournalError(Exception):
    """A journal that cannot be used: says which, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a journal holds: open deliveries by number, in their order, and memories by station.

    ``known`` are the digests of the newest deliveries, open or not, by number.
    """

    deliveries: Mapping[int, Delivery]
    memories: Mapping[str, Mapping[str, Any]]
    known: Mapping[int, bytes]


class Journal:
    """One worker's file; nobody else can open it meanwhile. Any thread may call."""

    def __init__(self, path: Path) -> None:
        """Open or create ``path``. Raises JournalError."""
        # SQLite ends the process where a file is closed that another thread is writing to.
        self._alone = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=0, check_same_thread=False)
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            with self._database:
                self._database.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
                self._check_layout(path)
        except (OSError, sqlite3.Error) as error:
            hint = "does another worker of this name run?" if "locked" in str(error) else ""
            raise JournalError(
                f"{path} cannot be used: {error}{'; ' if hint else ''}{hint}"
            ) from error

    def _check_layout(self, path: Path) -> None:
        (layout,) = self._database.execute("PRAGMA user_version").fetchone()
        if layout not in (0, LAYOUT):
            raise JournalError(f"{path} was written by another version; move it away to begin anew")
        self._database.execute(f"PRAGMA user_version = {LAYOUT}")

    def read(self) -> Kept:
        """Return everything. Raises JournalError where a row cannot be read."""
        with self._alone:
            rows = self._database.execute("SELECT number, delivery FROM deliveries ORDER BY number")
            deliveries = {number: _delivery(data) for number, data in rows}
            rows = self._database.execute("SELECT station, memory FROM memories")
            memories = {station: unpacked(data) for station, data in rows}
            known = dict(self._database.execute("SELECT number, digest FROM known ORDER BY number"))
        return Kept(deliveries=deliveries, memories=memories, known=known)

    def write(
        self,
        new: Mapping[int, Delivery],
        gone: Iterable[int],
        memories: Mapping[str, Mapping[str, Any]],
        known: Mapping[int, bytes] = NOTHING_KNOWN,
    ) -> None:
        """Keep new deliveries, memories and digests, and forget what is gone, all at once."""
        with self._alone, self._database:
            self._database.executemany(
                "INSERT INTO deliveries VALUES (?, ?)",
                [(number, _packed_delivery(one)) for number, one in new.items()],
            )
            self._database.executemany(
                "DELETE FROM deliveries WHERE number = ?", [(number,) for number in gone]
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO memories VALUES (?, ?)",
                [(station, packed(memory)) for station, memory in memories.items()],
            )
            if known:
                self._database.executemany("INSERT INTO known VALUES (?, ?)", known.items())
                oldest = max(known) - MOST_KNOWN
                self._database.execute("DELETE FROM known WHERE number <= ?", (oldest,))

    def forget_others(self, stations: Collection[str]) -> None:
        """Forget what is remembered of stations that are not configured any more."""
        with self._alone, self._database:
            known = [name for (name,) in self._database.execute("SELECT station FROM memories")]
            self._database.executemany(
                "DELETE FROM memories WHERE station = ?",
                [(name,) for name in known if name not in stations],
            )

    def close(self) -> None:
        """Let go of the file, once what is being written is there."""
        with self._alone:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def digest(delivery: Delivery) -> bytes:
    """16 bytes that tell a delivery from others by what it says."""
    said = (delivery.topic, delivery.payload, sorted(delivery.headers.items()))
    return blake2b(msgpack.packb(said), digest_size=16).digest()


def packed(memory: Mapping[str, Any]) -> bytes:
    """Return a memory as bytes: plain data, of which JSON would not take the arrays."""
    data: bytes = msgpack.packb(memory)
    return data


def unpacked(data: bytes) -> Mapping[str, Any]:
    """Return the memory that gave these bytes. Raises JournalError for others."""
    try:
        memory = msgpack.unpackb(data, strict_map_key=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise JournalError(f"a memory cannot be read: {error}") from error
    if not isinstance(memory, dict):
        raise JournalError("a memory cannot be read: it is no mapping")
    return memory


def _packed_delivery(one: Delivery) -> bytes:
    fields = (one.topic, one.payload, one.key, dict(one.headers))
    data: bytes = msgpack.packb((*fields, one.broker_time_ns, one.received_ns, one.retained))
    return data


def _delivery(data: bytes) -> Delivery:
    topic, payload, key, headers, broker_time_ns, received_ns, retained = msgpack.unpackb(data)
    return Delivery(
        topic=topic,
        payload=payload,
        key=key,
        headers=headers,
        broker_time_ns=broker_time_ns,
        received_ns=received_ns,
        retained=retained,
        redelivered=True,
    )
