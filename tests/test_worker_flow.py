"""A whole worker that is busy, slow, stopped and started again, on the in-memory broker."""

import asyncio
import json
import time
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
import pytest

from stream.engine import Engine
from stream.gate import Verdict
from stream.images import encode_jpeg
from stream.inputs import TIME_HEADER
from stream.messages import Window
from stream.pipeline import Pipeline
from stream.transports.memory import MemoryTransport
from stream.transports.transport import Message
from tests.plant import BASE, OTHER, at_ns, configuration, jpeg, new_broker, working


async def test_a_silent_camera_is_missing_although_another_station_keeps_the_worker_busy() -> None:
    one = configuration("any").stations[0].model_dump(mode="json")
    large = encode_jpeg(np.full((1440, 1920, 3), 90, np.uint8))  # few bytes, much to decode
    broker = new_broker()
    transport = MemoryTransport(broker, client_id="worker", persistent=True)
    stations = [one, {**one, "id": OTHER, "budget_mib": 4096}]
    async with working(broker=broker, transport=transport, stations=stations) as plant:

        async def keep_busy() -> None:
            for at in count():
                await plant.until(lambda: transport.exhausted(f"{OTHER}/cam"))
                for number in range(4):
                    stamp = {TIME_HEADER: str(at_ns(at + number / 10))}
                    await plant.send(f"{OTHER}/cam", large, headers=stamp)

        busy = asyncio.create_task(keep_busy())
        await asyncio.sleep(0.8)  # until more waits than is decoded
        await plant.play(0, 1)
        await plant.play(1, 3, camera=False)
        await plant.until(lambda: ("camera/missing", "raised") in plant.mes.events)
        busy.cancel()


class SlowBroker(MemoryTransport):
    """A broker that takes its time for every acknowledgement."""

    async def publish(self, message: Message) -> None:
        await asyncio.sleep(0.005)
        await super().publish(message)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.5, 2.0])
async def test_a_worker_drains_everything_it_has_closed_before_it_stops(seconds: float) -> None:
    broker = new_broker()
    slow = SlowBroker(broker, client_id="worker", persistent=True)
    async with working(broker=broker, transport=slow) as plant:
        await plant.play(0, seconds)
        await plant.until(lambda: plant.mes.latents)
    assert plant.mes.status["windows"] == len(plant.mes.latents)
    assert plant.mes.heard[-1].topic == f"{BASE}/state/monitoring"


async def test_a_worker_that_comes_back_goes_on_where_it_stopped() -> None:
    broker = new_broker()
    async with working(broker=broker) as plant:
        await plant.play(0, 2)
        await plant.until(lambda: len(plant.mes.latents) > 10)
    first = {one.anchor_time_ns for one in plant.mes.latents}
    async with working(broker=broker) as plant:
        await plant.play(2, 4)
        await plant.windows_until(3.9)
    second = {one.anchor_time_ns for one in plant.mes.latents}
    assert first | second >= {at_ns(at / 10) for at in range(40)}


class Deaf(MemoryTransport):
    """A broker that takes nothing any more."""

    deaf = False

    async def publish(self, message: Message) -> None:
        if self.deaf:
            await asyncio.Event().wait()
        await super().publish(message)


async def test_a_worker_stops_in_time_although_the_broker_takes_nothing_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream.pipeline.DRAIN_S", 0.2)
    broker, stop = new_broker(), asyncio.Event()
    settings = configuration(broker)
    engine = Engine(settings.stations, settings.model)
    async with Deaf(broker, client_id="worker") as transport, asyncio.timeout(10):
        running = asyncio.create_task(Pipeline(settings, engine, transport).run(stop))
        await asyncio.sleep(0.2)
        transport.deaf = True
        stop.set()
        await running


class SlowEngine(Engine):
    """A model that needs its time for every batch."""

    def infer(self, windows: Sequence[Window], correcting: bool = True) -> list[Verdict]:
        time.sleep(0.02)
        return super().infer(windows, correcting)


async def test_a_slow_model_holds_the_intake_back_and_loses_nothing() -> None:
    most = 0
    async with working(engine=SlowEngine, model={"max_batch": 2}) as plant:
        playing = asyncio.create_task(plant.play(0, 30))
        while len(plant.mes.latents) < 300:
            await asyncio.sleep(0.05)
            most = max(most, plant.mes.status["windows"] - len(plant.mes.latents))
        await playing
    assert [one.anchor_time_ns for one in plant.mes.latents] == [
        at_ns(at / 10) for at in range(300)
    ]
    assert 100 < most < 160
    assert plant.mes.events == []


async def test_windows_do_not_depend_on_how_the_deliveries_interleave() -> None:
    async with working() as plant:
        await plant.play(0, 3, arm=False)
        await plant.play(0, 3, camera=False)
        await plant.windows_until(2.9)
        apart = plant.mes.latents
    async with working() as plant:
        await plant.play(0, 3)
        await plant.windows_until(2.9)
    together = plant.mes.latents

    def told(latents: Any) -> list[tuple[int, list[tuple[bool, int, int]]]]:
        return [
            (
                one.anchor_time_ns,
                [(entry.present, entry.skew_ns, entry.largest_gap_ns) for entry in one.modalities],
            )
            for one in latents
            if one.closed_by == "watermark"
        ]

    assert len(told(apart)) > 25
    assert told(apart)[:25] == told(together)[:25]


async def test_a_worker_whose_memory_is_gone_clears_what_the_one_before_had_raised() -> None:
    broker, still = new_broker(), jpeg(0)
    async with working(broker=broker) as plant:
        await plant.play(0, 3, still=still)
        await plant.until(lambda: ("camera/frozen", "raised") in plant.mes.events)
    raised = plant.mes.documents(f"{BASE}/event/fault")[-1]["data"]
    async with working(broker=broker) as plant:
        await plant.play(3, 6)
        await plant.until(lambda: plant.mes.events)
    (cleared,) = plant.mes.documents(f"{BASE}/event/fault")
    assert plant.mes.events == [("camera/frozen", "cleared")]
    assert cleared["data"]["occurrenceId"] == raised["occurrenceId"]
    assert cleared["data"]["onsetTime"] == raised["onsetTime"]


@pytest.mark.parametrize(
    "told",
    [
        {"data": {"activeState": True, "modality": "camera", "condition": "tired"}},
        {"data": {"activeState": True, "modality": "camera", "condition": "frozen"}},
        {"data": "raised"},
        [],
    ],
)
async def test_a_retained_state_that_is_none_is_not_believed(told: Any) -> None:
    broker = new_broker()
    async with MemoryTransport(broker) as stranger:
        payload = json.dumps(told).encode()
        topic = f"{BASE}/state/fault/camera/frozen"
        await stranger.publish(Message(topic=topic, payload=payload, retain=True))
    async with working(broker=broker) as plant:
        await plant.play(0, 2)
        await plant.windows_until(1.9)
        assert plant.mes.events == []
