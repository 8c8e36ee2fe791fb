"""One story told twice: by a worker that nothing happens to, and by workers that are killed."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from stream.engine import Engine
from stream.exactly_once import LogCourier
from stream.pipeline import Pipeline
from stream.proto.weldfusion_pb2 import FusedLatent
from stream.transports.transport import Message
from tests.simulation.cluster import Cluster, Member
from tests.simulation.loop import OWNER, Life, SimulatedLoop
from tests.simulation.playing import AFTERWARDS_S, SECONDS, STEPS, Counting, simulated
from tests.simulation.story import CELLS, NUMBER_OF, SECOND, START_NS, configuration, story

ZOMBIES = 0.2  # share of the workers that freeze once


@dataclass(slots=True)
class Told:
    """What subscribers have seen that read committed messages only."""

    windows: list[tuple[str, int, int]] = field(default_factory=list)
    bits: dict[tuple[str, int, int], bytes] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    crashes: int = 0
    zombies: int = 0


def told(outputs: Sequence[Message], found: Told) -> Told:
    """Sort what was published into ``found``."""
    for message in outputs:
        if message.topic == "weldfusion.latents.v1":
            latent = FusedLatent.FromString(message.payload)
            identity = (latent.station, latent.epoch, latent.anchor_time_ns)
            found.windows.append(identity)
            if latent.closed_by != "idle":
                found.bits[identity] = message.payload
        elif message.topic == "weldfusion.faults.v1":
            event = json.loads(message.payload)
            del event["data"]["producer"]
            found.events.append((event["source"], json.dumps(event, sort_keys=True)))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a story is played with."""

    seed: int
    crashing: bool
    seconds: float = SECONDS
    courier: type[LogCourier] = LogCourier
    engine: type[Engine] = Counting


def play(seed: int, *, crashing: bool, **more: Any) -> Told:
    """Tell the story of this seed; see `Stage`."""
    stage = Stage(seed=seed, crashing=crashing, **more)
    return simulated(lambda loop: _played(loop, stage))


async def _played(loop: SimulatedLoop, stage: Stage) -> Told:
    random, crashing = np.random.default_rng([stage.seed, 2]), stage.crashing
    cluster = Cluster(random=random, numbers=2, number_of=NUMBER_OF)
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
    for one in story(stage.seed, stage.seconds):
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
    settings = configuration(name)
    courier = stage.courier(member, CELLS)
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


def compared(wanted: Told, found: Told) -> dict[str, int]:
    """Count what the workers that were killed lost, told twice or told in another order."""
    windows, events = Counter(found.windows), Counter(found.events)
    differing = sum(found.bits.get(key, bits) != bits for key, bits in wanted.bits.items())
    return {
        "windows": len(wanted.windows),
        "events": len(wanted.events),
        "lost": len(set(wanted.windows) - windows.keys()) + len(set(wanted.events) - events.keys()),
        "duplicated": sum((windows - Counter(set(windows))).values())
        + sum((events - Counter(set(events))).values()),
        "strange": len(windows.keys() - set(wanted.windows))
        + len(events.keys() - set(wanted.events))
        + differing,
        "reordered": sum(_disorder(found, cell) for cell in CELLS),
    }


def _disorder(found: Told, cell: str) -> int:
    mine = [one for one in found.windows if one[0] == cell]
    return sum(later < earlier for earlier, later in pairwise(mine))
