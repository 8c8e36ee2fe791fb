"""Exactly once on a partitioned, transactional log such as Kafka's.

All inputs of a station lie in one partition number. Whoever owns a number fences those who owned it
before, restores its stations from what was committed, and commits their outputs, their memories and
the offsets of what they no longer need in one transaction. When a commit is not known to have gone
through, the number is claimed anew: a crash and an error take the same way back.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self, TypeAlias

import structlog

from stream.courier import Granted, Incoming, Parcel, Withdrawn
from stream.journal import packed, unpacked
from stream.offsets import Offsets
from stream.transports.transport import Delivery, Message

log = structlog.get_logger(__name__)

OFFSETS_KEY = "_offsets"  # beside the stations in the changelog of a partition number
MOST_QUEUED = 500
BACK_OFF_S = (0.1, 5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """The group's coordinator says which partition numbers are ours; all others are not."""

    numbers: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What was committed for a partition number: values by key, and offsets by topic.

    ``token`` is what commits under this claim are made with; a later claim makes it worthless.
    """

    changelog: Mapping[str, bytes]
    committed: Mapping[str, int]
    token: object


LogEvent: TypeAlias = Delivery | Assigned


class LogError(Exception):
    """A claim or a commit of which it is not known that it went through."""


class Log(Protocol):
    """One member's view of a log."""

    def number_of(self, station: str) -> int:
        """The partition number of a station's inputs."""
        ...

    async def next(self) -> LogEvent | None:
        """What comes next, deliveries only of numbers that were begun; None once closed."""
        ...

    async def claim(self, number: int) -> Claimed:
        """Fence all who claimed this number before; return what they committed, or LogError."""
        ...

    def begin(self, number: int, offsets: Mapping[str, int]) -> None:
        """Deliver a claimed number from these offsets on, topics not named from their beginning."""
        ...

    def end(self, number: int) -> None:
        """Deliver no more of a number, not even what was fetched."""
        ...

    def changelog_message(self, key: str, value: bytes) -> Message:
        """What keeps ``value`` under ``key``."""
        ...

    async def commit(
        self, token: object, messages: Sequence[Message], offsets: Mapping[str, int]
    ) -> None:
        """Publish and commit in one transaction, or raise LogError."""
        ...

    def refusal_of(self, message: Message) -> str:
        """Why a message can never be published, such as its size; empty where it can."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Claim:
    """A partition number for as long as it is ours; each topic's offsets."""

    number: int
    stations: Sequence[str]
    token: object
    offsets: dict[str, Offsets] = field(default_factory=dict)

    def topic(self, name: str) -> Offsets:
        return self.offsets.setdefault(name, Offsets(0))


class LogCourier:
    """Hands over what the log delivers, and settles in transactions."""

    remembers = True
    interval_s = 0.1

    def __init__(self, source: Log, stations: Iterable[str]) -> None:
        self.dropped: Counter[str] = Counter()
        self._log = source
        self._stations = list(stations)
        self._claims: dict[int, _Claim] = {}
        self._claiming: set[int] = set()
        self._assigned: frozenset[int] = frozenset()
        self._queue: asyncio.Queue[Incoming | BaseException | None] = asyncio.Queue()
        self._queued: Counter[str] = Counter()  # deliveries, by topic
        self._taken = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._start(self._pump())
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def incoming(self) -> AsyncIterator[Incoming]:
        """Yield grants, withdrawals and deliveries until the log is closed.

        Raises what ended a task of ours: a worker that reads no more has to end.
        """
        while (one := await self._queue.get()) is not None:
            self._taken.set()
            if isinstance(one, BaseException):
                raise one
            if isinstance(one, Delivery):
                self._queued[one.topic] -= 1
            yield one

    def holds(self, topic: str) -> bool:
        """Whether anything of a topic is queued here."""
        return self._queued[topic] > 0

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._queue.put_nowait(error)

    async def _pump(self) -> None:
        while (event := await self._log.next()) is not None:
            if isinstance(event, Assigned):
                self._reassign(event.numbers)
            else:
                self._deliver(event)
            while self._queue.qsize() > MOST_QUEUED:
                self._taken.clear()
                await self._taken.wait()
        self._queue.put_nowait(None)

    def _deliver(self, delivery: Delivery) -> None:
        claim = self._claims.get(delivery.partition or 0)
        if claim is None:
            return
        # state, which is read anew each time, has no offset to be settled
        if delivery.offset is None or claim.topic(delivery.topic).read(delivery.offset):
            self._queued[delivery.topic] += 1
            self._queue.put_nowait(replace(delivery, position=claim))

    def _reassign(self, numbers: frozenset[int]) -> None:
        self._assigned = numbers
        for number in self._claims.keys() - numbers:
            self._withdraw(number)
        for number in sorted(numbers - self._claims.keys()):
            self._claim_anew(number)

    def _withdraw(self, number: int) -> None:
        claim = self._claims.pop(number)
        self._log.end(number)
        self._queue.put_nowait(Withdrawn(stations=claim.stations))

    def _claim_anew(self, number: int) -> None:
        """Claim a number unless that is being done: two claims would fence each other."""
        if number not in self._claiming:
            self._claiming.add(number)
            self._start(self._claim(number))

    async def _claim(self, number: int) -> None:
        delay_s, most_s = BACK_OFF_S
        try:
            while number in self._assigned and number not in self._claims:
                try:
                    self._grant(number, await self._log.claim(number))
                except LogError as error:
                    log.warning("a partition cannot be claimed", number=number, reason=str(error))
                    await asyncio.sleep(delay_s)
                    delay_s = min(2 * delay_s, most_s)
        finally:
            self._claiming.discard(number)

    def _grant(self, number: int, found: Claimed) -> None:
        if number not in self._assigned or number in self._claims:
            return
        stations = [one for one in self._stations if self._log.number_of(one) == number]
        claim = _Claim(number=number, stations=stations, token=found.token)
        settled = unpacked(found.changelog[OFFSETS_KEY]) if OFFSETS_KEY in found.changelog else {}
        for topic, offset in found.committed.items():
            claim.offsets[topic] = Offsets(offset, settled.get(topic, ()))
        memories = {
            name: unpacked(found.changelog[name]) for name in stations if name in found.changelog
        }
        log.info("a partition is ours", number=number, serves=stations, remembers=list(memories))
        self._claims[number] = claim
        self._queue.put_nowait(Granted(stations=stations, memories=memories, grant=claim))
        self._log.begin(number, found.committed)

    async def settle(self, parcels: Sequence[Parcel]) -> None:
        """Commit one transaction for each partition number concerned."""
        by_claim: dict[_Claim, list[Parcel]] = {}
        for parcel in parcels:
            if (claim := self._claim_of(parcel)) is not None:
                by_claim.setdefault(claim, []).append(parcel)
        await asyncio.gather(*(self._commit(claim, held) for claim, held in by_claim.items()))

    def _claim_of(self, parcel: Parcel) -> _Claim | None:
        """The claim that a parcel belongs to, None where that is over."""
        claim = parcel.grant
        if claim is None and parcel.released:  # it belongs to no station of ours
            claim = parcel.released[0].position
        if isinstance(claim, _Claim) and self._claims.get(claim.number) is claim:
            return claim
        return None

    async def _commit(self, claim: _Claim, parcels: Sequence[Parcel]) -> None:
        if self._claims.get(claim.number) is not claim:
            return
        messages = [one for parcel in parcels for one in parcel.messages if self._passes(one)]
        memories = {one.station: one.memory for one in parcels if one.memory is not None}
        for parcel in parcels:
            for delivery in parcel.released:
                if delivery.offset is not None:
                    claim.topic(delivery.topic).settle(delivery.offset)
        offsets = {name: one.oldest_open for name, one in claim.offsets.items()}
        settled = {name: one.settled_beyond for name, one in claim.offsets.items()}
        kept = [self._log.changelog_message(name, packed(one)) for name, one in memories.items()]
        kept.append(self._log.changelog_message(OFFSETS_KEY, packed(settled)))
        try:
            await self._log.commit(claim.token, [*messages, *kept], offsets)
        except LogError as error:
            log.warning("a partition is claimed anew", number=claim.number, reason=str(error))
            if self._claims.get(claim.number) is claim:
                self._withdraw(claim.number)
                self._claim_anew(claim.number)

    def _passes(self, message: Message) -> bool:
        refusal = self._log.refusal_of(message)
        if refusal:
            self.dropped["unpublished"] += 1
            log.error("not published", topic=message.topic, error=refusal)
        return not refusal
