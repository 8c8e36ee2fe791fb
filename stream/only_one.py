"""One worker of a name on a machine: the broker knows it again after a crash by that name."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stream.config import ConfigError


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold a file as long as the process lives. Raises ConfigError where another one does."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = path.open("ab")
    except OSError as error:
        raise ConfigError("state_dir", [f"{path} cannot be written: {error.strerror}"]) from error
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "a worker of this name runs on this machine; give each its own: --set name=…"
            raise ConfigError("name", [hint]) from None
        yield
