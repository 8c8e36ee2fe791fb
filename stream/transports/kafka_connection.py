"""How aiokafka's clients are told where, as whom and how secured they connect."""

import ssl
from functools import lru_cache
from typing import Any

from aiokafka.partitioner import murmur2

from stream.transports.broker import BrokerConfig

_METADATA_AGE_MS = 5000


@lru_cache(maxsize=4096)
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def partition_for(key: bytes | None, every: list[int], available: list[int]) -> int:
    """Choose the partition of a record as the Java client does, remembering the keys' hashes."""
    if key is None:
        return (available or every)[0]
    return every[_hash(key) % len(every)]


def connection_arguments(config: BrokerConfig) -> dict[str, Any]:
    """Give what producers, consumers and the administration client have in common."""
    password = config.password()
    context = _tls(config) if config.address.encrypted else None
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


def _tls(config: BrokerConfig) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=config.ca_file)
    if config.cert_file is not None:
        context.load_cert_chain(config.cert_file, config.key_file)
    return context
