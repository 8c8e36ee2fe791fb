"""The process behind the embedded MQTT broker: ``python -m simulators.brokers.amqtt_server PORT``.

A process of its own, so that the broker and the worker beside it do not take turns on one
interpreter lock.
"""

import asyncio
import logging
import os
import signal
import sys
from typing import Any

from amqtt.broker import Broker

_PARENT_POLL_S = 1.0


class LocalBroker(Broker):  # type: ignore[misc]
    """amqtt's broker with two corrections, found with 0.12.1."""

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Any
    ) -> None:
        # It offers every newcomer what is retained under everybody's filters, asked for or not.
        holders = self._subscriptions.get(subscription[0], ())
        if any(holder is session for holder, _ in holders):
            await super()._publish_retained_messages_for_subscription(subscription, session)

    async def _authenticate(self, session: Any, listener: Any) -> bool:
        # Everyone on this machine may come in. Let in by its own plugin for that, a client would
        # count as anonymous, and nothing is kept for those even where their session is to last.
        return True


async def serve(port: int) -> None:
    """Serve MQTT 3.1.1 on localhost until SIGTERM, or until the starting process is gone."""
    asyncio.get_running_loop().set_exception_handler(_only_log)
    broker = LocalBroker(
        {"listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}}, "plugins": {}}
    )
    await broker.start()
    print("serving", flush=True)
    await _asked_to_end()
    # A clean shutdown waits for each client's loop; nothing is kept, so nothing is lost by going.
    os._exit(0)


async def _asked_to_end() -> None:
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    parent = os.getppid()
    while os.getppid() == parent:
        try:
            await asyncio.wait_for(end.wait(), _PARENT_POLL_S)
            return
        except TimeoutError:
            continue


def _only_log(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logging.getLogger(__name__).warning("%s: %r", context.get("message"), context.get("exception"))


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve(int(sys.argv[1])))
