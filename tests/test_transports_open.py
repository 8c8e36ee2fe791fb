import ssl
from pathlib import Path

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from stream.config import BrokerSettings, ConfigError, parse
from stream.transports.broker import BrokerConfig, parse_url
from stream.transports.kafka_connection import connection_arguments, partition_for
from stream.transports.memory import MemoryTransport
from stream.transports.open import open_transport
from stream.transports.tls import tls_context
from stream.transports.transport import TransportError


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("mqtt://plant", (("plant", 1883),)),
        ("mqtts://10.0.0.1:18883/", (("10.0.0.1", 18883),)),
        ("kafka://a:1,b", (("a", 1), ("b", 9092))),
        ("kafka+ssl://[::1]:9093", (("::1", 9093),)),
    ],
)
def test_urls_name_servers_and_ports(url: str, servers: tuple[tuple[str, int], ...]) -> None:
    assert parse_url(url).servers == servers


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("amqp://plant", "unknown scheme; a broker's URL begins with mqtt://, mqtts://, kafka://"),
        ("plant:1883", "unknown scheme"),
        ("mqtt://", "expected mqtt://host"),
        ("mqtt://plant/topic", "expected mqtt://host"),
        ("mqtt://plant:99999", "port 99999"),
        ("mqtt://a,b", "MQTT takes one server"),
        ("kafka://a:x", r"expected host\[:port\]"),
    ],
)
def test_urls_that_name_no_broker_are_refused_with_a_reason(url: str, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        BrokerConfig(url=url)


def test_credentials_in_a_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(ValidationError, match="credentials do not belong") as refusal:
        BrokerConfig(url="mqtt://operator:hunter2@plant")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("url", ["mqtt://plant", "kafka://127.0.0.1:1,plant:9092"])
def test_plaintext_beyond_this_machine_needs_permission(url: str) -> None:
    with pytest.raises(TransportError, match=r"plaintext and anonymous access to .*insecure: true"):
        open_transport(BrokerConfig(url=url))
    with capture_logs() as logs:
        open_transport(BrokerConfig(url=url, insecure=True))
    assert [(log["log_level"], log["access"]) for log in logs] == [
        ("warning", "plaintext and anonymous")
    ]


def test_anonymous_access_through_tls_needs_permission_too(tmp_path: Path) -> None:
    with pytest.raises(TransportError, match=r"^anonymous access"):
        open_transport(BrokerConfig(url="mqtts://plant"))
    with capture_logs() as logs:
        open_transport(BrokerConfig(url="mqtts://plant", username="operator"))
    assert logs == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.7", "[::1]"])
def test_on_this_machine_a_warning_is_enough(host: str) -> None:
    with capture_logs() as logs:
        open_transport(BrokerConfig(url=f"mqtt://{host}:1884"))
    assert [log["event"] for log in logs] == ["the broker is not secured"]


def test_memory_needs_no_permission() -> None:
    with capture_logs() as logs:
        assert isinstance(open_transport(BrokerConfig(url="memory://here")), MemoryTransport)
    assert logs == []


def test_secrets_come_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    monkeypatch.setenv("BROKER_PASSWORD", "hunter3")
    config = {"url": "kafka+ssl://plant", "username": "operator"}
    from_file = BrokerConfig(**config, password_file=file)
    assert connection_arguments(from_file)["sasl_plain_password"] == "hunter2"
    assert connection_arguments(from_file)["security_protocol"] == "SASL_SSL"
    assert BrokerConfig(**config, password_env="BROKER_PASSWORD").password() == "hunter3"
    with pytest.raises(TransportError, match="no NO_SUCH_VARIABLE"):
        BrokerConfig(**config, password_env="NO_SUCH_VARIABLE").password()
    with pytest.raises(TransportError, match="password_file cannot be read"):
        BrokerConfig(**config, password_file=tmp_path / "missing").password()
    file.write_text("\n")
    with pytest.raises(TransportError, match="password_file holds no text"):
        from_file.password()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"password_env": "A", "password_file": "b", "username": "c"}, "either password_file or"),
        ({"password_env": "A"}, "a password needs a username"),
        ({"cert_file": "a"}, "cert_file and key_file belong together"),
        ({"ca_file": "a"}, "certificates need TLS"),
        ({"url": "kafka://plant", "username": "a"}, "SCRAM-SHA-512 needs"),
        ({"passwort": "x"}, "Extra inputs are not permitted"),
    ],
)
def test_contradictory_settings_are_refused(settings: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        BrokerConfig.model_validate({"url": "mqtt://plant", **settings})


def test_a_password_among_the_settings_is_refused_and_not_repeated() -> None:
    content = {"kind": "broker", "url": "mqtts://plant", "password": "hunter2"}
    with pytest.raises(ConfigError, match="give password_file or password_env") as refusal:
        parse(content, BrokerSettings, "plant.yaml")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("url", ["mqtts://localhost", "kafka+ssl://localhost"])
async def test_files_of_certificates_that_cannot_be_used_are_named(
    tmp_path: Path, url: str
) -> None:
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("no certificate")
    for settings, words in (
        ({"ca_file": tmp_path / "gone"}, "ca_file cannot be used .*gone.*: No such file"),
        ({"ca_file": rubbish}, "ca_file cannot be used .*rubbish"),
        ({"cert_file": rubbish, "key_file": rubbish}, "cert_file and key_file cannot be used"),
    ):
        with pytest.raises(TransportError, match=words):
            async with open_transport(BrokerConfig(url=url, **settings)):
                pass


def test_tls_is_1_2_or_newer_and_checks_the_host_name() -> None:
    context = tls_context(BrokerConfig(url="mqtts://plant"))
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_persistent_reader_needs_a_name_to_be_found_again() -> None:
    for url, missing in (("mqtt://localhost", "client_id"), ("kafka://localhost", "group")):
        with pytest.raises(TransportError, match=f"needs a {missing}"):
            open_transport(BrokerConfig(url=url), persistent=True)


def test_keys_fall_into_the_partitions_that_the_java_client_chooses() -> None:
    # The expected hashes are those of Apache Kafka's own test of murmur2 (UtilsTest).
    hashes = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    for key, expected in hashes.items():
        every = list(range(7))
        assert partition_for(key, every, every) == (expected & 0x7FFFFFFF) % 7
