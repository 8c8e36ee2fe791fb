"""The shipped broker configurations, in real brokers."""

import asyncio
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import yaml

from simulators.brokers import kafka as embedded_kafka
from simulators.brokers.broker import EmbeddedBroker, free_port
from simulators.brokers.kafka import Kafka
from simulators.brokers.mosquitto import _program
from stream.topics import MqttTopics
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Message, Transport, TransportError

DOCKER = Path(__file__).parents[1] / "docker"
SECRETS = yaml.safe_load((DOCKER / "compose.yaml").read_text())["secrets"]
STATION = "weldfusion/demo/hall/line/cell"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compose") / "secrets"
    environment = {**os.environ, "WELDFUSION_SECRETS": str(folder)}
    subprocess.run([str(DOCKER / "make-secrets.sh")], env=environment, check=True)
    return folder


def test_the_script_makes_every_secret_and_overwrites_none(secrets: Path) -> None:
    wanted = {Path(one["file"]).name for one in SECRETS.values()}
    assert wanted <= {path.name for path in secrets.iterdir()}
    assert secrets.stat().st_mode & 0o077 == 0
    environment = {**os.environ, "WELDFUSION_SECRETS": str(secrets)}
    again = subprocess.run([str(DOCKER / "make-secrets.sh")], env=environment, check=False)
    assert again.returncode != 0


class ShippedMosquitto(EmbeddedBroker):
    """Mosquitto with the shipped configuration; paths and port are those of this machine."""

    name = "mosquitto"
    scheme = "mqtts"

    def __init__(self, secrets: Path) -> None:
        super().__init__()
        self._secrets = secrets

    def _prepare(self) -> tuple[Sequence[str], Mapping[str, str]]:
        text = (DOCKER / "mosquitto.conf").read_text().replace("8883", str(self.port))
        text = text.replace("/mosquitto/config/", f"{DOCKER}/")
        text = text.replace("/mosquitto/data/", f"{self.directory}/")
        for name, secret in SECRETS.items():
            file = self._secrets / Path(secret["file"]).name
            text = re.sub(rf"/run/secrets/{name}$", str(file), text, flags=re.M)
        assert "/run/secrets" not in text
        if os.geteuid() == 0:
            text += "user root\n"
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(text)
        program, environment = _program()
        return [program, "-c", str(configuration)], environment

    def client(self, user: str) -> Transport:
        password = self._secrets / f"{user}.password"
        return open_transport(
            BrokerConfig(
                url=f"mqtts://localhost:{self.port}",
                ca_file=self._secrets / "ca.crt",
                username=user,
                password_file=password if password.exists() else None,
            )
        )


@pytest.fixture(scope="module")
def broker(secrets: Path) -> Iterator[ShippedMosquitto]:
    with ShippedMosquitto(secrets) as running:
        yield running


async def first(transport: Transport, accept: Callable[[str], bool]) -> str:
    async with asyncio.timeout(10):
        async for delivery in transport.deliveries():
            if accept(delivery.topic):
                return delivery.topic
    raise AssertionError("the connection was closed")


@pytest.mark.real_broker
async def test_mosquitto_serves_each_user_with_what_the_access_list_grants(
    broker: ShippedMosquitto,
) -> None:
    topics = MqttTopics()
    fault = topics.fault(STATION, "camera", "signal").topic
    truth, image = topics.truth(STATION).topic, topics.data(STATION, "image", "camera").topic
    users = ("worker", "station", "mes", "simulator")
    async with AsyncExitStack() as stack:
        worker, station, mes, simulator = [
            await stack.enter_async_context(broker.client(user)) for user in users
        ]
        await mes.subscribe([fault])
        await worker.subscribe([truth, image])
        await simulator.publish(Message(topic=truth, payload=b"{}"))
        with pytest.raises(TransportError, match="Not authorized"):
            await mes.publish(Message(topic=image, payload=b"not its business"))
        await station.publish(Message(topic=image, payload=b"jpeg"))
        await worker.publish(Message(topic=fault, payload=b"{}"))
        assert await first(mes, lambda _: True) == fault
        # What is not granted would have come before this, in the order of publication.
        assert await first(worker, lambda _: True) == image


@pytest.mark.real_broker
async def test_the_user_of_the_health_check_may_read_what_it_asks_for(
    broker: ShippedMosquitto,
) -> None:
    compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    command = compose["services"]["mosquitto"]["healthcheck"]["test"][1].replace("$$", "$")
    asked = re.search(r"-u (\w+) .*-t '([^']+)'", command)
    assert asked is not None
    async with broker.client(asked[1]) as client:
        await client.subscribe([asked[2]])
        assert await first(client, lambda _: True) == asked[2]


@pytest.mark.real_broker
@pytest.mark.parametrize("user", ["", "nobody"])
async def test_mosquitto_refuses_who_has_no_password(broker: ShippedMosquitto, user: str) -> None:
    with pytest.raises(TransportError, match="Not authorized"):
        async with broker.client(user):
            pass


@pytest.mark.real_broker
async def test_mosquitto_keeps_its_state_over_a_kill(secrets: Path) -> None:
    state = MqttTopics().fault_state(STATION, "camera", "signal").topic
    with ShippedMosquitto(secrets) as broker:
        async with broker.client("worker") as worker:
            await worker.publish(Message(topic=state, payload=b"{}", retain=True))
        told_at = time.time()
        store = broker.directory / "mosquitto.db"
        async with asyncio.timeout(20):
            while not store.exists() or store.stat().st_mtime <= told_at:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        broker.kill()
        broker.start()
        async with broker.client("mes") as mes:
            await mes.subscribe([state])
            assert await first(mes, lambda _: True) == state


@pytest.mark.real_broker
async def test_kafka_starts_with_the_shipped_properties(
    monkeypatch: pytest.MonkeyPatch, start_broker: Callable[..., EmbeddedBroker]
) -> None:
    def shipped(port: int, controller_port: int, directory: Path) -> str:
        text = (DOCKER / "kafka.properties").read_text()
        text = text.replace("19092", str(port)).replace(":9092", f":{free_port()}")
        text = text.replace(":9093", f":{controller_port}").replace("//kafka:", "//localhost:")
        return text.replace("/var/lib/kafka/data", str(directory / "data"))

    monkeypatch.setattr(embedded_kafka, "_properties", shipped)
    running = start_broker(Kafka)
    async with open_transport(BrokerConfig(url=running.url)) as transport:
        await transport.subscribe(["weldfusion.faults.v1"])
        sent = Message(topic="weldfusion.faults.v1", key="a.b.c.d.e", payload=b"x" * 3_000_000)
        await transport.publish(sent)
        assert await first(transport, lambda _: True) == "weldfusion.faults.v1"
