"""One story of chaos from its first message to the verdict on what was told."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias
from zlib import crc32

import numpy as np

from simulators.brokers.broker import EmbeddedBroker
from simulators.brokers.kafka import Kafka
from stream.engine import Engine
from stream.topics import topics_for
from tests.chaos import kafka, mqtt
from tests.chaos.mes import Mes, committed
from tests.chaos.plant import Plant, around
from tests.chaos.scene import KILLS, Plot, Scene, Stuck, kills
from tests.chaos.verdict import Verdict, on_kafka, on_mqtt
from tests.chaos.workers import Workers, employed
from tests.simulation.run import play
from tests.simulation.story import again_and_again, hall, story
from tests.simulation.told import FAULTS, LATENTS, Told

HALL = hall("one", "two", "three", "four", "five", partitions=4)  # two share a number
SECONDS = 60.0
IDLE_TIMEOUT_MS = 15_000  # longer than any outage in which the plant cannot send
QUIET_S = 35.0  # so long nothing new: nothing more will come
AFTERWARDS_S = 3.0  # for what may come twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What is played beside which broker, with so many blows. ``judged`` ones must tell all."""

    plot: Plot
    broker: type[EmbeddedBroker]
    blows: int
    judged: bool = True


STORIES = {
    "kafka/kills": Story(plot=kills, broker=Kafka, blows=KILLS),
    "kafka/zombies": Story(plot=kafka.zombies, broker=Kafka, blows=kafka.ZOMBIES),
    "kafka/restarts": Story(plot=kafka.restarts, broker=Kafka, blows=3),
    "kafka/rebalances": Story(plot=kafka.rebalances, broker=Kafka, blows=4),
    "kafka/cuts": Story(plot=kafka.cuts, broker=kafka.ProxiedKafka, blows=2),
    "kafka/refusals": Story(plot=kafka.refusals, broker=kafka.GuardedKafka, blows=2),
    "mqtt/kills": Story(plot=kills, broker=mqtt.ShippedMosquitto, blows=KILLS),
    "mqtt/restarts": Story(plot=mqtt.restarts, broker=mqtt.ShippedMosquitto, blows=4),
    "mqtt/cuts": Story(plot=mqtt.cuts, broker=mqtt.ShippedMosquitto, blows=2),
    "mqtt/broker-kills": Story(
        plot=mqtt.broker_kills, broker=mqtt.ShippedMosquitto, blows=3, judged=False
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a story ended: its figures, and every single thing that is wrong."""

    verdict: Verdict
    counts: dict[str, int]
    recoveries_s: list[float]
    stuck: str
    seconds: float


Show: TypeAlias = Callable[[str, Mes], None]


@lru_cache
def wanted_of(seed: int) -> Told:
    """What a worker tells that nothing happens to, on a simulated log."""
    return play(
        seed, crashing=False, seconds=SECONDS, engine=Engine, hall=HALL, plot=again_and_again
    )


async def played(name: str, seed: int, folder: Path, show: Show) -> Outcome:
    """Play a story in a new folder; ``show`` is told whatever happens."""
    begun_s, one, wanted = time.monotonic(), STORIES[name], wanted_of(seed)
    folder.mkdir()  # noqa: ASYNC240
    mes, workers = Mes(), Workers(folder, cells=HALL.cells, idle_timeout_ms=IDLE_TIMEOUT_MS)
    with (folder / "blows.log").open("w", buffering=1) as log:

        def note(what: str) -> None:
            log.write(f"{time.strftime('%H:%M:%S')} {what}\n")
            show(what, mes)

        async with running(one.broker(directory=folder / "broker")) as broker:
            async with (
                around(broker.url, mes, HALL) as plant_side,
                contextlib.AsyncExitStack() as ways,
                employed(workers),
            ):
                sent = story(seed, SECONDS, topics_for(broker.url), HALL, again_and_again)
                scene = Scene(
                    broker=broker,
                    random=np.random.default_rng([seed, crc32(name.encode())]),
                    plant=Plant(sent, plant_side),
                    mes=mes,
                    workers=workers,
                    ways=ways,
                    slice_s=SECONDS / (one.blows + 1),
                    show=note,
                )
                stuck = await _told_through(scene, one.plot, wanted)
                await asyncio.sleep(AFTERWARDS_S)
            verdict = await _verdict(broker, wanted, mes)
    scene.counts["self_ended"] = sum(len(worker.ends) for worker in workers.all)
    return Outcome(
        verdict=verdict,
        counts=dict(scene.counts),
        recoveries_s=scene.recoveries_s,
        stuck=stuck,
        seconds=time.monotonic() - begun_s,
    )


@contextlib.asynccontextmanager
async def running(broker: EmbeddedBroker) -> AsyncIterator[EmbeddedBroker]:
    """A broker that is started and stopped while everybody else goes on."""
    await asyncio.to_thread(broker.__enter__)
    try:
        yield broker
    finally:
        await asyncio.to_thread(broker.close)


async def _told_through(scene: Scene, plot: Plot, wanted: Told) -> str:
    """Play the plot while the plant sends, and wait until everything is told; what did not come."""
    try:
        await plot(scene)
        scene.show("calm")
        scene.plant.hurry_until(SECONDS + 1.0)
        assert scene.feeding is not None
        await scene.feeding
        await _everything(scene, wanted)
    except Stuck as error:
        scene.show(str(error))
        return str(error)
    finally:
        if scene.feeding is not None:
            scene.feeding.cancel()
    return ""


async def _everything(scene: Scene, wanted: Told) -> None:
    mes, known = scene.mes, -1
    while not mes.knows(wanted) and known != (known := len(mes.messages)):
        await mes.until(lambda: mes.knows(wanted), QUIET_S)
    if not mes.knows(wanted):
        raise Stuck(f"nothing new for {QUIET_S:.0f} s, and not everything told")
    scene.show("everything told")


async def _verdict(broker: EmbeddedBroker, wanted: Told, mes: Mes) -> Verdict:
    if broker.scheme == "mqtt":
        return on_mqtt(wanted, mes.messages)
    server = f"127.0.0.1:{broker.port}"
    return on_kafka(wanted, await committed(server, [LATENTS, FAULTS], HALL.partitions))
