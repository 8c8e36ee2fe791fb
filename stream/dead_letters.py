"""``weldfusion dlq``: what was refused, read from a broker, and its originals sent again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from rich.text import Text

from stream.letters import Letter, obstacle, original_of, read_letter
from stream.messages import Malformed
from stream.topics import KafkaTopics, Topics, kafka_key
from stream.transports.broker import BrokerConfig
from stream.transports.kafka_positions import KafkaPositions
from stream.transports.transport import Delivery, Transport, TransportError
from stream.wire import rfc3339

ANY_STATION = "+/+/+/+/+"
END_POLL_S = 0.1
COMMIT_EVERY = 100
REMEMBERED = 65_536
GROUP = "weldfusion-dlq-replay"
PREVIEW_CHARACTERS = 40
DETAIL_CHARACTERS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which letters are meant; an empty filter means all."""

    reason: str = ""
    station: str = ""

    def takes(self, letter: Letter) -> bool:
        """Whether a letter passes both filters."""
        reason, station = self.reason or letter.reason, self.station or letter.station
        return (reason, station) == (letter.reason, letter.station)


async def letters(
    transport: Transport, topics: Topics, station: str, *, late: bool = False, follow: bool = False
) -> AsyncIterator[tuple[Delivery, Letter | Malformed]]:
    """Yield dead letters, and with ``late`` late readings; what is no letter as its error.

    A log is read up to where it ended at the start, and with ``follow`` for ever; on MQTT it is
    always for ever.
    """
    somewhere, kafka = station or ANY_STATION, isinstance(topics, KafkaTopics)
    names = [topics.dead_letter(somewhere).topic]
    names += [topics.late(somewhere).topic] if late else []
    await transport.subscribe(names)
    whole = kafka and not follow
    deliveries = _until_the_end(transport, names) if whole else transport.deliveries()
    async for delivery in deliveries:
        transport.acknowledge(delivery)
        try:
            yield delivery, read_letter(delivery, kafka=kafka)
        except Malformed as error:
            yield delivery, error


async def _until_the_end(transport: Transport, names: Sequence[str]) -> AsyncIterator[Delivery]:
    """What a log held when it was opened; what comes meanwhile is left out."""
    deliveries = aiter(transport.deliveries())
    while True:
        coming = asyncio.ensure_future(anext(deliveries))
        try:
            while not (await asyncio.wait({coming}, timeout=END_POLL_S))[0]:
                if all(map(transport.exhausted, names)):
                    return
        finally:
            if not coming.done():
                coming.cancel()
        if coming.result().retained:
            yield coming.result()


class Memory(Protocol):
    """What was sent again already."""

    async def knows(self, delivery: Delivery, letter: Letter) -> bool:
        """Whether the original of this letter was sent again."""
        ...

    async def note(self, delivery: Delivery, letter: Letter) -> None:
        """It was acknowledged just now."""
        ...

    async def keep(self) -> None:
        """Make what was noted last."""
        ...


class ThisRun:
    """Originals sent by this run, by their hash: one that is refused again is not sent again."""

    def __init__(self) -> None:
        self._sent: dict[tuple[str, str], None] = {}

    async def knows(self, delivery: Delivery, letter: Letter) -> bool:
        """Whether the same bytes went to the same topic."""
        return (letter.topic, letter.sha256) in self._sent

    async def note(self, delivery: Delivery, letter: Letter) -> None:
        """Remember it, within bounds."""
        self._sent[letter.topic, letter.sha256] = None
        if len(self._sent) > REMEMBERED:
            del self._sent[next(iter(self._sent))]

    async def keep(self) -> None:
        """Nothing outlasts the run."""


class EveryRun:
    """Offsets in the dead letters' topic, in a group of its own for each station and reason.

    So that filters can differ from run to run, and still nothing is sent twice or passed over.
    """

    def __init__(self, positions: KafkaPositions) -> None:
        self._positions, self._noted = positions, 0

    async def knows(self, delivery: Delivery, letter: Letter) -> bool:
        """Whether an earlier run has passed it."""
        partition, offset = _place(delivery)
        return offset < await self._positions.next_offset(_group(letter), partition)

    async def note(self, delivery: Delivery, letter: Letter) -> None:
        """Pass it."""
        self._positions.advance(_group(letter), *_place(delivery))
        self._noted += 1
        if self._noted % COMMIT_EVERY == 0:
            await self.keep()

    async def keep(self) -> None:
        """Commit."""
        await self._positions.commit()


def _group(letter: Letter) -> str:
    return ".".join(filter(None, (GROUP, kafka_key(letter.station), letter.reason)))


def _place(delivery: Delivery) -> tuple[int, int]:
    assert delivery.partition is not None
    assert delivery.offset is not None
    return delivery.partition, delivery.offset


class Resending:
    """Sends the originals of letters again; ``counts`` tells what became of the letters."""

    def __init__(self, wanted: Wanted, tell: Callable[[str], None], *, dry_run: bool) -> None:
        self._wanted, self._tell, self._dry_run = wanted, tell, dry_run
        self.counts: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()

    async def run(self, transport: Transport, broker: BrokerConfig, topics: Topics) -> None:
        """All letters of a log, or those that come; raises TransportError at the first refused."""
        async with AsyncExitStack() as stack:
            memory: Memory = ThisRun()
            if isinstance(topics, KafkaTopics):
                positions = KafkaPositions(broker, topics.dead_letter("").topic)
                memory = EveryRun(await stack.enter_async_context(positions))
            try:
                async for delivery, letter in letters(transport, topics, self._wanted.station):
                    self.counts[await self._take(transport, delivery, letter, memory)] += 1
            finally:
                await memory.keep()

    async def _take(
        self, transport: Transport, delivery: Delivery, letter: Letter | Malformed, memory: Memory
    ) -> str:
        """Send one original again; return what became of it."""
        if isinstance(letter, Malformed):
            self._tell(f"no letter: {visible(str(letter), DETAIL_CHARACTERS)}")
            return "no letters"
        if not self._wanted.takes(letter):
            return "left out by the filters"
        if why := obstacle(letter):
            self._tell(f"not sent: {letter.reason} {where(letter)}: {visible(why, 200)}")
            return "not to be sent"
        if await memory.knows(delivery, letter):
            return "sent before"
        if not self._dry_run:
            await _send(transport, letter)
            await memory.note(delivery, letter)
        self.reasons[letter.reason] += 1
        return "to be sent" if self._dry_run else "sent again"


async def _send(transport: Transport, letter: Letter) -> None:
    try:
        await transport.publish(original_of(letter))
    except TransportError as error:
        raise TransportError(
            f"{error}; {letter.reason} {where(letter)} and what follows was not sent, "
            "--reason and --station can leave it out"
        ) from error


def where(letter: Letter) -> str:
    """The station, the modality and the place that a letter's original came from."""
    place = letter.topic or "topic unknown"
    if letter.partition is not None:
        place += f"[{letter.partition}]@{letter.offset}"
    whose = "/".join(filter(None, (letter.station or "no station", letter.modality)))
    return visible(f"{whose} from {place}", 300)


def line(letter: Letter) -> Text:
    """One letter as a line for a terminal."""
    told = rfc3339(letter.time_ns).replace("T", " ")[:23]
    return Text.assemble(
        (told, "dim"),
        (f" {letter.reason:<18} ", "bold red" if letter.reason != "late" else "yellow"),
        f"{where(letter)}  {letter.size} bytes  ",
        (preview(letter), "cyan"),
        (f"  {visible(letter.detail, DETAIL_CHARACTERS)}", "dim"),
    )


def preview(letter: Letter) -> str:
    """How an original begins: as text where it is such, else in hexadecimal digits."""
    if letter.original is None:
        return f"sha256 {visible(letter.sha256, 64)}, not kept"
    head = letter.original[:PREVIEW_CHARACTERS]
    text = head.decode(errors="replace")
    if text.isprintable() and "\ufffd" not in text[:-1]:
        return visible(text, PREVIEW_CHARACTERS)
    return head[: PREVIEW_CHARACTERS // 2].hex(" ")


def visible(text: str, most: int) -> str:
    """Text of unknown origin, safe on a terminal: cut, and without control characters."""
    cut = text if len(text) <= most else f"{text[:most]}…"
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in cut)
