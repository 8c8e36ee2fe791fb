"""A worker that delivers exactly once beside the same one that delivers at least once, on Kafka.

Both take the same backlog, written beforehand, with one station and with twelve, each in a
partition of its own. They take turns, each pair in the other order, and their windows count once a
consumer has seen them that reads committed messages only.
"""

import asyncio
from collections.abc import Sequence
from statistics import median

from simulators.brokers.kafka import Kafka
from stream.topics import KAFKA_COMPACTED, KAFKA_LOGS, KafkaTopics
from stream.transports.broker import BrokerConfig
from stream.transports.kafka import KafkaTransport
from stream.transports.open import open_transport
from tests.benchmarks.delivery.pace import Pace, medians, pace, ratios
from tests.benchmarks.delivery.plant import configuration, fill, stations
from tests.benchmarks.delivery.workers import working

PARTITIONS = (1, 12)
WINDOWS = 4800
PAIRS = 6
EXACTLY, AT_LEAST = "exactly_once", "at_least_once"


def measure() -> dict[str, object]:
    """Windows a second, exactly once over at least once: medians and all pairs."""
    found = {f"partitions_{count}": asyncio.run(_compared(count)) for count in PARTITIONS}
    return {
        "exactly_once_over_at_least_once": {name: one["ratio"] for name, one in found.items()},
        "exactly_once": found,
    }


async def _compared(partitions: int) -> dict[str, object]:
    names = stations(partitions)
    with Kafka() as kafka:
        broker = BrokerConfig(url=kafka.url, partitions=partitions)
        async with KafkaTransport(broker) as admin:
            await admin.ensure_topics([*KAFKA_LOGS, *KAFKA_COMPACTED])
        await fill(broker, names, range(WINDOWS // partitions))
        paces: dict[str, list[Pace]] = {EXACTLY: [], AT_LEAST: []}
        await _run(broker, names, "first", plain=True)  # until the broker's code is compiled
        for pair in range(PAIRS):
            for which in (EXACTLY, AT_LEAST) if pair % 2 else (AT_LEAST, EXACTLY):
                group, plain = f"{which}-{pair}", which == AT_LEAST
                paces[which].append(await _run(broker, names, group, plain=plain))
    found = ratios(paces[EXACTLY], paces[AT_LEAST])
    by_guarantee = {which: medians(some) for which, some in paces.items()}
    return {"ratio": median(found), "ratios": found, **by_guarantee}


async def _run(broker: BrokerConfig, names: Sequence[str], group: str, *, plain: bool) -> Pace:
    settings = configuration(broker.model_copy(update={"group": group}), names)
    async with open_transport(broker) as mes:
        await mes.subscribe([KafkaTopics().latent("").topic])
        async with working(settings, plain=plain):
            return await pace(mes.deliveries(), WINDOWS)
