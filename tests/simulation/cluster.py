"""A log with transactions, a group and fences, in memory; it can refuse, and lose its answers."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stream.exactly_once import Assigned, Claimed, LogError, LogEvent
from stream.transports.transport import Delivery, Message

ROUND_TRIP_S = 0.004
CHANGELOG = "changelog"


@dataclass(slots=True)
class Cluster:
    """Everything that brokers keep. ``trouble`` is the share of commits that go wrong."""

    random: np.random.Generator
    numbers: int
    number_of: Mapping[str, int]
    trouble: float = 0.0
    logs: defaultdict[tuple[str, int], list[Message]] = field(
        default_factory=lambda: defaultdict(list)
    )
    epochs: Counter[int] = field(default_factory=Counter)
    committed: defaultdict[int, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    changelog: defaultdict[int, dict[str, bytes]] = field(default_factory=lambda: defaultdict(dict))
    outputs: list[Message] = field(default_factory=list)
    members: list["Member"] = field(default_factory=list)
    away: bool = False
    calm: bool = False  # the story is over: whoever is started now is left alone
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def append(self, number: int, message: Message) -> None:
        """Keep what a producer sends."""
        self.logs[message.topic, number].append(message)
        self.grown.set()

    def rebalance(self) -> None:
        """Share the numbers out over the members there are."""
        for at, member in enumerate(self.members):
            mine = range(at, self.numbers, len(self.members))
            member.events.append(Assigned(numbers=frozenset(mine)))
        self.grown.set()

    def apply(self, number: int, messages: Sequence[Message], offsets: Mapping[str, int]) -> None:
        """Do what a transaction says."""
        for message in messages:
            if message.topic == CHANGELOG:
                self.changelog[number][message.key] = message.payload
            else:
                self.outputs.append(message)
        self.committed[number] |= offsets


class Member:
    """One worker's view of the cluster: a `stream.exactly_once.Log`."""

    def __init__(self, cluster: Cluster) -> None:
        self.events: list[LogEvent] = []
        self.refused: Counter[str] = Counter()
        self._cluster = cluster
        self._positions: dict[tuple[str, int], int] = {}
        self._begun: set[int] = set()

    def number_of(self, station: str) -> int:
        return self._cluster.number_of[station]

    async def next(self) -> LogEvent | None:
        while True:
            if self.events:
                return self.events.pop(0)
            if not self._cluster.away and (fetched := self._fetched()) is not None:
                return fetched
            self._cluster.grown.clear()
            await self._cluster.grown.wait()

    def _fetched(self) -> Delivery | None:
        waiting = [
            key
            for key, records in self._cluster.logs.items()
            if key[1] in self._begun and self._positions.get(key, 0) < len(records)
        ]
        if not waiting:
            return None
        key = waiting[int(self._cluster.random.integers(len(waiting)))]
        offset = self._positions.get(key, 0)
        self._positions[key] = offset + 1
        record = self._cluster.logs[key][offset]
        return Delivery(
            topic=record.topic,
            payload=record.payload,
            key=record.key,
            headers=record.headers,
            partition=key[1],
            offset=offset,
        )

    async def claim(self, number: int) -> Claimed:
        await self._answer()
        self._cluster.epochs[number] += 1
        found = Claimed(
            changelog=dict(self._cluster.changelog[number]),
            committed=dict(self._cluster.committed[number]),
            token=(number, self._cluster.epochs[number]),
        )
        await self._answer()
        return found

    def begin(self, number: int, offsets: Mapping[str, int]) -> None:
        self._positions = {key: at for key, at in self._positions.items() if key[1] != number}
        self._positions |= {(topic, number): at for topic, at in offsets.items()}
        self._begun.add(number)
        self._cluster.grown.set()

    def end(self, number: int) -> None:
        self._begun.discard(number)

    def changelog_message(self, key: str, value: bytes) -> Message:
        return Message(topic=CHANGELOG, key=key, payload=value)

    def refusal_of(self, message: Message) -> str:
        return ""

    async def commit(
        self, token: object, messages: Sequence[Message], offsets: Mapping[str, int]
    ) -> None:
        await self._answer()
        assert isinstance(token, tuple)
        number, epoch = token
        if epoch != self._cluster.epochs[number]:
            raise LogError("fenced")
        chance = self._cluster.random.random()
        if chance < self._cluster.trouble / 2:
            raise LogError("aborted")
        self._cluster.apply(number, messages, offsets)
        if chance < self._cluster.trouble:
            raise LogError("the answer was lost")
        await self._answer()

    async def _answer(self) -> None:
        await asyncio.sleep(ROUND_TRIP_S * (1 + self._cluster.random.random()))
        if self._cluster.away:
            raise LogError("nobody answers")

    # What a pipeline asks of a transport beside

    @property
    def connected(self) -> bool:
        return not self._cluster.away

    async def publish(self, message: Message) -> None:
        """Statuses are of no interest here, but they take their time."""
        await asyncio.sleep(ROUND_TRIP_S)

    async def prepare(self, topics: Sequence[str]) -> None:
        """Nothing."""

    async def subscribe(self, topics: Sequence[str]) -> None:
        """Everything is read."""

    def pause(self, topic: str) -> bool:
        return False

    def resume(self, topic: str) -> None:
        """Nothing is paused."""

    def exhausted(self, topic: str) -> bool:
        return all(
            self._positions.get(key, 0) >= len(records)
            for key, records in self._cluster.logs.items()
            if key[1] in self._begun and key[0] == topic
        )
