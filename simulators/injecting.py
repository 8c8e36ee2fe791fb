"""One inject command to a replay that announces itself."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from simulators.faults.registry import names_for
from stream.control import NAME_HEADER
from stream.events import JSON, to_json
from stream.messages import Kind
from stream.topics import Topics, topics_for
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Message, Transport

LISTEN_S = 5.0


class InjectError(Exception):
    """An injection that must not be sent; says why."""


def require_known(fault: str) -> None:
    """Raise InjectError unless a kind of modality has a fault of this name."""
    known = sorted({name for kind in Kind for name in names_for(kind)})
    if fault not in known:
        raise InjectError(f"no fault is named {fault!r}; there are: {', '.join(known)}")


async def send_injection(broker: BrokerConfig, station: str, document: Mapping[str, Any]) -> None:
    """Send it once the station's simulation state was seen to be valid; raises InjectError."""
    topics = topics_for(broker.url)
    async with open_transport(broker) as transport:
        await _require_simulation(transport, topics, station)
        address = topics.command(station, "inject")
        message = Message(
            topic=address.topic,
            key=address.key,
            payload=to_json(document),
            content_type=JSON,
            headers={NAME_HEADER: "inject"},
        )
        await transport.publish(message)


async def _require_simulation(transport: Transport, topics: Topics, station: str) -> None:
    address = topics.simulation(station)
    await transport.subscribe([address.topic])

    async def valid() -> None:
        async for delivery in transport.deliveries():
            transport.acknowledge(delivery)
            if delivery.key in ("", address.key) and _is_valid(delivery.payload):
                return

    try:
        await asyncio.wait_for(valid(), LISTEN_S)
    except TimeoutError:
        raise InjectError(
            f"{station} is not simulated: no replay has announced itself within {LISTEN_S:g} s"
        ) from None


def _is_valid(payload: bytes) -> bool:
    try:
        until = datetime.fromisoformat(json.loads(payload)["validUntil"])
        return until > datetime.now(UTC)
    except (ValueError, KeyError, TypeError):
        return False
