"""How aiokafka's clients are told where, as whom and how secured they connect."""

import asyncio
import ssl
from functools import lru_cache
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)
from aiokafka.partitioner import murmur2

from stream.transports.broker import BrokerConfig, rejected
from stream.transports.tls import explain, tls_context, tls_refusal
from stream.transports.transport import Message

_METADATA_AGE_MS = 5000
_PROBE_LIMIT_S = 5.0
FORBIDDEN = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)


@lru_cache(maxsize=4096)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def partition_for(key: bytes | None, every: list[int], available: list[int]) -> int:
    """Choose the partition of a record as the Java client does, remembering the keys' hashes."""
    if key is None:
        return (available or every)[0]
    return every[_hash(key) % len(every)]


def record_headers(message: Message) -> list[tuple[str, bytes]]:
    """Give a message's headers as a record carries them, its content type among them."""
    headers = [(name, text.encode()) for name, text in message.headers.items()]
    if message.content_type:
        headers.append(("content-type", message.content_type.encode()))
    return headers


def connection_arguments(config: BrokerConfig) -> dict[str, Any]:
    """Give what producers, consumers and the administration client have in common."""
    password = config.password()
    context = tls_context(config) if config.address.encrypted else None
    security = ("SASL_" if config.username else "") + ("SSL" if context else "PLAINTEXT")
    connection: dict[str, Any] = {
        "bootstrap_servers": [f"{host}:{port}" for host, port in config.address.servers],
        "client_id": config.client_id or "weldfusion",
        "metadata_max_age_ms": _METADATA_AGE_MS,
        "security_protocol": security,
        "ssl_context": context,
    }
    if config.username:
        connection |= {
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": config.username,
            "sasl_plain_password": password,
        }
    return connection


async def refusal(config: BrokerConfig, connection: dict[str, Any]) -> str:
    """Give why the first server does not take us, which aiokafka only logs; "" if unknown."""
    host, port = config.address.servers[0]
    own = ("bootstrap_servers", "metadata_max_age_ms")
    security = {name: value for name, value in connection.items() if name not in own}
    try:
        async with asyncio.timeout(_PROBE_LIMIT_S):
            (await create_conn(host, port, **security)).close()
    except ssl.SSLError as error:
        return explain(error, config)
    except SaslAuthenticationFailed:
        return rejected(config)
    except (KafkaConnectionError, ConnectionResetError):
        if config.address.encrypted:
            return await tls_refusal(config)
        return "it closes the connection without a word; does it want TLS (kafka+ssl://)?"
    except KafkaError as error:
        return str(error)
    except OSError:
        return ""
    return "" if config.username else rejected(config)


def has_connection(client: Any) -> bool:
    """Whether one of aiokafka's clients is connected to any server."""
    return any(connection.connected() for connection in client._conns.values())
