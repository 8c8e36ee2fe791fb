"""One story told twice: by a worker that nothing happens to, and by workers that are killed."""

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.engine import Engine
from stream.exactly_once import LogCourier
from stream.pipeline import Pipeline
from tests.simulation.cluster import Cluster, Member
from tests.simulation.loop import OWNER, Life, SimulatedLoop
from tests.simulation.playing import AFTERWARDS_S, SECONDS, STEPS, Counting, simulated
from tests.simulation.story import (
    SECOND,
    SMALL,
    START_NS,
    Hall,
    Plot,
    configuration,
    once,
    story,
)
from tests.simulation.told import Told, told

ZOMBIES = 0.2  # share of the workers that freeze once


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a story is played with."""

    seed: int
    crashing: bool
    seconds: float = SECONDS
    hall: Hall = SMALL
    plot: Plot = once
    courier: type[LogCourier] = LogCourier
    engine: type[Engine] = Counting


def play(seed: int, *, crashing: bool, **more: Any) -> Told:
    """Tell the story of this seed; see `Stage`."""
    stage = Stage(seed=seed, crashing=crashing, **more)
    return simulated(lambda loop: _played(loop, stage))


async def _played(loop: SimulatedLoop, stage: Stage) -> Told:
    random, crashing = np.random.default_rng([stage.seed, 2]), stage.crashing
    hall = stage.hall
    cluster = Cluster(random=random, numbers=hall.partitions, number_of=hall.number_of)
    cluster.trouble = float(random.choice([0.0, 0.02, 0.1])) if crashing else 0.0
    plant = loop.create_task(_send(cluster, stage))
    found = Told()
    keeping = [_keep(loop, cluster, random, at, stage, found) for at in range(2)]
    workers = [loop.create_task(one) for one in keeping]
    outage = loop.create_task(_outages(cluster, random)) if crashing else None
    await plant
    if outage is not None:
        await outage
    cluster.trouble, cluster.away, cluster.calm = 0.0, False, True
    cluster.grown.set()
    await asyncio.sleep(AFTERWARDS_S)
    for worker in workers:
        worker.cancel()
    return told(cluster.outputs, found)


async def _send(cluster: Cluster, stage: Stage) -> None:
    begin_s = asyncio.get_running_loop().time()
    for one in story(stage.seed, stage.seconds, hall=stage.hall, plot=stage.plot):
        await asyncio.sleep(max(begin_s + one.at_s - asyncio.get_running_loop().time(), 0))
        cluster.append(one.number, one.message)


async def _outages(cluster: Cluster, random: np.random.Generator) -> None:
    if random.random() < 0.3:
        await asyncio.sleep(random.uniform(0.5, 3.0))
        cluster.away = True
        await asyncio.sleep(random.uniform(0.1, 0.8))
        cluster.away = False
        cluster.grown.set()


async def _keep(
    loop: SimulatedLoop,
    cluster: Cluster,
    random: np.random.Generator,
    at: int,
    stage: Stage,
    found: Told,
) -> None:
    """Start a worker again and again, whenever it has been killed; now and then it only froze."""
    while True:
        crashing = stage.crashing and not cluster.calm
        steps = round(np.exp(random.uniform(np.log(20), np.log(STEPS)))) if crashing else None
        life, member = Life(steps), Member(cluster)
        cluster.members.append(member)
        cluster.rebalance()
        loop.create_task(_work(life, member, stage, f"worker-{at}"))
        if crashing and random.random() < ZOMBIES:
            await asyncio.sleep(random.uniform(0.2, 2.0))
            if not life.dead:
                found.zombies += 1
                await _freeze(loop, cluster, life, member, random)
        await life.ended.wait()
        found.crashes += 1
        cluster.members.remove(member)
        await asyncio.sleep(random.uniform(0.01, 0.3))
        cluster.rebalance()


async def _freeze(
    loop: SimulatedLoop,
    cluster: Cluster,
    life: Life,
    member: Member,
    random: np.random.Generator,
) -> None:
    """Stop a worker in the middle of something until the group has given it up, and a while on."""
    life.frozen = True
    cluster.members.remove(member)
    cluster.rebalance()
    await asyncio.sleep(random.uniform(0.1, 1.0))
    loop.thaw(life)
    await asyncio.sleep(random.uniform(0.0, 0.2))
    cluster.members.append(member)
    cluster.rebalance()


async def _work(life: Life, member: Member, stage: Stage, name: str) -> None:
    OWNER.set(life)
    await asyncio.create_task(_worker(member, stage, name))


async def _worker(member: Member, stage: Stage, name: str) -> None:
    loop = asyncio.get_running_loop()
    settings = configuration(name, cells=stage.hall.cells)
    courier = stage.courier(member, stage.hall.cells)
    engine = stage.engine(settings.stations, settings.model)
    async with courier:
        pipeline = Pipeline(
            settings,
            engine,
            member,  # type: ignore[arg-type]
            courier=courier,
            now_ns=lambda: START_NS + round(loop.time() * SECOND),
        )
        await pipeline.run(asyncio.Event())
