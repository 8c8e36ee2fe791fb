"""The transport that speaks to a broker, if the way there is secured."""

from collections.abc import Mapping
from functools import lru_cache

import structlog

from stream.transports.broker import BrokerConfig
from stream.transports.transport import Message, Transport, TransportError


def open_transport(
    config: BrokerConfig,
    *,
    will: Message | None = None,
    persistent: bool = False,
    transactional: bool = False,
    from_beginning: bool | None = None,
) -> Transport:
    """Give the transport for a broker; entering it connects.

    ``persistent`` asks that unacknowledged deliveries come again after a crash: it needs
    ``client_id`` on MQTT and ``group`` on Kafka. ``transactional`` is for who reads Kafka through
    `KafkaTransport.log`, ``from_beginning`` says whether Kafka's topics are read whole where no
    offset says more. Kafka knows no last will; there it is ignored.
    Raises TransportError where the way to the broker is not secured and may not be.
    """
    _check_security(config)
    address = config.address
    if address.scheme == "memory":
        from stream.transports.memory import MemoryTransport

        return MemoryTransport(
            address.servers[0][0],
            client_id=config.client_id,
            will=will,
            persistent=persistent,
            max_message_bytes=config.max_message_bytes,
        )
    if address.scheme.startswith("mqtt"):
        from stream.transports.mqtt import MqttTransport

        return MqttTransport(config, will=will, persistent=persistent)
    from stream.transports.kafka import KafkaTransport

    if persistent and not config.group:
        raise TransportError("a persistent Kafka reader needs a group")
    return KafkaTransport(config, from_beginning=from_beginning, transactional=transactional)


def open_sessions(
    config: BrokerConfig, wills: Mapping[str, Message], inflight: Mapping[str, int]
) -> Transport:
    """Give a transport with a lasting MQTT session for each station; see `MqttSessions`.

    Raises TransportError where the way to the broker is not secured and may not be.
    """
    from stream.transports.mqtt_sessions import MqttSessions

    _check_security(config)
    return MqttSessions(config, wills, inflight)


def _check_security(config: BrokerConfig) -> None:
    address = config.address
    if address.scheme == "memory":
        return
    missing = [] if address.encrypted else ["plaintext"]
    if not config.username and not config.cert_file:
        missing.append("anonymous")
    if not missing:
        return
    if not (address.is_local or config.insecure):
        raise TransportError(
            f"{' and '.join(missing)} access to {config.url} is refused; use TLS and credentials, "
            "or allow it with insecure: true (--insecure)"
        )
    _warn_once(config.url, " and ".join(missing))


@lru_cache(maxsize=256)
def _warn_once(url: str, access: str) -> None:
    structlog.get_logger(__name__).warning("the broker is not secured", url=url, access=access)
