"""How soon a consumer that reads committed messages only sees what happened, in real time."""

import asyncio
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from simulators.brokers.kafka import Kafka
from stream.proto.weldfusion_pb2 import FusedLatent
from stream.topics import KafkaTopics
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Delivery
from stream.wire import parse_rfc3339
from tests.benchmarks.delivery.plant import Captured, configuration, playing, stations
from tests.benchmarks.delivery.workers import BESIDE, WorkerProcess

WARM_UP_S, SECONDS = 2.0, 8.0
REPEAT_EVERY = 10  # pictures; one that repeats raises an alarm, the next one clears it
TURNS = (False, True, True, False)
LATENTS, FAULTS = KafkaTopics().latent("").topic, KafkaTopics().fault("", "", "").topic


def measure() -> dict[str, object]:
    """Milliseconds from the capture of what closed a window to its event and its latent."""
    found: dict[bool, dict[str, list[float]]] = {
        plain: {LATENTS: [], FAULTS: []} for plain in (False, True)
    }
    with Kafka() as kafka, tempfile.TemporaryDirectory() as folder:
        for plain in TURNS:
            for topic, latencies in asyncio.run(_run(kafka.url, Path(folder), plain)).items():
                found[plain][topic] += latencies
    return {
        f"{name}_latency_ms_read_committed": {
            "exactly_once": _percentiles(found[False][topic]),
            "at_least_once": _percentiles(found[True][topic]),
        }
        for name, topic in (("event", FAULTS), ("latent", LATENTS))
    }


def _percentiles(latencies_ms: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(latencies_ms, [50, 99])
    return {"p50": round(p50, 1), "p99": round(p99, 1), "count": len(latencies_ms)}


async def _run(url: str, folder: Path, plain: bool) -> dict[str, list[float]]:
    """By topic, of the windows after the warm-up."""
    broker, (station,) = BrokerConfig(url=url), stations(1)
    group = broker.model_copy(update={"group": f"latency-{plain}"})
    settings = configuration(group, [station], camera={"frozen_after_ms": 1})
    found: dict[str, list[float]] = {LATENTS: [], FAULTS: []}
    captured = Captured()
    async with (
        open_transport(broker) as mes,
        WorkerProcess(settings, folder, BESIDE, *(["plain"] if plain else [])),
        playing(broker, station, captured, repeat_every=REPEAT_EVERY),
    ):
        await mes.subscribe([LATENTS, FAULTS])
        from_ns = 0
        async for one in mes.deliveries():
            anchor_ns = _anchor_ns(one)
            if anchor_ns < captured.begun_ns:
                continue  # of an earlier run
            from_ns = from_ns or one.received_ns + round(WARM_UP_S * 1e9)
            if anchor_ns >= from_ns + round(SECONDS * 1e9):
                break
            if anchor_ns >= from_ns:
                latency_ns = one.received_ns - captured.closing_ns(anchor_ns)
                found[one.topic].append(latency_ns / 1e6)
    return found


def _anchor_ns(one: Delivery) -> int:
    """When the frame was captured of the window that a message is about."""
    if one.topic == LATENTS:
        return FusedLatent.FromString(one.payload).anchor_time_ns
    return parse_rfc3339(json.loads(one.payload)["time"])
