"""Timing faults of a replay, as they are heard on a broker in memory."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.config import ModelConfig
from simulators.faults.registry import fault_names
from simulators.injected import draw_faults
from simulators.recordings.open import open_recording
from simulators.replay import STATE_INTERVAL_S, Replay
from simulators.scenario import Planned, Scenario, plan
from stream.messages import Malformed
from stream.transports.memory import MemoryTransport
from stream.transports.transport import Message
from stream.wire import decode_frame
from tests.hearing import (
    ARM,
    BASE,
    CAMERA,
    START_NS,
    TOPICS,
    Heard,
    listening,
    new_broker,
    options,
    replayed,
)
from tests.recorded import CAMERA_HZ, MODALITIES, SECOND, write_recording


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recorded") / "one.mcap", seconds=3.0)


def fault(name: str, severity: float, at_s: float = 1.0, seconds: float = 1.0) -> Planned:
    modality, _, kind = name.partition(".")
    return Planned(
        at_s=at_s, modality=modality, fault=kind, severity=severity, seconds=seconds, seed=3
    )


def camera_times_s(heard: Heard) -> list[float]:
    return [(one.time_ns - START_NS) / SECOND for one in heard.frames]


def latest_arm_s(heard: Heard, payload: bytes) -> float:
    """How far the arm's stream had come when this payload was heard."""
    at = [one.payload for one in heard.deliveries].index(payload)
    so_far = [one for one in heard.deliveries[:at] if one.topic == ARM]
    return (heard.samples[len(so_far) - 1].time_ns - START_NS) / SECOND


async def test_late_frames_come_after_what_was_taken_long_after_them(recorded: Path) -> None:
    heard = await replayed(recorded, fault("camera.late", 0.25))
    clean = await replayed(recorded)
    assert sorted(camera_times_s(heard)) == camera_times_s(clean)
    for message, frame in zip(heard.under(CAMERA), heard.frames, strict=True):
        taken_s = (frame.time_ns - START_NS) / SECOND
        behind_s = latest_arm_s(heard, message.payload) - taken_s if taken_s > 0.1 else 0.0
        assert behind_s == pytest.approx(0.5 if 1 <= taken_s < 2 else 0.0, abs=0.06)


async def test_frames_that_are_still_under_way_at_the_end_come_all_the_same(
    recorded: Path,
) -> None:
    heard = await replayed(recorded, fault("camera.late", 1.0, at_s=2.0))
    assert len(heard.frames) == 3 * CAMERA_HZ
    cut = await replayed(recorded, fault("camera.late", 1.0, at_s=2.0), seconds=2.9)
    assert len(cut.frames) == 2 * CAMERA_HZ + 1, "what would come after the time allowed does not"


async def test_missing_frames_are_never_sent_and_the_arm_goes_on(recorded: Path) -> None:
    heard, clean = await replayed(recorded, fault("camera.missing", 1.0)), await replayed(recorded)
    assert [at for at in camera_times_s(clean) if not 1 <= at < 2] == camera_times_s(heard)
    assert [one.payload for one in heard.under(ARM)] == [one.payload for one in clean.under(ARM)]


async def test_malformed_frames_reach_the_broker_as_bytes_that_nobody_can_read(
    recorded: Path,
) -> None:
    heard = await replayed(recorded, fault("camera.malformed", 1.0))
    broken = 0
    for one in heard.under(CAMERA):
        try:
            decode_frame(one.payload)
        except Malformed:
            broken += 1
    assert broken == CAMERA_HZ
    assert len(heard.under(CAMERA)) == 3 * CAMERA_HZ


async def test_the_truth_of_a_timing_fault_tells_its_origin_and_its_effect_in_periods(
    recorded: Path,
) -> None:
    heard = await replayed(recorded, fault("camera.late", 0.25))
    started, ended = (one["data"] for one in heard.truth)
    assert started["origin"] == ended["origin"] == "transport"
    assert (started["effect"], ended["effect"]) == (None, 0.5 * CAMERA_HZ)
    assert ended["part"] is None


async def test_late_messages_wait_for_their_time_at_any_pace(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ns, sleep = START_NS, asyncio.sleep

    async def advance(seconds: float) -> None:
        nonlocal now_ns
        if seconds == STATE_INTERVAL_S:
            await sleep(seconds)  # announcements do not move the replay's clock
        now_ns += round(seconds * 1e9)
        await sleep(0)

    broker = new_broker()
    sent_s: dict[int, float] = {}
    async with MemoryTransport(broker) as transport:
        publish = transport.publish

        async def watched(message: Message) -> None:
            if message.topic == CAMERA:
                sent_s[decode_frame(message.payload).time_ns] = (now_ns - START_NS) / SECOND
            await publish(message)

        monkeypatch.setattr(transport, "publish", watched)
        monkeypatch.setattr(asyncio, "sleep", advance)
        replay = Replay(
            open_recording(recorded), transport, TOPICS, options(speed=2.0), lambda: now_ns
        )
        replay.plan([fault("camera.late", 0.25)], START_NS)
        await replay.run(START_NS)
    for time_ns, at_s in sent_s.items():
        taken_s = (time_ns - START_NS) / SECOND
        late_s = 0.5 if 1 <= taken_s < 2 else 0.0
        assert at_s == pytest.approx((taken_s + late_s) / 2, abs=0.02)


@pytest.mark.parametrize("modality", ["camera", "arm"])
async def test_a_timing_fault_can_be_injected_into_a_running_replay(
    recorded: Path, modality: str
) -> None:
    broker = new_broker()
    document: dict[str, Any] = {"modality": modality, "fault": "missing"}
    command = Message(
        topic=f"{BASE}/command/inject",
        payload=json.dumps(document | {"severity": 1, "seconds": 1}).encode(),
    )
    async with (
        listening(broker) as heard,
        MemoryTransport(broker) as transport,
        MemoryTransport(broker) as somebody,
    ):
        replay = Replay(
            open_recording(recorded), transport, TOPICS, options(loop=True, seconds=12.0)
        )
        running = asyncio.create_task(replay.run(START_NS))
        await somebody.subscribe([CAMERA])
        frames = somebody.deliveries()
        for _ in range(CAMERA_HZ):
            await anext(frames)
        await somebody.publish(command)
        await running
    assert [one["subject"] for one in heard.truth] == [f"{modality}/missing"] * 2
    assert heard.truth[-1]["data"]["effect"] == 1


def test_a_scenario_may_hold_timing_faults_of_either_kind() -> None:
    written = {
        "kind": "scenario",
        "injections": [
            {"at_s": 1, "modality": "arm", "fault": "reordered", "severity": 1, "seconds": 1}
        ],
        "random": {"count": 2, "gap_s": [3, 3], "faults": {"camera": ["late", "malformed"]}},
    }
    planned = plan(Scenario.model_validate(written), 1, 40, MODALITIES)
    assert sorted(one.fault for one in planned) == ["late", "malformed", "reordered"]


def test_no_timing_fault_is_drawn_for_training_or_judging_a_detector() -> None:
    model = ModelConfig.model_validate(
        {
            "name": "small",
            "modalities": {
                "camera": {"kind": "image", "size_px": (64, 64), "widths": (8, 16, 32)},
                "arm": {"kind": "vector", "channels": 3, "samples": 16, "widths": (32, 32, 32)},
            },
        }
    )
    drawn = draw_faults(model, 2000.0, "B", np.random.default_rng(0))
    assert not {one.fault for one in drawn} & set(fault_names(None))
    assert {one.fault for one in drawn if one.modality == "camera"} >= {"smoke", "replayed"}
