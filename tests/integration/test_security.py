"""Who is let in, who is not, and what is said then: TLS, certificates, passwords, access lists.

Every test also fails where a password turns up in what it logged or printed.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from simulators.brokers.broker import EmbeddedBroker
from stream.transports.open import open_transport
from stream.transports.transport import Message, TransportError
from tests.integration.secured import (
    ALLOWED,
    Credentials,
    SecuredKafka,
    SecuredMosquitto,
    config,
)
from tests.integration.sites import take, until

pytestmark = pytest.mark.real_broker
Made = Callable[[Credentials], dict[str, Any]]
SIGNED_BY_OTHERS = r"its certificate is not signed by the authority in .*stranger\.crt"
NOBODY = r"takes nobody without a name; give username and password_file"
WRONG_PASSWORD = r"does not take user 'worker' with this password"


def wrong_password(made: Credentials) -> dict[str, Any]:
    return made.user() | {"password_file": made.password_file("stranger")}


def nobody(made: Credentials) -> dict[str, Any]:
    return {"ca_file": made.ca_file}


def other_authority(made: Credentials) -> dict[str, Any]:
    return made.user() | {"ca_file": made.strange_ca_file}


REFUSED = [
    pytest.param("password", "localhost", other_authority, SIGNED_BY_OTHERS, id="other authority"),
    pytest.param("password", "127.0.0.1", Credentials.user, "is for another host", id="other host"),
    pytest.param("expired", "localhost", nobody, "its certificate has expired", id="expired"),
    pytest.param("mutual", "localhost", nobody, "asks for a client certificate", id="without"),
    pytest.param(
        "mutual", "localhost", Credentials.stranger, "refuses the certificate in", id="a stranger's"
    ),
    pytest.param("password", "localhost", nobody, NOBODY, id="nobody"),
    pytest.param("password", "localhost", wrong_password, WRONG_PASSWORD, id="wrong password"),
]
LET_IN = [
    pytest.param("password", Credentials.user, id="with a password"),
    pytest.param("mutual", Credentials.bearer, id="with a certificate"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return Credentials(tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="module")
def mqtt(made: Credentials) -> Iterator[SecuredMosquitto]:
    with SecuredMosquitto(made) as broker:
        yield broker


@pytest.fixture(scope="module")
def cluster(made: Credentials) -> Iterator[SecuredKafka]:
    with SecuredKafka(made) as broker:
        asyncio.run(broker.grant())
        yield broker


@pytest.fixture(autouse=True)
def no_password_is_told(
    made: Credentials, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    told = capfd.readouterr()
    for password in made.passwords.values():
        assert password not in told.out + told.err + caplog.text


async def refused(url: str, settings: dict[str, Any]) -> str:
    """The one line that a start ends with; it names the broker."""
    with pytest.raises(TransportError) as caught:
        async with open_transport(config(url, **settings)):
            pass
    line = str(caught.value)
    assert url in line
    assert "\n" not in line
    return line


async def echo(url: str, topic: str, settings: dict[str, Any]) -> bytes:
    """What comes back of what is published."""
    async with open_transport(config(url, **settings)) as transport:
        await transport.subscribe([topic])
        await transport.publish(Message(topic=topic, payload=b"there and back", key="k"))
        (delivery,) = await take(transport, 1)
        return delivery.payload


@pytest.mark.parametrize(("listener", "host", "settings", "words"), REFUSED)
async def test_mosquitto_is_not_entered_and_the_reason_is_told(
    mqtt: SecuredMosquitto, made: Credentials, listener: str, host: str, settings: Made, words: str
) -> None:
    assert re.search(words, await refused(mqtt.url_of(listener, host), settings(made)))


@pytest.mark.parametrize(("listener", "host", "settings", "words"), REFUSED)
async def test_kafka_is_not_entered_and_the_reason_is_told(
    cluster: SecuredKafka, made: Credentials, listener: str, host: str, settings: Made, words: str
) -> None:
    assert re.search(words, await refused(cluster.url_of(listener, host), settings(made)))


@pytest.mark.parametrize(("listener", "settings"), LET_IN)
async def test_mosquitto_is_entered(
    mqtt: SecuredMosquitto, made: Credentials, listener: str, settings: Made
) -> None:
    assert await echo(mqtt.url_of(listener), f"{ALLOWED}/a", settings(made)) == b"there and back"


@pytest.mark.parametrize(("listener", "settings"), LET_IN)
async def test_kafka_is_entered(
    cluster: SecuredKafka, made: Credentials, listener: str, settings: Made
) -> None:
    url = cluster.url_of(listener)
    assert await echo(url, f"{ALLOWED}.{listener}", settings(made)) == b"there and back"


async def test_mosquitto_says_which_topic_is_forbidden(
    mqtt: SecuredMosquitto, made: Credentials
) -> None:
    user = {name: value for name, value in made.user().items() if name != "ca_file"}
    async with open_transport(config(mqtt.url_of("password"), **made.user())) as transport:
        with pytest.raises(TransportError, match="refuses forbidden/a: Not authorized"):
            await transport.publish(Message(topic="forbidden/a", payload=b"x"))
    async with open_transport(config(mqtt.url_of("strict"), **user)) as transport:
        with pytest.raises(TransportError, match="refuses forbidden/a: Not authorized"):
            await transport.subscribe(["forbidden/a"])


@pytest.mark.parametrize(
    ("topic", "group", "words"),
    [
        ("forbidden.a", "", "topic forbidden.a cannot be created: it is missing or not to be seen"),
        ("listed.a", "", "reading is forbidden: .*listed.a"),
        ("listed.a", f"{ALLOWED}-group", "reading is forbidden: .*listed.a"),
        (f"{ALLOWED}.a", "forbidden-group", "reading is forbidden: .*forbidden-group"),
    ],
)
async def test_kafka_says_what_may_not_be_read(
    cluster: SecuredKafka, made: Credentials, topic: str, group: str, words: str
) -> None:
    url = cluster.url_of("password")
    async with open_transport(config(url, group=group, **made.user())) as transport:
        with pytest.raises(TransportError, match=words) as caught:
            await transport.subscribe([topic])
    assert url in str(caught.value)


async def test_kafka_says_what_may_not_be_written(cluster: SecuredKafka, made: Credentials) -> None:
    url = cluster.url_of("password")
    async with open_transport(config(url, **made.user())) as transport:
        with pytest.raises(TransportError, match=f"{re.escape(url)} refuses listed.a: .*Authoriz"):
            await transport.publish(Message(topic="listed.a", payload=b"x", key="k"))


async def test_a_url_without_tls_is_told_of_a_broker_with_tls(
    mqtt: SecuredMosquitto, cluster: SecuredKafka
) -> None:
    for url in (mqtt.url_of("password"), cluster.url_of("tls")):
        plain = url.replace("mqtts:", "mqtt:").replace("+ssl:", ":")
        assert "does it want TLS" in await refused(plain, {})


async def test_a_url_with_tls_is_told_of_a_broker_without(
    mqtt: SecuredMosquitto, cluster: SecuredKafka, made: Credentials
) -> None:
    plain = (
        mqtt.url_of("strict").replace("mqtt:", "mqtts:"),
        f"kafka+ssl://localhost:{cluster.port}",
    )
    for url in plain:
        assert "TLS" in await refused(url, made.user())


async def test_a_password_that_no_longer_holds_is_counted_and_tried_again(
    tmp_path: Path, start_broker: Callable[..., EmbeddedBroker]
) -> None:
    before, after = Credentials(tmp_path / "before"), Credentials(tmp_path / "after")
    broker = start_broker(SecuredMosquitto, credentials=before)
    assert isinstance(broker, SecuredMosquitto)
    user, right = before.user(), dict(before.passwords)
    with capture_logs() as logs:
        async with open_transport(config(broker.url_of("password"), **user)) as transport:
            await transport.subscribe([f"{ALLOWED}/a"])
            before.passwords.update(after.passwords)
            broker.restart()
            await until(lambda: transport.failures["refused"] > 0)
            assert transport.failures["lost"] == 1
            assert not transport.connected
            before.passwords.update(right)
            broker.restart()
            await until(lambda: transport.connected)
    reasons = [log["reason"] for log in logs if log["event"] == "the broker refuses"]
    assert set(reasons) == {"Not authorized"}


async def test_a_subscription_that_a_restarted_broker_refuses_is_not_swallowed(
    made: Credentials, start_broker: Callable[..., EmbeddedBroker]
) -> None:
    broker = start_broker(SecuredMosquitto, credentials=made)
    assert isinstance(broker, SecuredMosquitto)
    user = {name: value for name, value in made.user().items() if name != "ca_file"}
    with capture_logs() as logs:
        async with open_transport(config(broker.url_of("strict"), **user)) as transport:
            await transport.subscribe([f"{ALLOWED}/a"])
            broker.allowed = "others"
            broker.restart()
            await until(lambda: transport.failures["subscription"] == 1)
            broker.allowed = ALLOWED
            broker.restart()
            await until(lambda: transport.failures["lost"] == 2)
            await until(lambda: transport.connected)
            await transport.publish(Message(topic=f"{ALLOWED}/a", payload=b"again"))
            (delivery,) = await take(transport, 1)
            assert delivery.payload == b"again"
    told = [log for log in logs if log["event"] == "subscription refused"]
    assert [(log["topic"], log["reason"]) for log in told] == [(f"{ALLOWED}/a", "Not authorized")]
