"""How fast windows are told, and what that costs the processors."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from statistics import median

import psutil

from stream.transports.transport import Delivery

MEASURED = (0.2, 0.9)  # shares of a backlog: at both ends as many windows are under way
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Windows a second, and the processors' time for each: this process's and the broker's."""

    windows_per_s: float
    worker_cpu_ms: float
    broker_cpu_ms: float


async def pace(latents: AsyncIterator[Delivery], windows: int) -> Pace:
    """Watch the latents of a backlog of so many windows. Raises TimeoutError where they stop."""
    first, last = (round(share * windows) for share in MEASURED)
    seen, begun, begun_s = 0, (0.0, 0.0), 0.0
    async with asyncio.timeout(LIMIT_S):
        async for _ in latents:
            seen += 1
            if seen == first:
                begun_s, begun = time.perf_counter(), _computed_s()
            if seen == last:
                break
    elapsed_s, ended = time.perf_counter() - begun_s, _computed_s()
    worker_ms, broker_ms = (
        (end - begin) / (last - first) * 1000 for begin, end in zip(begun, ended, strict=True)
    )
    pace_hz = (last - first) / elapsed_s
    return Pace(windows_per_s=pace_hz, worker_cpu_ms=worker_ms, broker_cpu_ms=broker_ms)


def medians(paces: Sequence[Pace]) -> dict[str, float]:
    """By name, for a table."""
    return {
        "windows_per_s": round(median(one.windows_per_s for one in paces), 1),
        "worker_cpu_ms_per_window": round(median(one.worker_cpu_ms for one in paces), 3),
        "broker_cpu_ms_per_window": round(median(one.broker_cpu_ms for one in paces), 3),
    }


def ratios(paces: Sequence[Pace], others: Sequence[Pace]) -> list[float]:
    """Of windows a second, one of each pair over the other, in order."""
    pairs = zip(paces, others, strict=True)
    return sorted(round(one.windows_per_s / other.windows_per_s, 3) for one, other in pairs)


def _computed_s() -> tuple[float, float]:
    """What this process and its children, of which the broker is the only one, have computed."""
    here = psutil.Process()
    own, *children = [one.cpu_times() for one in (here, *here.children())]
    return own.user + own.system, sum(one.user + one.system for one in children)
