"""Everything that a story of chaos is played with, and the blows that it can deal."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from simulators.brokers.broker import EmbeddedBroker
from tests.chaos.mes import Mes
from tests.chaos.plant import Plant
from tests.chaos.proxy import Proxy
from tests.chaos.workers import Worker, Workers

# What a worker told that is gone is heard within this; none starts within it.
AFTERGLOW_S = 0.5
PATIENCE_S = 90.0
KILLS, CUT_S = 20, 30.0


class Stuck(Exception):
    """Something that had to come did not: says what."""


@dataclass(slots=True, kw_only=True)
class Scene:
    """One story on one broker; between two blows lie ``slice_s`` seconds of it."""

    broker: EmbeddedBroker
    random: np.random.Generator
    plant: Plant
    mes: Mes
    workers: Workers
    ways: AsyncExitStack  # what has to stand until the last worker has gone
    slice_s: float
    show: Callable[[str], None]
    counts: Counter[str] = field(default_factory=Counter)
    recoveries_s: list[float] = field(default_factory=list)
    feeding: asyncio.Task[None] | None = None
    _gate_s: float = 0.0

    async def hire(self, many: int = 1, url: str = "", **broker: Any) -> list[Worker]:
        """Start workers; returns once every one of them serves."""
        self.show(f"{many} more at work")
        begun = [await self.workers.start(url or self.broker.url, **broker) for _ in range(many)]
        await self.until(lambda: all(map(self.serves, begun)), "all new workers at work")
        return begun

    def serves(self, worker: Worker) -> bool:
        """Whether any station is its own, as it says itself."""
        return worker.pid in self.mes.serving.values()

    def stations_of(self, worker: Worker) -> list[str]:
        """Which stations it says are its own."""
        return [station for station, pid in self.mes.serving.items() if pid == worker.pid]

    async def until(self, reached: Callable[[], object], what: str) -> None:
        """Wait for what must come. Raises Stuck."""
        if not await self.mes.until(reached, PATIENCE_S):
            raise Stuck(f"not seen within {PATIENCE_S:.0f} s: {what}")

    async def told_since(self, since_s: float, stations: Iterable[str] = ()) -> None:
        """Wait for the first new window of these stations, of any where none is named."""
        known, after_s = self.mes.last_heard_s, since_s + AFTERGLOW_S
        names = set(stations)
        await self.until(
            lambda: any(known.get(one, 0.0) > after_s for one in names or known),
            f"a window of {', '.join(sorted(names)) or 'any station'}",
        )

    async def blow_falls(self) -> None:
        """The plant begins or goes on with its story; return at a moment that nobody chose."""
        self._gate_s += self.slice_s
        self.plant.hurry_until(self._gate_s)
        if self.feeding is None:  # by now somebody listens
            self.feeding = asyncio.create_task(self.plant.feed())
        await asyncio.sleep(self.random.uniform(0.05, min(1.5, self.slice_s)))

    def count(self, blow: str) -> None:
        """One more blow of this kind."""
        self.counts[blow] += 1
        self.show(f"{blow}: {self.counts[blow]}")

    async def kill(self, worker: Worker) -> None:
        """SIGKILL; start it again, and wait for the first window told afterwards."""
        self.count("kills")
        await worker.end(signal.SIGKILL)
        killed_s = time.monotonic()
        await worker.start()
        await self.told_since(killed_s)
        self.recoveries_s.append(time.monotonic() - killed_s)

    async def freeze(self, worker: Worker) -> None:
        """SIGSTOP until another one tells its windows, and on for a moment; then SIGCONT."""
        await self.until(lambda: self.serves(worker), "a worker at work that may freeze")
        stations, frozen_s = self.stations_of(worker), time.monotonic()
        self.count("zombies")
        worker.send(signal.SIGSTOP)
        try:
            await self.told_since(frozen_s, stations)
            await asyncio.sleep(self.random.uniform(0.0, 1.0))
        finally:
            worker.send(signal.SIGCONT)

    async def restart_broker(self, end: Callable[[], None], kind: str) -> None:
        """End the broker, leave it away for a while, and wait for windows afterwards."""
        self.count(kind)
        await asyncio.to_thread(end)
        await asyncio.sleep(self.random.uniform(0.5, 4.0))
        await asyncio.to_thread(self.broker.start)
        await self.told_since(time.monotonic())

    async def way(self, port: int, target_port: int) -> Proxy:
        """A way to the broker that can be cut."""
        return await self.ways.enter_async_context(Proxy(port, target_port))

    async def cut(self, proxy: Proxy, worker: Worker) -> None:
        """Whatever is sent is lost for a while, and arrives late; then the way breaks as well."""
        for close, mend in ((proxy.hold, proxy.let_go), (proxy.break_off, proxy.mend)):
            await self.blow_falls()
            self.count("cuts")
            await close()
            await asyncio.sleep(CUT_S)
            await mend()
            await self.told_since(time.monotonic())
            await self.until(lambda: self.serves(worker), "the one cut off, at work again")


Plot: TypeAlias = Callable[[Scene], Awaitable[None]]


async def kills(scene: Scene) -> None:
    """A worker is killed again and again in the middle of its work."""
    (worker,) = await scene.hire()
    for _ in range(KILLS):
        await scene.blow_falls()
        await scene.kill(worker)
