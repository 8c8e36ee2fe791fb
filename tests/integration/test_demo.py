"""The command line on real brokers: the demo, a recording made of a replay, live injection."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulators.recorder import record_station
from simulators.recordings.open import open_recording
from simulators.recordings.recording import RecordingError
from simulators.replay import ReplayOptions
from simulators.replaying import play
from stream.messages import Floats, Kind, Samples
from stream.topics import MqttTopics
from stream.transports.broker import BrokerConfig
from stream.transports.open import open_transport
from stream.transports.transport import Delivery, Message
from stream.wire import parse_rfc3339
from tests.recorded import ARM_HZ, CAMERA_HZ, CHANNELS, SIDE_PX, write_recording

TOPICS = MqttTopics()
DEMO_S = 12
PATIENCE_S = 60


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the demo writes, on its own broker and without a model."""
    path = tmp_path_factory.mktemp("demo") / "new" / "result.json"
    arguments = ["--model", "none", "--seconds", str(DEMO_S), "--seed", "3", "--json", str(path)]
    ended = subprocess.run(
        [sys.executable, "-m", "weldfusion", "demo", *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "120"},
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "mqtt://127.0.0.1:" in ended.stdout
    assert "injected faults" in ended.stdout
    written: dict[str, Any] = json.loads(path.read_text())
    return written


def test_the_demo_writes_every_promised_key_with_its_type(result: dict[str, Any]) -> None:
    kinds = {name: type(value) for name, value in result.items()}
    assert kinds | {"windows_per_s": float} == kinds
    for name in ("seed", "windows", "false_alarms", "events"):
        assert kinds[name] is int
    assert set(result["latency_ms"]) == {"p50", "p95", "p99"}
    assert all(isinstance(one, float) for one in result["latency_ms"].values())
    assert all(type(count) is int for count in result["dropped"].values())
    assert isinstance(result["model"], str)
    assert result["seed"] == 3


def test_the_demo_tells_each_injected_fault_and_what_became_of_it(result: dict[str, Any]) -> None:
    assert result["injected"]
    for one in result["injected"]:
        assert one["modality"] in {"camera", "kinematics"}
        assert "." not in one["fault"]
        assert 0.3 <= one["severity"] <= 0.8
        assert parse_rfc3339(one["onset"]) > 0
        assert type(one["detected"]) is type(one["cleared"]) is bool
        assert (one["delay_ms"] is None) == (not one["detected"])


def test_the_demos_windows_come_all_the_way_without_false_alarms(result: dict[str, Any]) -> None:
    assert result["windows"] > DEMO_S * 15 / 2
    assert result["latency_ms"]["p50"] > 0
    assert result["false_alarms"] == 0, result["false"]


def options(station: str, **changed: Any) -> ReplayOptions:
    return ReplayOptions(**{"station": station, "source": "small.mcap", **changed})


async def test_a_replay_that_is_recorded_opens_as_the_recording_it_was_played_from(
    mosquitto: str, tmp_path: Path
) -> None:
    station, out = "acme/demo/round/trip/cell", tmp_path / "again.mcap"
    original = write_recording(tmp_path / "small.mcap", seconds=3.0)
    broker = BrokerConfig(url=mosquitto)
    recording = asyncio.create_task(record_station(broker, station, out, None))
    await asyncio.sleep(1.0)  # it listens by then; what was played before is not missed below
    await play(str(original), None, broker, options(station), None, 0, True)
    os.kill(os.getpid(), signal.SIGTERM)  # as an operator ends it
    messages = await recording

    found, wanted = open_recording(out), open_recording(original)
    assert set(found.modalities) == {"camera", "arm"}
    assert found.modalities["arm"].names == CHANNELS
    assert found.modalities["arm"].rate_hz == pytest.approx(ARM_HZ, rel=0.05)
    assert found.modalities["camera"].rate_hz == pytest.approx(CAMERA_HZ, rel=0.05)
    assert found.modalities["camera"].size_px == (SIDE_PX, SIDE_PX)
    assert found.metadata["station"] == station
    assert messages == sum(1 for _ in found.records())
    samples = values(found)
    assert len(samples) > ARM_HZ
    assert np.array_equal(samples, values(wanted)[-len(samples) :])
    assert len(list(found.records(Kind.IMAGE))) > CAMERA_HZ


def values(recording: Any) -> Floats:
    readings = [record.reading for record in recording.records(Kind.VECTOR)]
    return np.concatenate([one.values for one in readings if isinstance(one, Samples)])


def test_a_station_that_says_nothing_leaves_no_recording(mosquitto: str, tmp_path: Path) -> None:
    broker, station = BrokerConfig(url=mosquitto), "acme/demo/silent/line/cell"
    with pytest.raises(RecordingError, match="nothing arrived within 2 s"):
        asyncio.run(record_station(broker, station, tmp_path / "no.mcap", 1.0))
    assert list(tmp_path.iterdir()) == []


class Topic:
    """What arrives on one topic."""

    def __init__(self, deliveries: AsyncIterator[Delivery]) -> None:
        self._deliveries = deliveries

    async def next(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return (await anext(self._deliveries)).payload


@asynccontextmanager
async def reading(url: str, topic: str) -> AsyncIterator[Topic]:
    async with open_transport(BrokerConfig(url=url)) as transport:
        await transport.subscribe([topic])
        yield Topic(transport.deliveries())


@asynccontextmanager
async def command(*arguments: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of the commands as a process; killed where it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "weldfusion", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def injected(url: str, station: str) -> tuple[int | None, str]:
    fault = ["--fault", "camera.black", "--severity", "0.6", "--seconds", "1"]
    async with command("inject", url, "--station", station, *fault) as process:
        said, _ = await process.communicate()
        return process.returncode, said.decode()


async def test_an_injection_is_obeyed_by_a_running_replay_and_refused_once_it_was_killed(
    mosquitto: str, tmp_path: Path
) -> None:
    station = "acme/demo/live/line/cell"
    small = write_recording(tmp_path / "small.mcap", seconds=3.0)
    replay = ["replay", small, "--to", mosquitto, "--station", station, "--loop", "--force"]
    async with (
        reading(mosquitto, TOPICS.simulation(station).topic) as states,
        reading(mosquitto, TOPICS.truth(station).topic) as truth,
        command(*replay) as running,
    ):
        assert json.loads(await states.next())["source"] == "small.mcap"
        code, said = await injected(mosquitto, station)
        assert code == 0, said
        for transition in ("started", "ended"):
            told = json.loads(await truth.next())
            assert told["type"] == f"weldfusion.truth.{transition}.v1"
            assert told["source"] == f"/{station}"
            assert (told["data"]["modality"], told["data"]["fault"]) == ("camera", "black")
            assert told["data"]["severity"] == 0.6
        assert told["data"]["effect"] > 0
        running.kill()
        while await states.next():
            pass  # its last will empties the state
        code, said = await injected(mosquitto, station)
        assert code == 2
        assert f"{station} is not simulated" in said


async def test_a_replay_onto_a_busy_station_is_refused(mosquitto: str, tmp_path: Path) -> None:
    station = "acme/demo/busy/line/cell"
    small = write_recording(tmp_path / "small.mcap")

    async def somebody_else() -> None:
        topic = TOPICS.data(station, "vector", "arm").topic
        async with open_transport(BrokerConfig(url=mosquitto)) as transport:
            while True:
                await transport.publish(Message(topic=topic, payload=b"1"))
                await asyncio.sleep(0.1)

    busy = asyncio.create_task(somebody_else())
    async with command("replay", small, "--to", mosquitto, "--station", station) as process:
        said, _ = await process.communicate()
    busy.cancel()
    assert process.returncode == 2
    assert f"{station} is busy" in said.decode()
