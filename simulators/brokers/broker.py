"""What every embedded broker offers, and the server process behind it."""

import os
import random
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

# Below the range from which clients get their own ports (from 32768 on Linux): a client that
# retries a port of that range can be given the very same one and connect to itself.
_PORTS = range(20_000, 32_000)
_POLL_S = 0.02
_LOG_TAIL_LINES = 3


class BrokerError(Exception):
    """A broker that cannot be had or does not run: says why, and where its log lies."""


def free_port() -> int:
    """Give a localhost port on which nothing listens at present."""
    for port in random.SystemRandom().sample(_PORTS, k=200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BrokerError("no free port between 20000 and 32000 on 127.0.0.1")


class EmbeddedBroker(ABC):
    """One broker process on localhost: a context manager, started on entering.

    ``directory`` holds its configuration, data and log; without one a temporary directory is
    taken and removed at the end.
    """

    name: str
    scheme: str
    start_limit_s: float = 30.0
    stop_limit_s: float = 10.0

    def __init__(self, *, directory: Path | None = None, port: int | None = None) -> None:
        self._own = None if directory else tempfile.TemporaryDirectory(prefix="weldfusion-")
        self.directory = directory or Path(self._own.name if self._own else "")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the broker says about itself."""
        return self.directory / f"{self.name}.log"

    @abstractmethod
    def _prepare(self) -> tuple[Sequence[str], Mapping[str, str]]:
        """Write what the broker needs; give its command and its additional environment."""

    def _ready(self) -> bool:
        """Whether it serves clients by now."""
        return answers(self.port)

    def start(self) -> None:
        """Return once clients are served. Raises BrokerError where that does not happen."""
        command, environment = self._prepare()
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            self._process = _spawn(command, environment, log, self.directory)
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end, saving its data, and wait; kill it where it takes too long."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self.stop_limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop it where it runs and start it on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it and remove the temporary directory."""
        self.stop()
        if self._own is not None:
            self._own.cleanup()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            # A failed start keeps the log that its message names.
            if self._own is not None:
                self._own._finalizer.detach()  # type: ignore[attr-defined]
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + self.start_limit_s
        while not self._ready():
            if process.poll() is not None:
                raise BrokerError(f"{self.name} ended with {process.returncode}: {self._trace()}")
            if time.monotonic() > until:
                raise BrokerError(
                    f"{self.name} does not answer after {self.start_limit_s:.0f} s: {self._trace()}"
                )
            time.sleep(_POLL_S)

    def _said(self) -> str:
        """What it logged since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _trace(self) -> str:
        tail = self._said().splitlines()[-_LOG_TAIL_LINES:]
        return f"{' / '.join(line.strip() for line in tail) or 'it said nothing'} (log: {self.log})"


def answers(port: int) -> bool:
    """Whether something on localhost accepts connections on ``port``."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _spawn(
    command: Sequence[str], environment: Mapping[str, str], log: IO[bytes], directory: Path
) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl+C in the terminal must reach the demo, not its broker.
    return subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
