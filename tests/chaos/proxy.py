"""A way to a broker that can be cut: the bytes of every connection pass through here."""

import asyncio
import contextlib
from typing import Self


class Proxy:
    """Hands on what comes to ``port`` on localhost to ``target_port``, and back."""

    def __init__(self, port: int, target_port: int) -> None:
        self._port, self._target_port = port, target_port
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.break_off()

    async def hold(self) -> None:
        """Hand nothing on, as if every packet were lost; nobody is told."""
        self._open.clear()

    async def let_go(self) -> None:
        """Hand on again, what was held first."""
        self._open.set()

    async def break_off(self) -> None:
        """Reset every connection and refuse new ones."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._server = None
        self._open.set()

    async def mend(self) -> None:
        """Take connections again."""
        await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError):
            await self._open.wait()
            back, forth = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers.add(forth)
            await asyncio.gather(self._pass_on(reader, forth), self._pass_on(back, writer))
            self._writers.discard(forth)
        self._writers.discard(writer)
        writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side says that it will send no more, and then say so to the other."""
        try:
            while data := await reader.read(1 << 16):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            await self._open.wait()
            writer.close()
