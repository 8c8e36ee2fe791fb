"""Eclipse Mosquitto: the one on PATH, else Debian's packages unpacked into the cache."""

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from simulators import debian
from simulators.brokers.broker import BrokerError, EmbeddedBroker

_PACKAGES = ("mosquitto", "libmosquitto1", "libcjson1", "libdlt2", "libwrap0")


class Mosquitto(EmbeddedBroker):
    """An anonymous Mosquitto on localhost with its default limits; MQTT 3.1.1 and 5.

    Its store is written when it stops, so that ``restart`` keeps sessions and retained messages;
    ``kill`` loses what came since.
    """

    name = "mosquitto"
    scheme = "mqtt"

    def __init__(
        self,
        *,
        directory: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Take additional lines for its configuration, such as ``max_queued_messages``."""
        super().__init__(directory=directory, port=port)
        self._settings = dict(settings or {})

    def _prepare(self) -> tuple[Sequence[str], Mapping[str, str]]:
        program, environment = _program()
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(_configuration(self.port, f"{self.directory}/", self._settings))
        return [program, "-c", str(configuration)], environment


def _configuration(port: int, directory: str, settings: Mapping[str, str]) -> str:
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence true",
        f"persistence_location {directory}",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
        *(f"{name} {value}" for name, value in settings.items()),
    ]
    if os.geteuid() == 0:
        # Started by root it would become a user who may not write into this directory.
        lines.append("user root")
    return "\n".join(lines) + "\n"


def _program() -> tuple[str, Mapping[str, str]]:
    # Debian installs it where only root's PATH looks.
    if found := shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin"):
        return found, {}
    try:
        tree = debian.fetch(_PACKAGES)
    except debian.DebianError as error:
        raise BrokerError(f"Mosquitto is not here: {error}") from error
    return str(tree / "usr/sbin/mosquitto"), {"LD_LIBRARY_PATH": debian.library_path(tree)}
