import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from simulators.brokers.amqtt import Amqtt
from simulators.brokers.broker import BrokerError, EmbeddedBroker, answers
from simulators.brokers.kafka import cluster_id
from simulators.brokers.mosquitto import Mosquitto
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Message


@pytest.mark.real_broker
def test_a_broker_that_does_not_start_names_its_log() -> None:
    with pytest.raises(BrokerError, match="mosquitto ended with") as refusal:
        Mosquitto(settings={"no_such_setting": "1"}).__enter__()
    (log,) = re.findall(r"\(log: (.*)\)", str(refusal.value))
    assert "no_such_setting" in Path(log).read_text()


def test_a_killed_broker_comes_back_at_the_same_address(
    start_broker: Callable[..., EmbeddedBroker],
) -> None:
    broker = start_broker(Amqtt)
    address = broker.url
    broker.kill()
    assert not answers(broker.port)
    broker.start()
    assert broker.url == address
    assert answers(broker.port)


@pytest.mark.real_broker
def test_mosquitto_keeps_retained_messages_over_a_restart(
    start_broker: Callable[..., EmbeddedBroker],
) -> None:
    broker = start_broker(Mosquitto)
    config = BrokerConfig(url=broker.url)

    async def publish() -> None:
        async with open_transport(config) as client:
            await client.publish(Message(topic="state", payload=b"kept", retain=True))

    async def read() -> bytes:
        async with open_transport(config) as client, asyncio.timeout(10):
            await client.subscribe(["state"])
            return (await anext(aiter(client.deliveries()))).payload

    asyncio.run(publish())
    broker.restart()
    assert asyncio.run(read()) == b"kept"


def test_the_temporary_directory_goes_with_the_broker() -> None:
    with Amqtt() as broker:
        assert broker.log.exists()
    assert not broker.directory.exists()


def test_no_cluster_id_looks_like_an_option() -> None:
    drawn = {cluster_id() for _ in range(2000)}
    assert len(drawn) == 2000
    assert not any(one.startswith("-") for one in drawn)
