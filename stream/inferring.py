"""Windows to verdicts: batches of what many stations have closed, one after another."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from stream.batcher import Batch, Batcher
from stream.config import ModelSettings
from stream.engine import Engine
from stream.gate import Verdict
from stream.messages import Window

MS = 1_000_000
BACKLOG_WINDOWS = 128  # closed and not yet judged; beyond it nothing more is taken in

Tell: TypeAlias = Callable[[Verdict], Awaitable[None]]


class Inferring:
    """Runs the engine on a thread of its own, so that heartbeats never wait for it."""

    def __init__(self, engine: Engine, settings: ModelSettings, now_ns: Callable[[], int]) -> None:
        self._engine, self._settings, self._now_ns = engine, settings, now_ns
        waits_ns = round(settings.max_wait_ms * MS)
        self._batcher = Batcher(engine.group, settings.max_batch, waits_ns)
        self._ready: list[Batch] = []
        self._in_flight = 0
        self._work, self._room = asyncio.Event(), asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    def add(self, windows: Sequence[Window]) -> None:
        """Take closed windows, in their order."""
        for window in windows:
            self._ready += self._batcher.add(window, self._now_ns())
        if windows:
            self._work.set()

    @property
    def unjudged(self) -> int:
        """How many windows are closed and have no verdict yet."""
        ready = sum(len(batch.windows) for batch in self._ready)
        return len(self._batcher) + ready + self._in_flight

    async def room(self) -> None:
        """Wait while the backlog is too long for more to be taken in."""
        await self._until(BACKLOG_WINDOWS)

    async def drop(self, stations: Collection[str]) -> None:
        """Forget the windows of these stations; returns once none of them is being judged."""
        self._batcher.drop(stations)
        kept = [batch.without(stations) for batch in self._ready]
        self._ready = [batch for batch in kept if batch.windows]
        while self._in_flight:
            self._room.clear()
            await self._room.wait()

    async def drained(self) -> None:
        """Wait until everything taken in is judged."""
        await self._until(0)

    async def _until(self, most: int) -> None:
        while self.unjudged > most:
            self._room.clear()
            await self._room.wait()

    async def run(self, tell: Tell) -> None:
        """Judge for ever; ``tell`` is awaited for every verdict in turn."""
        loop = asyncio.get_running_loop()
        while True:
            batch, overtaken = self._newest(await self._next_batch())
            self._in_flight = len(overtaken) + len(batch.windows)
            for window in overtaken:
                await tell(Verdict(window=window, skipped=True))
            judge = partial(self._engine.infer, batch.windows, self._may_correct(batch))
            for verdict in await loop.run_in_executor(self._thread, judge):
                await tell(verdict)
            self._in_flight = 0
            self._room.set()

    def _newest(self, batch: Batch) -> tuple[Batch, list[Window]]:
        """What to judge now, and what is skipped because more than a batch has come since."""
        overtaken: list[Window] = []
        if self._settings.overload == "freshest":
            for newer in [one for one in self._ready if one.group == batch.group]:
                self._ready.remove(newer)
                overtaken += batch.windows
                batch = newer
        return batch, overtaken

    def _may_correct(self, batch: Batch) -> bool:
        limit_ms = self._settings.correct_within_ms
        return limit_ms is None or self._now_ns() - batch.since_ns <= limit_ms * MS

    async def _next_batch(self) -> Batch:
        while not self._ready:
            self._ready += self._batcher.expire(self._now_ns())
            if self._ready:
                break
            self._work.clear()
            deadline_ns = self._batcher.deadline_ns
            wait_s = None if deadline_ns is None else max(deadline_ns - self._now_ns(), 0) / 1e9
            # not wait_for, which in Python 3.11 forgets to be cancelled now and then
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._work.wait()
        return self._ready.pop(0)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()
