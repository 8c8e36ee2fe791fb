"""How paho-mqtt is set up, and what its packets carry beside topic and payload."""

import ssl
import uuid
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from stream.transports.broker import BrokerConfig, rejected
from stream.transports.tls import explain, tls_context, tls_refusal
from stream.transports.topics import is_name
from stream.transports.transport import Message, TooLarge, TransportError

_BACK_OFF_S = (1, 16)
_SESSION_EXPIRY_S = 24 * 3600
# What an MQTT packet needs beside topic, headers and payload.
_PACKET_OVERHEAD = 256
CONTENT_TYPE = "content-type"
CLOSED = "it closes the connection without a word"
_NOT_AUTHORIZED = ("Not authorized", "Bad user name or password")


def build_client(
    config: BrokerConfig, *, five: bool, persistent: bool, will: Message | None
) -> Client:
    """Give a client that is told everything but its callbacks and has not connected yet."""
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=config.client_id or f"weldfusion-{uuid.uuid4().hex[:12]}",
        clean_session=None if five else not persistent,
        protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
        manual_ack=True,
    )
    client.reconnect_delay_set(*_BACK_OFF_S)
    if config.username:
        client.username_pw_set(config.username, config.password())
    if config.address.encrypted:
        client.tls_set_context(tls_context(config))
    if will is not None:
        properties = message_properties(will, PacketTypes.WILLMESSAGE) if five else None
        client.will_set(will.topic, will.payload, will.qos, will.retain, properties)
    return client


def connect(client: Client, config: BrokerConfig, *, five: bool, persistent: bool) -> None:
    """Let the network thread connect as soon as it is started."""
    ((host, port),) = config.address.servers
    if not five:
        client.connect_async(host, port, config.keepalive_s)
        return
    properties: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    if persistent:
        properties.SessionExpiryInterval = _SESSION_EXPIRY_S
    if config.receive_maximum:
        properties.ReceiveMaximum = config.receive_maximum
    client.connect_async(
        host, port, config.keepalive_s, clean_start=not persistent, properties=properties
    )


def failure(error: BaseException | None, config: BrokerConfig) -> tuple[str, bool]:
    """Give why an attempt to connect failed, and whether every other would fail as well."""
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return explain(error, config), True
    return str(error), False


async def explained(refusal: str, config: BrokerConfig) -> str:
    """Give a broker's refusal of a connection with what is known of it, and what to do."""
    if refusal in _NOT_AUTHORIZED:
        return f"{refusal}: {rejected(config)}"
    if refusal == CLOSED and not config.address.encrypted:
        return f"{refusal}; does it want TLS (mqtts://)?"
    if config.address.encrypted:
        return await tls_refusal(config) or refusal
    return refusal


def message_properties(message: Message, packet: int = PacketTypes.PUBLISH) -> Properties:
    """Give a message's content type, expiry and headers as MQTT 5 knows them."""
    properties: Any = Properties(packet)  # type: ignore[no-untyped-call]
    if message.content_type:
        properties.ContentType = message.content_type
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    if message.headers:
        properties.UserProperty = list(message.headers.items())
    found: Properties = properties
    return found


def check(message: Message, most_bytes: int, most_packet_bytes: int) -> None:
    """Raise TransportError for what must not be sent; the broker's own limit is 0 where unknown.

    What is over a limit is TooLarge.
    """
    if not is_name(message.topic):
        raise TransportError(f"nothing can be published to the topic {message.topic!r}")
    if most_packet_bytes:
        overhead = _PACKET_OVERHEAD + len(message.topic.encode())
        overhead += sum(len(name) + len(text) for name, text in message.headers.items())
        most_bytes = min(most_bytes, max(most_packet_bytes - overhead, 0))
    if len(message.payload) > most_bytes:
        raise TooLarge(
            f"too large for {message.topic}: {len(message.payload)} bytes, at most {most_bytes}"
        )


def headers(properties: Properties | None) -> dict[str, str]:
    """Give what a received message carries in user properties, and its content type."""
    if properties is None:
        return {}
    found = dict(getattr(properties, "UserProperty", ()))
    if content_type := getattr(properties, "ContentType", ""):
        found[CONTENT_TYPE] = content_type
    return found
