"""What a worker says of itself: so that silence never looks like health."""

import os
import socket
from collections import Counter
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from stream.config import WorkerSettings
from stream.engine import Engine
from stream.station import Station
from stream.wire import rfc3339

VALID_FOR_INTERVALS = 3


def software_version() -> str:
    """The installed version of weldfusion."""
    try:
        return version("weldfusion")
    except PackageNotFoundError:
        return "unknown"


class WorkerStatus:
    """The worker's counters that belong to no station, and its monitoring documents."""

    def __init__(self, settings: WorkerSettings, engine: Engine) -> None:
        self._settings, self._engine = settings, engine
        self._software = software_version()
        self._instance = f"{settings.name}@{socket.gethostname()}:{os.getpid()}"
        self.unrouted: Counter[str] = Counter()
        self._elsewhere: list[Counter[str]] = [self.unrouted]

    def watch(self, *dropped: Counter[str]) -> None:
        """Also tell of what transport and publisher had to drop, by reason."""
        self._elsewhere += dropped

    def producer(self, station: str) -> dict[str, str]:
        """Who made an event."""
        return {
            "instance": self._instance,
            "software": self._software,
            "modelHash": self._engine.facts(station).hash,
        }

    def document(self, station: Station, state: str, now_ns: int) -> dict[str, Any]:
        """The monitoring document of one station."""
        facts = self._engine.facts(station.id)
        interval_ns = round(self._settings.status_interval_s * 1e9)
        newest_ns = station.aligner.newest_ns
        return {
            "state": state,
            "worker": self._instance,
            "software": self._software,
            "model": facts.name,
            "modelHash": facts.hash,
            "precision": facts.precision,
            "device": facts.device,
            "time": rfc3339(now_ns),
            "validUntil": rfc3339(now_ns + VALID_FOR_INTERVALS * interval_ns),
            "windows": station.tally.windows,
            "skipped": station.tally.skipped,
            "uncorrected": station.tally.uncorrected,
            "events": station.tally.events,
            "dropped": dict(sum(self._elsewhere, station.tally.refused)),
            "lagMs": (now_ns - newest_ns) / 1e6 if station.tally.windows else None,
            "activeAlarms": ["/".join(key) for key in station.alarms.active],
        }
