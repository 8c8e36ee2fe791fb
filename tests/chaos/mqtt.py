"""What happens to a worker beside Mosquitto."""

from pathlib import Path

from simulators.brokers.broker import free_port
from simulators.brokers.mosquitto import Mosquitto
from tests.chaos.scene import Scene

# Short of the time after which a stream counts as silent: a cut must not be taken for silence.
KEEPALIVE_S = 5
_SHIPPED = Path("docker/mosquitto.conf")
_LIMITS = ("max_", "autosave_interval", "persistent_client_expiration", "set_tcp_nodelay")


async def restarts(scene: Scene) -> None:
    """Mosquitto stops, writing its store, and comes back."""
    await scene.hire()
    for _ in range(4):
        await scene.blow_falls()
        await scene.restart_broker(scene.broker.stop, "restarts")


async def cuts(scene: Scene) -> None:
    """The way between the worker and Mosquitto loses everything, then breaks."""
    port = free_port()
    proxy = await scene.way(port, scene.broker.port)
    (worker,) = await scene.hire(url=f"mqtt://127.0.0.1:{port}", keepalive_s=KEEPALIVE_S)
    await scene.cut(proxy, worker)


async def broker_kills(scene: Scene) -> None:
    """Mosquitto is killed: what it had acknowledged since it last wrote its store is gone."""
    await scene.hire()
    for _ in range(3):
        await scene.blow_falls()
        await scene.restart_broker(scene.broker.kill, "broker_kills")


def shipped_limits() -> dict[str, str]:
    """The limits that the shipped configuration sets."""
    lines = [line.split() for line in _SHIPPED.read_text().splitlines()]
    return {line[0]: line[1] for line in lines if line and line[0].startswith(_LIMITS)}


class ShippedMosquitto(Mosquitto):
    """A Mosquitto with the limits of the shipped configuration."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options, settings=shipped_limits())  # type: ignore[arg-type]
