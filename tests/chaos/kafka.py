"""What happens to workers beside Apache Kafka."""

import asyncio
import signal
import time

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest, DeleteAclsRequest

from simulators.brokers.broker import free_port
from simulators.brokers.kafka import Kafka
from tests.chaos.scene import AFTERGLOW_S, Scene, Stuck
from tests.simulation.told import LATENTS

ZOMBIES, REFUSED_S = 8, 15.0
_TOPIC, _LITERAL, _ANYONE = 2, 3, ("User:ANONYMOUS", "*")  # as Kafka's protocol numbers them
_ALL, _WRITE, _DENY, _ALLOW = 2, 4, 2, 3


async def zombies(scene: Scene) -> None:
    """Of two workers one freezes until the group has given it up, and goes on where it stood."""
    workers = await scene.hire(2)
    for at in range(ZOMBIES):
        await scene.blow_falls()
        await scene.freeze(workers[at % 2])


async def restarts(scene: Scene) -> None:
    """The broker stops and comes back, is killed and comes back."""
    await scene.hire(2)
    for end in (scene.broker.stop, scene.broker.kill, scene.broker.stop):
        await scene.blow_falls()
        await scene.restart_broker(end, "restarts")


async def rebalances(scene: Scene) -> None:
    """One worker, four, two, four, and two again, of whom two were killed."""
    workers = await scene.hire()
    for how in (signal.SIGTERM, signal.SIGKILL):
        await scene.blow_falls()
        workers += await scene.hire(4 - len(workers))
        await scene.blow_falls()
        workers, leaving = workers[:2], workers[2:]
        for _ in leaving:
            scene.count("kills" if how == signal.SIGKILL else "departures")
        orphans = [one for worker in leaving for one in scene.stations_of(worker)]
        await asyncio.gather(*(worker.end(how) for worker in leaving))
        await scene.told_since(time.monotonic(), orphans)


async def cuts(scene: Scene) -> None:
    """The way between one of two workers and the broker loses everything, then breaks."""
    broker = scene.broker
    assert isinstance(broker, ProxiedKafka)
    proxy = await scene.way(broker.proxy_port, broker.behind_proxy)
    await scene.hire()
    (behind,) = await scene.hire(url=f"kafka://127.0.0.1:{broker.proxy_port}")
    await scene.cut(proxy, behind)


async def refusals(scene: Scene) -> None:
    """For a while nobody may write latents, which two workers commit with everything else."""
    await scene.hire(2)
    admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{scene.broker.port}")
    await admin.start()
    rule = (_TOPIC, LATENTS, _LITERAL, *_ANYONE)
    # else the first rule of a topic would forbid everything that it does not name
    await admin._send_to_controller(CreateAclsRequest(*rule, _ALL, _ALLOW))
    for _ in range(2):
        await scene.blow_falls()
        scene.count("refusals")
        await admin._send_to_controller(CreateAclsRequest(*rule, _WRITE, _DENY))
        await asyncio.sleep(AFTERGLOW_S)
        told = len(scene.mes.windows)
        await asyncio.sleep(REFUSED_S)
        if len(scene.mes.windows) > told:
            raise Stuck("latents were told although nobody may write them")
        await admin._send_to_controller(DeleteAclsRequest(*rule, _WRITE, _DENY))
        await scene.told_since(time.monotonic())
    await admin.close()


class ProxiedKafka(Kafka):
    """A Kafka with a second listener, which tells its clients to come through a proxy."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self.proxy_port, self.behind_proxy = free_port(), free_port()
        plain, controller = f"PLAINTEXT://127.0.0.1:{self.port}", self._controller_port
        behind = f"PROXIED://127.0.0.1:{self.behind_proxy}"
        kinds = ("PLAINTEXT", "PROXIED", "CONTROLLER")
        self._settings |= {
            "listeners": f"{plain},{behind},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"{plain},PROXIED://127.0.0.1:{self.proxy_port}",
            "listener.security.protocol.map": ",".join(f"{one}:PLAINTEXT" for one in kinds),
            "inter.broker.listener.name": "PLAINTEXT",
        }


class GuardedKafka(Kafka):
    """A Kafka that keeps access lists; what they do not name is anybody's."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]
        self._settings |= {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
        }
