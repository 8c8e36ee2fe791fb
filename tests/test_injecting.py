"""Faults injected into a running replay, and refused where none runs."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from simulators.injecting import InjectError, send_injection
from simulators.recordings.open import open_recording
from simulators.replay import Replay, read_command
from stream.transports.broker import BrokerConfig
from stream.transports.memory import MemoryTransport
from stream.transports.transport import Message
from stream.wire import parse_rfc3339, rfc3339
from tests.hearing import (
    BASE,
    CAMERA,
    CELL,
    START_NS,
    TOPICS,
    Heard,
    brightness,
    fault,
    listening,
    new_broker,
    options,
)
from tests.recorded import CAMERA_HZ, SECOND, write_recording


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recorded") / "one.mcap", seconds=2.0)


async def test_an_injection_is_heard_by_a_running_replay_and_begins_at_its_own_time(
    recorded: Path,
) -> None:
    heard = await live(recorded, {"modality": "camera", "fault": "black", "severity": 0.8})
    started, ended = heard.truth
    onset_ns = parse_rfc3339(started["data"]["onsetTime"])
    assert START_NS < onset_ns < START_NS + 20 * SECOND
    assert parse_rfc3339(ended["time"]) - onset_ns == SECOND
    assert any(brightness(one) < 50 for one in heard.frames)


@pytest.mark.parametrize(
    "document",
    [
        {"modality": "lidar", "fault": "black", "severity": 0.8},
        {"modality": "camera", "fault": "drift", "severity": 0.8},
        {"modality": "camera", "fault": "black", "severity": 3},
        {"modality": "camera", "fault": "black", "severity": float("nan")},
        {"modality": "camera", "fault": "black", "severity": 0.5, "seed": -1},
        {"modality": "camera", "fault": "black", "severity": 0.5, "seed": float("inf")},
        {"modality": "camera", "fault": "black"},
    ],
    ids=str,
)
async def test_an_impossible_command_is_refused_and_the_replay_goes_on(
    recorded: Path, document: dict[str, Any]
) -> None:
    heard = await live(recorded, document)
    assert heard.truth == []
    assert heard.frames[-1].time_ns > START_NS + 10 * SECOND


async def live(path: Path, document: dict[str, Any]) -> Heard:
    """A looped replay that is sent one command after its first second."""
    broker = new_broker()
    command = Message(
        topic=f"{BASE}/command/inject", payload=json.dumps({"seconds": 1.0} | document).encode()
    )
    async with (
        listening(broker) as heard,
        MemoryTransport(broker) as transport,
        MemoryTransport(broker) as somebody,
    ):
        wanted = options(loop=True, seconds=20.0)
        replay = Replay(open_recording(path), transport, TOPICS, wanted)
        running = asyncio.create_task(replay.run(START_NS))
        await somebody.subscribe([CAMERA])
        frames = somebody.deliveries()
        for _ in range(CAMERA_HZ):
            await anext(frames)
        await somebody.publish(command)
        await running
    return heard


async def test_a_command_kept_by_the_broker_is_not_given_to_a_later_replay(recorded: Path) -> None:
    broker = new_broker()
    document = {"modality": "camera", "fault": "black", "severity": 0.8, "seconds": 1.0}
    kept = Message(
        topic=f"{BASE}/command/inject", payload=json.dumps(document).encode(), retain=True
    )
    async with listening(broker) as heard, MemoryTransport(broker) as transport:
        await transport.publish(kept)
        await Replay(open_recording(recorded), transport, TOPICS, options()).run(START_NS)
    assert heard.truth == []


async def test_an_injection_is_sent_to_a_station_that_announces_itself() -> None:
    broker = new_broker()
    document = {"modality": "camera", "fault": "black", "severity": 0.8, "seconds": 1.0}
    async with listening(broker) as heard, MemoryTransport(broker) as transport:
        await transport.publish(state(valid_until="2999-01-01T00:00:00Z"))
        await send_injection(BrokerConfig(url=f"memory://{broker}"), CELL, document)
    (sent,) = heard.under(f"{BASE}/command/inject")
    assert read_command(json.loads(sent.payload)) == replace(fault(0, 1.0), seed=0)


@pytest.mark.parametrize("until", ["2020-01-01T00:00:00Z", "2999-01-01T00:00:00", "soon", None])
async def test_a_station_without_a_valid_simulation_state_is_refused(
    until: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulators.injecting.LISTEN_S", 0.2)
    broker = new_broker()
    async with MemoryTransport(broker) as transport:
        await transport.publish(state(valid_until=until))
        with pytest.raises(InjectError, match=f"{CELL} is not simulated"):
            await send_injection(BrokerConfig(url=f"memory://{broker}"), CELL, {})


def state(valid_until: str | None) -> Message:
    content = json.dumps({"source": "x", "since": rfc3339(START_NS), "validUntil": valid_until})
    return Message(topic=f"{BASE}/state/simulation", payload=content.encode(), retain=True)
