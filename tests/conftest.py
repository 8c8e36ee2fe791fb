"""Brokers for the tests, and tests that are coroutines.

A broker comes from a URL in the environment, from Docker where it answers, or is started as an
ordinary process. One that cannot be had fails the tests that need it; ``--embedded-only`` leaves
those tests out.
"""

import asyncio
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from simulators.brokers.amqtt import Amqtt
from simulators.brokers.broker import BrokerError, EmbeddedBroker, free_port
from simulators.brokers.kafka import Kafka
from simulators.brokers.mosquitto import Mosquitto

_COROUTINE_LIMIT_S = 120
_MARKER = "real_broker: needs Mosquitto or Kafka; --embedded-only leaves it out"
_DEMANDING_FIXTURES = {"mosquitto", "kafka"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--embedded-only",
        action="store_true",
        help="leave out the tests that need Mosquitto or Apache Kafka",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--embedded-only"):
        return
    left_out = [item for item in items if _needs_real_broker(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not _needs_real_broker(item)]


def _needs_real_broker(item: pytest.Item) -> bool:
    fixtures = set(getattr(item, "fixturenames", ()))
    return item.get_closest_marker("real_broker") is not None or bool(
        fixtures & _DEMANDING_FIXTURES
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine on an event loop of its own."""
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(test).parameters}
    asyncio.run(asyncio.wait_for(test(**arguments), _COROUTINE_LIMIT_S))
    return True


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[str]:
    """The URL of a Mosquitto with its default limits."""
    yield from _url("WELDFUSION_TEST_MQTT", _mosquitto_container, Mosquitto)


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The URL of an Apache Kafka."""
    yield from _url("WELDFUSION_TEST_KAFKA", _kafka_container, Kafka)


@pytest.fixture(scope="session")
def amqtt() -> Iterator[str]:
    """The URL of the embedded MQTT broker."""
    with Amqtt() as broker:
        yield broker.url


@pytest.fixture
def start_broker() -> Iterator[Callable[..., EmbeddedBroker]]:
    """Start brokers of this test's own, to be restarted and killed: ``start_broker(Mosquitto)``."""
    started: list[EmbeddedBroker] = []

    def start(kind: type[EmbeddedBroker], **options: object) -> EmbeddedBroker:
        broker = kind(**options)  # type: ignore[arg-type]
        with _one_clear_line():
            started.append(broker.__enter__())
        return broker

    yield start
    for broker in started:
        broker.close()


def _url(
    variable: str,
    container: Callable[[], AbstractContextManager[str]],
    embedded: type[EmbeddedBroker],
) -> Iterator[str]:
    if url := os.environ.get(variable):
        yield url
        return
    if _docker_answers():
        with container() as url:
            yield url
        return
    with _one_clear_line():
        broker = embedded().__enter__()
    try:
        yield broker.url
    finally:
        broker.close()


@contextmanager
def _one_clear_line() -> Iterator[None]:
    try:
        yield
    except BrokerError as error:
        pytest.fail(f"{error}; or leave these tests out with --embedded-only", pytrace=False)


def _docker_answers() -> bool:
    try:
        import docker

        docker.from_env(timeout=3).ping()
    except Exception:  # whatever is missing, the next way is tried
        return False
    return True


@contextmanager
def _mosquitto_container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.waiting_utils import wait_for_logs

    container = DockerContainer("eclipse-mosquitto:2").with_exposed_ports(1883)
    with container.with_command("mosquitto -c /mosquitto-no-auth.conf") as running:
        wait_for_logs(running, "mosquitto version .* running", timeout=30)
        yield f"mqtt://{running.get_container_host_ip()}:{running.get_exposed_port(1883)}"


@contextmanager
def _kafka_container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.docker_client import DockerClient
    from testcontainers.core.waiting_utils import wait_for_logs

    host, port = DockerClient().host(), free_port()
    container = DockerContainer("apache/kafka:4.1.0").with_bind_ports(port, port)
    for name, value in {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "LISTENERS": f"PLAINTEXT://0.0.0.0:{port},CONTROLLER://localhost:9093",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://{host}:{port}",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    }.items():
        container.with_env(f"KAFKA_{name}", value)
    with container as running:
        wait_for_logs(running, "Kafka Server started", timeout=90)
        yield f"kafka://{host}:{port}"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tensors this small only wait for a second thread, for long on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
