"""A process that reads ten messages, acknowledges some of them, and dies without a farewell."""

import asyncio
import json
import os
import sys

from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport

_COMMITTED_AFTER_S = 0.5


async def _read_and_die(order: dict[str, object]) -> None:
    config = BrokerConfig.model_validate(order["config"])
    async with open_transport(config, persistent=True) as transport:
        await transport.subscribe([str(order["topic"])])
        print("ready", flush=True)
        seen = 0
        async for delivery in transport.deliveries():
            seen += 1
            if int(delivery.payload) in order["acknowledge"]:  # type: ignore[operator]
                transport.acknowledge(delivery)
            if seen == 10:
                break
        await asyncio.sleep(_COMMITTED_AFTER_S)
        os._exit(9)


asyncio.run(_read_and_die(json.loads(sys.argv[1])))
