"""Workers without a model that remember as much of a station as one with a model does.

They run in this process, or in one of their own: ``python -m tests.benchmarks.delivery.workers
CONFIG``, with ``plain`` behind it for one that delivers at least once on Kafka.
"""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Self

import structlog
import yaml

from stream.config import WorkerSettings
from stream.courier import PlainCourier
from stream.engine import Engine
from stream.gate import Verdict
from stream.logs import configure_logs
from stream.messages import Window
from stream.pipeline import Pipeline
from stream.transports.open import open_transport
from stream.transports.transport import Transport
from stream.worker import open_courier, open_worker_transport, read_worker

SHIPPED = ("weldfusion", "worker")
BESIDE = ("tests.benchmarks.delivery.workers",)
SESSION = {"memory": random.Random(0).randbytes(60_000)}  # what welding-single remembers
log = structlog.get_logger(__name__)


class Remembering(Engine):
    """Judges nothing, and remembers a session."""

    def infer(self, windows: Sequence[Window], correcting: bool = True) -> list[Verdict]:
        return [replace(one, session=SESSION) for one in super().infer(windows, correcting)]


@asynccontextmanager
async def working(settings: WorkerSettings, *, plain: bool = False) -> AsyncIterator[None]:
    """Run a worker's pipeline in this process; it drains when the block is left."""
    engine = Remembering(settings.stations, settings.model)
    transport = _open_plain(settings) if plain else open_worker_transport(settings)
    async with (
        transport,
        _plain_courier(settings, transport) if plain else open_courier(settings, transport) as way,
    ):
        stop = asyncio.Event()
        pipeline = Pipeline(settings, engine, transport, courier=way)
        running = asyncio.create_task(pipeline.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running


def _open_plain(settings: WorkerSettings) -> Transport:
    """The group's ordinary reader: what was acknowledged is committed every 100 ms."""
    return open_transport(settings.broker, persistent=True)


def _plain_courier(settings: WorkerSettings, transport: Transport) -> nullcontext[PlainCourier]:
    return nullcontext(PlainCourier(transport, [one.id for one in settings.stations]))


class WorkerProcess:
    """A worker in a process of its own that can be killed and started again."""

    def __init__(
        self, settings: WorkerSettings, folder: Path, module: Sequence[str], *more: str
    ) -> None:
        path = folder / f"{settings.name}.yaml"
        path.write_text(yaml.safe_dump(settings.model_dump(mode="json", exclude_unset=True)))
        self._command = (sys.executable, "-m", *module, str(path), *more)
        self._process: asyncio.subprocess.Process | None = None
        self._hearing: asyncio.Task[bytes] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.end(signal.SIGTERM)

    async def start(self) -> None:
        """Return once the worker says that it works."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1", "WELDFUSION_LOG": "info"},
        )
        assert self._process.stderr is not None
        said = []
        async for line in self._process.stderr:
            said.append(line.decode())
            if '"working"' in said[-1]:
                self._hearing = asyncio.create_task(self._process.stderr.read())
                return
        raise RuntimeError(f"a worker ended: {''.join(said)}")

    async def end(self, how: signal.Signals) -> None:
        """Return once the worker is gone."""
        assert self._process is not None
        assert self._hearing is not None
        self._process.send_signal(how)
        await self._process.wait()
        await self._hearing


async def main(path: Path, plain: bool) -> None:
    """One worker until SIGTERM."""
    configure_logs()
    settings = read_worker(path)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with working(settings, plain=plain):
        log.info("working")
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), "plain" in sys.argv[2:]))
