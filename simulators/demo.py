"""The main job in about a minute: broker, replay, worker, faults, and an MES that listens."""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from simulators.recordings.open import open_recording
from simulators.recordings.recording import Recording
from simulators.scoreboard import Scoreboard
from stream.command import broker_config
from stream.messages import Kind
from stream.topics import KafkaTopics, Topics, topics_for
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Delivery, Transport
from stream.watch import Seen, event_topics, read_event

STATION = "weldfusion/demo/hall/line/cell"
RECORDING = Path(__file__).parent / "data" / "welding-single.mcap"
MODEL = "welding-single"
READY_S = 120.0
SETTLE_S = 3.0  # for the last alarm to clear
FIRST_S = 6.0
SECONDS_EACH = 9.0
DEFAULT_FAULTS = {
    Kind.IMAGE: ("occlusion", "blur", "frozen", "black"),
    Kind.VECTOR: ("drift", "stuck", "noise"),
}


class DemoError(Exception):
    """A demo that cannot go on: says which part stopped, and what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    """What is played, to whom, with which faults."""

    broker: str
    seconds: float
    seed: int
    recording: str
    model: str
    scenario: Path | None
    insecure: bool = False


@contextmanager
def broker_for(name: str, say: Callable[[str], None]) -> Iterator[str]:
    """The URL of a broker: an embedded one of that name, or the user's own."""
    if name == "mqtt":
        from simulators.brokers.amqtt import Amqtt

        with Amqtt() as broker:
            say(f"embedded MQTT broker (amqtt) at [bold]{broker.url}[/]")
            yield broker.url
    elif name == "kafka":
        from simulators.brokers.kafka import Kafka

        with Kafka() as broker:
            say(f"Apache Kafka at [bold]{broker.url}[/]")
            yield broker.url
    else:
        yield name


def worker_configuration(
    recording: Recording, model: str, broker: BrokerConfig, state_dir: Path
) -> str:
    """The worker's YAML for a recording's own modalities."""
    modalities = {
        name: {"kind": str(one.kind), "rate_hz": one.rate_hz, **_shape(one.kind, len(one.names))}
        for name, one in recording.modalities.items()
    }
    return yaml.safe_dump(
        {
            "kind": "worker",
            "name": "demo",
            "broker": broker.model_dump(mode="json", exclude={"kind"}, exclude_defaults=True),
            "status_interval_s": 1.0,
            "state_dir": str(state_dir),
            "stations": [{"id": STATION, "model": model, "modalities": modalities}],
        },
        sort_keys=False,
    )


def _shape(kind: Kind, channels: int) -> dict[str, int]:
    return {"channels": channels} if kind is Kind.VECTOR and channels else {}


def default_scenario(recording: Recording, seconds: float) -> dict[str, Any]:
    """Faults for whatever modalities there are, one for about every nine seconds."""
    count = max(1, int((seconds - FIRST_S) / SECONDS_EACH))
    faults = {name: list(DEFAULT_FAULTS[one.kind]) for name, one in recording.modalities.items()}
    return {"kind": "scenario", "random": {"count": count, "first_s": FIRST_S, "faults": faults}}


class Demo:
    """Runs the parts as processes of their own and keeps the score from outside."""

    def __init__(self, options: DemoOptions, url: str, show: Callable[[Seen], None]) -> None:
        self._options, self._url, self._show = options, url, show
        # the embedded MQTT broker speaks 3.1.1 and is slow to say so
        self._mqtt_version = "3.1.1" if options.broker == "mqtt" else None
        self._broker = broker_config(url, options.insecure, self._mqtt_version)
        self._topics = topics_for(self._broker.url)
        self.board = Scoreboard()
        self._state = ""

    async def run(self, progress: Callable[[float], None]) -> dict[str, Any]:
        """Play the demo; return its result."""
        options = self._options
        recording = open_recording(options.recording)
        with tempfile.TemporaryDirectory(prefix="weldfusion-demo-") as folder:
            path = Path(folder) / "worker.yaml"
            path.write_text(
                worker_configuration(recording, options.model, self._broker, Path(folder))
            )
            scenario = options.scenario
            if scenario is None:
                scenario = Path(folder) / "scenario.yaml"
                scenario.write_text(yaml.safe_dump(default_scenario(recording, options.seconds)))
            async with open_transport(self._broker) as transport:
                await transport.subscribe(_everything(self._topics))
                listening = asyncio.create_task(self._listen(transport))
                async with _process("worker", str(path)) as worker:
                    await self._until_running(worker)
                    started = time.monotonic()
                    async with _process("replay", *self._replay_arguments(scenario)) as replay:
                        await self._while_running(replay, worker, started, progress)
                    await asyncio.sleep(SETTLE_S)
                await asyncio.sleep(0.5)
                listening.cancel()
        return self.board.result(options.seed, str(self.board.status.get("model", "")))

    def _replay_arguments(self, scenario: Path) -> list[str]:
        options = self._options
        arguments = [options.recording, "--to", self._url, "--station", STATION, "--force"]
        arguments += ["--seed", str(options.seed), "--seconds", str(options.seconds), "--loop"]
        arguments += ["--scenario", str(scenario)]
        arguments += ["--mqtt-version", self._mqtt_version] if self._mqtt_version else []
        return [*arguments, *(["--insecure"] if options.insecure else [])]

    async def _listen(self, transport: Transport) -> None:
        async for delivery in transport.deliveries():
            transport.acknowledge(delivery)
            self._hear(delivery)

    def _hear(self, delivery: Delivery) -> None:
        topics, topic = self._topics, delivery.topic
        key = topics.latent(STATION).key
        if key and delivery.key.split("|")[0] != key:
            return
        if topic == topics.latent(STATION).topic:
            self.board.hear_latent(delivery.payload, delivery.received_ns)
        elif topic == topics.truth(STATION).topic:
            self.board.hear_truth(json.loads(delivery.payload))
        elif topic == topics.monitoring(STATION).topic:
            if delivery.payload and not delivery.retained:
                self.board.status = json.loads(delivery.payload)
                self._state = self.board.status.get("state", "")
        else:
            seen = read_event(delivery.payload)
            if seen is not None:
                self.board.hear_event(seen)
                self._show(seen)

    async def _until_running(self, worker: asyncio.subprocess.Process) -> None:
        give_up = time.monotonic() + READY_S
        while self._state != "running":
            if worker.returncode is not None:
                raise DemoError(f"the worker stopped with code {worker.returncode}; see above")
            if time.monotonic() > give_up:
                raise DemoError(f"the worker was not ready within {READY_S:.0f} s")
            await asyncio.sleep(0.05)

    async def _while_running(
        self,
        replay: asyncio.subprocess.Process,
        worker: asyncio.subprocess.Process,
        started: float,
        progress: Callable[[float], None],
    ) -> None:
        while replay.returncode is None:
            if worker.returncode is not None:
                raise DemoError(f"the worker stopped with code {worker.returncode}; see above")
            progress(time.monotonic() - started)
            await asyncio.sleep(0.1)
        if replay.returncode != 0:
            raise DemoError(f"the replay stopped with code {replay.returncode}; see above")


def _everything(topics: Topics) -> list[str]:
    wanted = [topics.latent(STATION), topics.truth(STATION), topics.monitoring(STATION)]
    station = None if isinstance(topics, KafkaTopics) else STATION
    return sorted({one.topic for one in wanted} | set(event_topics(topics, station)))


@asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of our own commands; stopped with SIGTERM, which drains it, when it is left."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "WELDFUSION_LOG": "warning"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "weldfusion", *arguments, env=environment
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()
