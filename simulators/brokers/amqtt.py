"""An MQTT 3.1.1 broker in pure Python: what the demo runs on where nothing else is installed."""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from simulators.brokers.broker import BrokerError, EmbeddedBroker

_ROOT = Path(__file__).parents[2]


class Amqtt(EmbeddedBroker):
    """An anonymous amqtt on localhost, in a process of its own.

    It keeps everything in memory: ``stop``, ``kill`` and ``restart`` lose sessions and retained
    messages.
    """

    name = "amqtt"
    scheme = "mqtt"

    def _prepare(self) -> tuple[Sequence[str], Mapping[str, str]]:
        if importlib.util.find_spec("amqtt") is None:
            raise BrokerError("the embedded broker needs amqtt: pip install 'weldfusion[embedded]'")
        command = [sys.executable, "-m", "simulators.brokers.amqtt_server", str(self.port)]
        return command, {"PYTHONPATH": str(_ROOT)}

    def _ready(self) -> bool:
        # Its port is not tried: it reports a connection without a word as an error.
        return "serving" in self._said()
