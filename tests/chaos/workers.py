"""Workers as processes beside a real broker: frozen, killed and started again."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import yaml

from tests.simulation.story import SMALL, configuration

RESTART_S = 1.0  # after which one that ended by itself is started again, as a container is


class Worker:
    """One worker process. ``ends`` are the codes with which it has ended by itself."""

    def __init__(self, config: Path) -> None:
        self.ends: list[int] = []
        self._config = config
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """Its process, 0 where it does not run."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Start it, and again whenever it ends by itself."""
        await self._spawn()
        self._keeping = asyncio.create_task(self._keep())

    async def _spawn(self) -> None:
        with self._config.with_suffix(".log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "weldfusion", "worker", str(self._config)),
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    async def _keep(self) -> None:
        while self._process is not None:
            self.ends.append(await self._process.wait())
            await asyncio.sleep(RESTART_S)
            await self._spawn()

    def send(self, how: signal.Signals) -> None:
        """Send it a signal: SIGSTOP freezes it, SIGCONT lets it go on where it stood."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(how)

    async def end(self, how: signal.Signals) -> None:
        """End it with a signal, and return once it has."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._process is not None:
            self.send(how)
            self.send(signal.SIGCONT)
            await self._process.wait()
        self._process = self._keeping = None


class Workers:
    """The workers of one plant, and a folder for their configurations, logs and journals."""

    def __init__(
        self, folder: Path, *, cells: Sequence[str] = SMALL.cells, idle_timeout_ms: float
    ) -> None:
        self.all: list[Worker] = []
        self._folder = folder
        self._numbers = itertools.count(1)
        settings = configuration("worker", idle_timeout_ms, cells)
        self._settings = settings.model_dump(mode="json", exclude_unset=True)
        self._settings |= {"state_dir": str(folder), "status_interval_s": 1}

    async def start(self, url: str, **broker: object) -> Worker:
        """Start one more beside the broker at ``url``; those of one Kafka share the work."""
        name = f"worker-{next(self._numbers)}"
        config = self._folder / f"{name}.yaml"
        shared = {"url": url, "group": "chaos", **broker}
        settings = {**self._settings, "name": name, "broker": shared}
        config.write_text(yaml.safe_dump(settings, sort_keys=False))
        worker = Worker(config)
        self.all.append(worker)
        await worker.start()
        return worker


@contextlib.asynccontextmanager
async def employed(workers: Workers) -> AsyncIterator[Workers]:
    """Whoever still works at the end is told to stop."""
    try:
        yield workers
    finally:
        await asyncio.gather(*(one.end(signal.SIGTERM) for one in workers.all))
