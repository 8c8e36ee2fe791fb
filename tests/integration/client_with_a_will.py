"""A process that connects with a last will and waits to be killed."""

import asyncio
import json
import sys

from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Message


async def _wait(order: dict[str, object]) -> None:
    topic = str(order["topic"])
    config = BrokerConfig.model_validate(order["config"])
    will = Message(topic=topic, payload=b"gone", retain=True)
    async with open_transport(config, will=will) as transport:
        await transport.publish(Message(topic=topic, payload=b"here", retain=True))
        print("ready", flush=True)
        await asyncio.Event().wait()


asyncio.run(_wait(json.loads(sys.argv[1])))
