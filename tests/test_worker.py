"""What a worker tells, on the in-memory broker, fed with nothing but plain JSON and raw JPEG."""

import asyncio
import json
import time
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from stream.proto.weldfusion_pb2 import UNAVAILABLE
from stream.transports.memory import MemoryTransport
from stream.wire import rfc3339
from stream.worker import open_worker_transport
from tests.plant import BASE, CELL, SECOND, Mes, at_ns, configuration, jpeg, new_broker, working

SCHEMAS = files("stream").joinpath("schemas")
STILL = jpeg(0.5)
FROZEN = f"{BASE}/state/fault/camera/frozen"


def schema(name: str) -> Any:
    return json.loads(SCHEMAS.joinpath(f"{name}.schema.json").read_text())


async def retained(broker: str, topic: str) -> list[dict[str, Any]]:
    """What a subscriber finds that comes later than everything."""
    mes = Mes()
    async with MemoryTransport(broker) as transport:
        await transport.subscribe([topic])
        listening = asyncio.create_task(mes.listen(transport))
        await asyncio.sleep(0.01)
        listening.cancel()
    return [json.loads(one.payload) for one in mes.heard if one.retained]


async def test_plain_json_and_raw_jpeg_become_windows() -> None:
    async with working() as plant:
        await plant.play(0, 2)
        await plant.windows_until(1.9)
        latents = plant.mes.latents
        assert [one.anchor_time_ns for one in latents] == [at_ns(at / 10) for at in range(20)]
        assert {one.station for one in latents} == {CELL}
        for one in latents[5:-2]:
            assert one.closed_by == "watermark"
            assert {entry.modality: entry.present for entry in one.modalities} == {
                "camera": True,
                "arm": True,
            }
        assert {entry.state for one in latents for entry in one.modalities} == {UNAVAILABLE}
        assert plant.mes.events == []
        assert plant.mes.dead == []


async def test_a_frozen_camera_reaches_the_mes_and_its_state_is_retained() -> None:
    async with working() as plant:
        await plant.play(0, 1)
        await plant.play(1, 3.5, still=STILL)
        await plant.until(lambda: plant.mes.events == [("camera/frozen", "raised")])
        (event,) = plant.mes.documents(f"{BASE}/event/fault")
        jsonschema.validate(event, schema("fault-event"))
        assert await retained(plant.broker, f"{BASE}/state/fault/#") == [event]
        assert event["data"]["equipment"] == {"id": "c7"}
        assert event["data"]["evidence"]["topic"] == f"{CELL}/cam"
        assert event["data"]["producer"]["instance"].startswith("worker-1@")
        await plant.until(lambda: plant.mes.status["activeAlarms"] == ["camera/frozen"])
        await plant.play(3.5, 6)
        await plant.until(lambda: plant.mes.events[1:] == [("camera/frozen", "cleared")])
        (state,) = await retained(plant.broker, FROZEN)
        assert (state["data"]["activeState"], state["data"]["retain"]) == (False, False)
        assert state["data"]["occurrenceId"] == event["data"]["occurrenceId"]


async def test_a_missing_camera_reaches_the_mes_while_windows_go_on() -> None:
    async with working() as plant:
        await plant.play(0, 1)
        await plant.play(1, 3, camera=False)
        await plant.until(lambda: ("camera/missing", "raised") in plant.mes.events)
        last = plant.mes.latents[-1]
        assert {one.modality: one.present for one in last.modalities}["arm"]
        assert not {one.modality: one.present for one in last.modalities}["camera"]
        (state,) = await retained(plant.broker, f"{BASE}/state/fault/camera/missing")
        assert state["data"]["deviceHealth"] == "failure"
        await plant.play(3, 5)
        await plant.until(lambda: ("camera/missing", "cleared") in plant.mes.events)


async def test_a_malformed_camera_reaches_the_mes() -> None:
    async with working() as plant:
        for at in range(30):
            await plant.play(at / 10, (at + 1) / 10)
            if at > 10:
                await plant.picture(at / 10 + 0.05, b"not a picture")
        await plant.until(lambda: ("camera/malformed", "raised") in plant.mes.events)
        (state,) = await retained(plant.broker, f"{BASE}/state/fault/camera/malformed")
        assert state["data"]["activeState"] is True
        assert ("camera", "not_an_image") in plant.mes.dead


async def test_the_state_of_a_condition_cleared_long_ago_is_removed() -> None:
    async with working(state_retention_s=0.1) as plant:
        await plant.play(0, 2.5, still=STILL)
        await plant.play(2.5, 4.5)
        await plant.until(lambda: ("camera/frozen", "cleared") in plant.mes.events)
        await plant.until(lambda: any(d.topic == FROZEN and not d.payload for d in plant.mes.heard))
        assert await retained(plant.broker, f"{BASE}/state/fault/#") == []


async def test_what_a_simulation_plays_is_marked_until_it_ends() -> None:
    state = {"source": "welding.mcap", "validUntil": rfc3339(time.time_ns() + 60 * SECOND)}
    async with working() as plant:
        await plant.send(f"{BASE}/state/simulation", state, retain=True)
        await plant.play(0, 2.5, still=STILL)
        await plant.until(lambda: plant.mes.events)
        await plant.send(f"{BASE}/state/simulation", b"", retain=True)
        await plant.play(2.5, 4.5)
        await plant.play(4.5, 8, still=STILL)
        await plant.until(lambda: len(plant.mes.events) == 3)
        raised, _, real = (one["data"] for one in plant.mes.documents(f"{BASE}/event/fault"))
        assert (raised["simulated"], raised["simulation"]) == (True, state)
        assert (real["simulated"], real["simulation"]) == (False, None)


async def test_a_simulation_that_died_without_a_word_ends_with_its_validity() -> None:
    state = {"source": "welding.mcap", "validUntil": rfc3339(time.time_ns() - SECOND)}
    async with working() as plant:
        await plant.send(f"{BASE}/state/simulation", state, retain=True)
        await plant.play(0, 2.5, still=STILL)
        await plant.until(lambda: plant.mes.events)
        assert plant.mes.documents(f"{BASE}/event/fault")[0]["data"]["simulated"] is False


async def test_the_production_context_is_copied_into_events() -> None:
    context = {"part": "A-17", "runState": "welding", "nested": [1, {"x": None}]}
    async with working() as plant:
        await plant.send(f"{BASE}/context", context, retain=True)
        await plant.play(0, 2.5, still=STILL)
        await plant.until(lambda: plant.mes.events)
        assert plant.mes.documents(f"{BASE}/event/fault")[0]["data"]["context"] == context


@pytest.mark.parametrize(
    "context",
    [
        b'{"temperature": NaN, "p": 1e999}',
        b"[" * 600 + b"NaN" + b"]" * 600,
        b"\xff\xfe",
        b"[" * 99_999,
    ],
)
async def test_no_context_keeps_an_event_from_being_told(context: bytes) -> None:
    async with working() as plant:
        await plant.send(f"{BASE}/context", context, retain=True)
        await plant.play(0, 2.5, still=STILL)
        await plant.until(lambda: plant.mes.events == [("camera/frozen", "raised")])


async def test_a_reset_command_unlatches_an_alarm() -> None:
    latched = {"alarms": {"camera/frozen": {"latched": True}}}
    async with working(station=latched) as plant:
        await plant.play(0, 2.5, still=STILL)
        await plant.play(2.5, 5)
        await plant.windows_until(4.9)
        assert plant.mes.events == [("camera/frozen", "raised")]
        await plant.send(f"{BASE}/command/reset", {"modality": "camera", "condition": "frozen"})
        await plant.until(lambda: plant.mes.events[1:] == [("camera/frozen", "cleared")])
        raised, cleared = (one["data"] for one in plant.mes.documents(f"{BASE}/event/fault"))
        assert cleared["occurrenceId"] == raised["occurrenceId"]
        await plant.until(lambda: plant.mes.status["activeAlarms"] == [])


async def test_commands_that_cannot_be_read_change_nothing() -> None:
    latched = {"alarms": {"camera/frozen": {"latched": True}}}
    async with working(station=latched) as plant:
        await plant.play(0, 2.5, still=STILL)
        await plant.until(lambda: plant.mes.events)
        for payload in (
            b"garbage",
            b"",
            b"[1]",
            b'{"modality": "camera", "condition": ["frozen"]}',
            b'{"modality": ["camera"], "condition": "frozen"}',
            b'{"modality": "camera", "condition": "melted"}',
            b'{"condition": "frozen"}',
        ):
            await plant.send(f"{BASE}/command/reset", payload)
        await plant.play(2.5, 4)
        await plant.windows_until(3.9)
        assert plant.mes.events == [("camera/frozen", "raised")]


async def test_a_reset_that_the_broker_kept_is_not_given_anew_after_every_reconnect() -> None:
    broker = new_broker()
    transport = MemoryTransport(broker, client_id="worker", persistent=True)
    latched = {"alarms": {"camera/frozen": {"latched": True}}}
    command = {"modality": "camera", "condition": "frozen"}
    async with working(broker=broker, transport=transport, station=latched) as plant:
        await plant.send(f"{BASE}/command/reset", command, retain=True)
        await plant.play(0, 2.5, still=STILL)
        await plant.until(lambda: plant.mes.events)
        await transport.subscribe([f"{BASE}/command/reset"])  # as a reconnect does
        await plant.play(2.5, 4)
        await plant.windows_until(3.9)
        assert plant.mes.events == [("camera/frozen", "raised")]


async def test_a_station_that_falls_silent_is_offline_until_it_speaks_again() -> None:
    async with working(station={"offline_after_ms": 300}) as plant:
        await plant.play(0, 1)
        await plant.until(lambda: plant.mes.events == [("station/offline", "raised")])
        (event,) = plant.mes.documents(f"{BASE}/event/fault")
        assert event["time"] == rfc3339(at_ns(0.98) + 300_000_000)
        await plant.play(1, 3)
        await plant.until(lambda: plant.mes.events[1:] == [("station/offline", "cleared")])


async def test_a_worker_says_of_itself_what_it_does() -> None:
    async with working() as plant:
        await plant.play(0, 1)
        await plant.send(f"{CELL}/cam", b"no picture")
        await plant.until(lambda: plant.mes.status["windows"] == 10)
        status = plant.mes.status
        jsonschema.validate(status, schema("monitoring-status"))
        assert (status["state"], status["model"], status["events"]) == ("running", "none", 0)
        assert status["validUntil"] > status["time"]
        await plant.until(lambda: plant.mes.status["dropped"] == {"not_an_image": 1})
        assert await retained(plant.broker, f"{BASE}/state/monitoring")
    jsonschema.validate(plant.mes.status, schema("monitoring-status"))
    assert plant.mes.status["state"] == "stopped"


async def test_a_worker_that_vanishes_leaves_its_last_will() -> None:
    settings = configuration(new_broker())
    transport = open_worker_transport(settings)
    assert isinstance(transport, MemoryTransport)
    async with transport:
        transport.crash()
    (will,) = await retained(settings.broker.address.servers[0][0], f"{BASE}/state/monitoring")
    jsonschema.validate(will, schema("monitoring-status"))
    assert will["state"] == "gone"


async def test_a_shadow_worker_tells_nobody_but_its_own_topics() -> None:
    async with working(shadow=True) as plant:
        await plant.play(0, 2.5, still=STILL)
        await plant.until(lambda: plant.mes.documents(f"{BASE}/shadow/event/fault/camera/frozen"))
        assert plant.mes.events == []
        assert plant.mes.documents(f"{BASE}/state/fault") == []
