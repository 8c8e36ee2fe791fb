"""A worker on MQTT, which keeps a journal, beside a bare loop that takes and tells as much.

Both take what the broker has queued for them: one sample a message, and a picture for 8.3 of them.
The loop acknowledges at once, decodes nothing, and publishes a short message for each picture.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from statistics import median
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from simulators.brokers.mosquitto import Mosquitto
from stream.topics import MqttTopics
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Delivery
from tests.benchmarks.delivery.pace import Pace, medians, pace, ratios
from tests.benchmarks.delivery.plant import MESSAGES_A_WINDOW, configuration, fill, stations
from tests.benchmarks.delivery.workers import working

# as docker/mosquitto.conf has them, and as Mosquitto itself
INFLIGHT = {"inflight_200": 200, "inflight_20": 20}
WINDOWS = 400
PAIRS = 3
WORKER, LOOP = stations(2)
TOPICS = MqttTopics()
LATENT = bytes(160)
SESSION_S = 3600


def measure() -> dict[str, object]:
    """Messages a second, the worker over the loop, by how many may be unacknowledged at once."""
    found = {name: asyncio.run(_compared(most)) for name, most in INFLIGHT.items()}
    return {
        "mqtt_messages_per_s_over_bare_paho": {name: one["ratio"] for name, one in found.items()},
        "mqtt": found,
    }


async def _compared(most_inflight: int) -> dict[str, object]:
    limits = {"max_queued_messages": "100000", "max_inflight_messages": str(most_inflight)}
    worker: list[Pace] = []
    loop: list[Pace] = []
    with Mosquitto(settings=limits) as mosquitto, tempfile.TemporaryDirectory() as folder:
        broker = BrokerConfig(url=mosquitto.url)
        settings = configuration(broker, [WORKER], state_dir=folder)
        async with working(settings):
            pass  # from here on the broker queues for it
        await _subscribe(broker)
        for pair in range(PAIRS):
            windows = range(pair * WINDOWS, (pair + 1) * WINDOWS)
            await fill(broker, [WORKER, LOOP], windows)
            for who in ("worker", "loop") if pair % 2 else ("loop", "worker"):
                if who == "worker":
                    async with _mes(broker, WORKER) as latents, working(settings):
                        worker.append(await pace(latents, WINDOWS))
                else:
                    async with _mes(broker, LOOP) as latents:
                        with _bare_loop(mosquitto.port):
                            loop.append(await pace(latents, WINDOWS))
    found = ratios(worker, loop)
    return {
        "ratio": median(found),
        "ratios": found,
        "worker": _messages(worker),
        "loop": _messages(loop),
    }


def _messages(paces: list[Pace]) -> dict[str, float]:
    found = medians(paces)
    return {"messages_per_s": round(found["windows_per_s"] * MESSAGES_A_WINDOW), **found}


@asynccontextmanager
async def _mes(broker: BrokerConfig, station: str) -> AsyncIterator[AsyncIterator[Delivery]]:
    """What is told of a station."""
    async with open_transport(broker) as mes:
        await mes.subscribe([TOPICS.latent(station).topic])
        yield mes.deliveries()


async def _subscribe(broker: BrokerConfig) -> None:
    """Have the broker queue for the loop."""
    topics = [TOPICS.data(LOOP, "image", "camera"), TOPICS.data(LOOP, "vector", "arm")]
    named = broker.model_copy(update={"client_id": "loop"})
    async with open_transport(named, persistent=True) as session:
        await session.subscribe([one.topic for one in topics])


@contextmanager
def _bare_loop(port: int) -> Iterator[None]:
    """Subscribe and publish as plainly as it can be written, on paho's own thread."""
    picture, latent = TOPICS.data(LOOP, "image", "camera").topic, TOPICS.latent(LOOP).topic

    def on_message(client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if message.topic == picture:
            client.publish(latent, LATENT, qos=0)

    client = Client(CallbackAPIVersion.VERSION2, "loop", protocol=MQTTProtocolVersion.MQTTv5)
    client.on_message = on_message
    lasting: Any = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    lasting.SessionExpiryInterval = SESSION_S
    client.connect("127.0.0.1", port, clean_start=False, properties=lasting)
    client.loop_start()
    try:
        yield
    finally:
        client.disconnect()
        client.loop_stop()
