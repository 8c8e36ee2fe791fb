"""The process behind the embedded MQTT broker: ``python -m simulators.brokers.amqtt_server PORT``.

A process of its own, so that the broker and the worker beside it do not take turns on one
interpreter lock.
"""

import asyncio
import logging
import os
import signal
import sys

_PARENT_POLL_S = 1.0


async def serve(port: int) -> None:
    """Serve MQTT 3.1.1 on localhost until SIGTERM, or until the starting process is gone."""
    from amqtt.broker import Broker

    asyncio.get_running_loop().set_exception_handler(_only_log)
    broker = Broker(_configuration(port))
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


def _only_log(_loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
    logging.getLogger(__name__).warning("%s: %r", context.get("message"), context.get("exception"))


def _configuration(port: int) -> dict[str, object]:
    return {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(serve(int(sys.argv[1])))
