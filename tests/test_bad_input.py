"""Whatever comes in gives one clear reason, and the windows go on."""

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from stream.inputs import TIME_HEADER
from stream.messages import Frame, Samples
from stream.wire import encode_frame, encode_samples
from tests.plant import BASE, CELL, OTHER, SITE, Plant, at_ns, jpeg, working
from weldfusion import app

YEAR_S = 365 * 86_400.0
AT_S = 2.003  # between two readings, so that its time is its own
ROWS = {  # the robot's values as an array, so that their number is the payload's
    "topic": "{enterprise}/{site}/{area}/{line}/{cell}/robot",
    "modality": "arm",
    "format": "json",
    "json": {"time": "/ts", "time_unit": "ns", "values": "/axes"},
}
CAM = {
    "topic": "{enterprise}/{site}/{area}/{line}/{cell}/cam",
    "modality": "camera",
    "format": "jpeg",
    "time": "header",
}
MAPPED = {"inputs": [ROWS, CAM]}
OWN: dict[str, Any] = {"inputs": []}

Bad = Callable[[Plant], Awaitable[None]]


def huge() -> bytes:
    """A JPEG whose header promises 100 megapixels."""
    data = jpeg(1)
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", 10_000, 10_000) + data[at + 4 :]


def robot(payload: bytes) -> Bad:
    return lambda plant: plant.send(f"{CELL}/robot", payload)


def axes(values: Any, second: float = AT_S) -> Bad:
    return lambda plant: plant.axes(second, values)


def camera(data: bytes, second: float = AT_S) -> Bad:
    return lambda plant: plant.picture(second, data)


def unstamped(headers: dict[str, str]) -> Bad:
    return lambda plant: plant.send(f"{CELL}/cam", jpeg(1), headers=headers)


BAD_READINGS: dict[str, tuple[Bad, str, str]] = {
    "garbage instead of JSON": (robot(b"\x00\x01garbage"), "arm", "undecodable_json"),
    "nothing instead of JSON": (robot(b""), "arm", "undecodable_json"),
    "JSON without end": (robot(b"[" * 99_999), "arm", "undecodable_json"),
    "joints that are NaN": (axes([float("nan"), 1.0]), "arm", "undecodable_json"),
    "joints that are infinite": (
        robot(b'{"ts": 1760000002003000000, "axes": [1e999, 0]}'),
        "arm",
        "not_finite",
    ),
    "joints that are null": (axes([None, 1.0]), "arm", "not_a_number"),
    "too few joints": (axes([0.5]), "arm", "wrong_channels"),
    "too many joints": (axes([0.5] * 3), "arm", "wrong_channels"),
    "no joints": (robot(b'{"ts": 1760000002003000000}'), "arm", "missing_field"),
    "joints a year ahead": (axes([0.0, 0.0], YEAR_S), "arm", "jump"),
    "joints of the year 2300": (
        robot(b'{"ts": 10413792000000000000, "axes": [0, 0]}'),
        "arm",
        "bad_time",
    ),
    "joints from before 1970": (robot(b'{"ts": -5, "axes": [0, 0]}'), "arm", "bad_time"),
    "garbage instead of a picture": (camera(b"\x00\x01garbage"), "camera", "not_an_image"),
    "a picture cut in half": (camera(jpeg(1)[: len(jpeg(1)) // 2]), "camera", "truncated_image"),
    "a picture's first bytes": (camera(jpeg(1)[:10]), "camera", "truncated_image"),
    "a picture of 100 megapixels": (camera(huge()), "camera", "image_too_large"),
    "a picture a year ahead": (camera(jpeg(1), YEAR_S), "camera", "jump"),
    "a picture without a time": (unstamped({}), "camera", "bad_time"),
    "a picture with a silly time": (unstamped({TIME_HEADER: "²"}), "camera", "bad_time"),
}


@pytest.mark.parametrize("name", BAD_READINGS)
async def test_one_bad_reading_is_one_dead_letter_and_the_windows_go_on(name: str) -> None:
    send, modality, reason = BAD_READINGS[name]
    async with working(**MAPPED) as plant:
        await plant.play(0, 2)
        await send(plant)
        await plant.play(2, 4)
        await plant.windows_until(3.9)
        assert plant.mes.dead == [(modality, reason)]
        assert [one.anchor_time_ns for one in plant.mes.latents] == [
            at_ns(at / 10) for at in range(40)
        ]
        await plant.until(lambda: plant.mes.status["dropped"] == {reason: 1})
        assert plant.mes.events == []


async def test_a_reading_from_the_past_is_late_and_told_with_how_late_it_was() -> None:
    async with working(**MAPPED) as plant:
        await plant.play(0, 3)
        await plant.axes(0.503)
        await plant.play(3, 4)
        await plant.windows_until(3.9)
        (late,) = plant.mes.documents(f"{SITE}/late")
        assert (late["reason"], late["modality"]) == ("late", "arm")
        assert 2000 < late["lateMs"] < 2600
        assert plant.mes.dead == []
        await plant.until(lambda: plant.mes.status["dropped"] == {"late": 1})


async def test_readings_that_come_twice_are_counted_and_told_to_nobody() -> None:
    async with working(**MAPPED) as plant:
        for at in range(100):
            for _ in range(2):
                await plant.axes(at / 50)
                if at % 5 == 0:
                    await plant.picture(at / 50)
        await plant.windows_until(1.9)
        await plant.until(lambda: plant.mes.status["dropped"] == {"duplicate": 120})
        assert plant.mes.dead == []
        assert plant.mes.documents(f"{SITE}/late") == []
        assert len(plant.mes.latents) == 20


async def test_time_that_runs_backwards_begins_a_new_epoch() -> None:
    async with working(**MAPPED) as plant:
        await plant.play(100, 102)
        await plant.windows_until(101.8)
        await plant.play(0, 2)
        await plant.until(lambda: plant.mes.latents[-1].anchor_time_ns == at_ns(1.9))
        epochs = {one.epoch: one.anchor_time_ns for one in reversed(plant.mes.latents)}
        assert epochs == {0: at_ns(100), 1: at_ns(0)}
        assert plant.mes.dead == []


async def test_what_belongs_to_no_station_is_a_dead_letter_and_a_counter_only() -> None:
    async with working(**MAPPED) as plant:
        await plant.play(0, 1)
        await plant.send(f"{OTHER}/robot", {"ts": at_ns(1), "axes": [0, 0]})
        await plant.play(1, 2)
        await plant.windows_until(1.9)
        (dead,) = plant.mes.documents(f"{SITE}/dlq")
        assert (dead["station"], dead["modality"], dead["reason"]) == ("", "", "unknown_station")
        assert OTHER in dead["detail"]
        await plant.until(lambda: plant.mes.status["dropped"] == {"unknown_station": 1})
        assert {one.station for one in plant.mes.latents} == {CELL}


def frame(second: float, data: bytes | None = None) -> bytes:
    stamped = Frame(
        modality="camera", time_ns=at_ns(second), data=data or jpeg(second), format="jpeg"
    )
    return encode_frame(stamped)


def batch(second: float, values: Any = (0.1, 0.2)) -> bytes:
    rows = np.array([values], np.float64)
    times = np.array([at_ns(second)], np.int64)
    moving = rows + second
    return encode_samples(Samples(modality="arm", times_ns=times, values=moving))


ON_OUR_WIRE: dict[str, tuple[str, bytes, str]] = {
    "garbage instead of a picture": ("image/camera", b"\xff" * 50, "undecodable_protobuf"),
    "a picture cut in half": ("image/camera", frame(AT_S, jpeg(1)[:400]), "truncated_image"),
    "a picture of 100 megapixels": ("image/camera", frame(AT_S, huge()), "image_too_large"),
    "garbage instead of joints": ("vector/arm", b"\xff" * 50, "undecodable_protobuf"),
    "joints that are NaN": ("vector/arm", batch(AT_S, (float("nan"), 1)), "not_finite"),
    "too many joints": ("vector/arm", batch(AT_S, (1, 2, 3)), "wrong_channels"),
    "joints a year ahead": ("vector/arm", batch(YEAR_S), "jump"),
}


@pytest.mark.parametrize("name", ON_OUR_WIRE)
async def test_bad_input_on_our_own_topics_is_one_dead_letter(name: str) -> None:
    topic, payload, reason = ON_OUR_WIRE[name]
    async with working(**OWN) as plant:
        for at in range(150):
            await plant.send(f"{BASE}/data/vector/arm", batch(at / 50))
            if at % 5 == 0:
                await plant.send(f"{BASE}/data/image/camera", frame(at / 50))
            if at == 100:
                await plant.send(f"{BASE}/data/{topic}", payload)
        await plant.windows_until(2.9)
        assert plant.mes.dead == [(topic.rpartition("/")[2], reason)]
        assert len(plant.mes.latents) == 30
        await plant.until(lambda: plant.mes.status["dropped"] == {reason: 1})


# A source that sends nothing but bad input is as good as silent: it stops no windows


async def bad_camera(plant: Plant, second: float) -> None:
    await plant.picture(second, b"no picture")


async def stuck_camera(plant: Plant, second: float) -> None:
    await plant.picture(0.9)


async def late_camera(plant: Plant, second: float) -> None:
    await plant.picture(1 + second / 10_000)


@pytest.mark.parametrize("after_silence", [False, True], ids=["at once", "after a silence"])
@pytest.mark.parametrize("bad", [bad_camera, stuck_camera, late_camera])
async def test_a_camera_that_sends_nothing_usable_stops_no_windows(
    bad: Callable[[Plant, float], Awaitable[None]], after_silence: bool
) -> None:
    async with working(**MAPPED, arm={"channels": 2}) as plant:
        await plant.play(0, 4)
        await plant.windows_until(3.9 if after_silence else 3.5)
        second = 4.0
        while ("camera/missing", "raised") not in plant.mes.events:
            await bad(plant, second)
            await plant.play(second, second + 0.1, camera=False)
            second += 0.1
            await pause()
        assert plant.mes.latents[-1].anchor_time_ns > at_ns(4)
        await plant.play(second, second + 3)
        await plant.until(lambda: ("camera/missing", "cleared") in plant.mes.events)


async def test_a_robot_that_sends_the_wrong_number_of_joints_for_ever_stops_no_windows() -> None:
    async with working(**MAPPED) as plant:
        await plant.play(0, 2)
        second = 2.0
        while ("arm/missing", "raised") not in plant.mes.events:
            await plant.picture(second)
            for _ in range(5):
                await plant.axes(second, [1.0, 2.0, 3.0])
                second += 0.02
            await pause()
        await plant.until(lambda: ("arm/malformed", "raised") in plant.mes.events)
        assert plant.mes.latents[-1].anchor_time_ns > at_ns(2)


async def pause() -> None:
    await asyncio.sleep(0.01)


async def test_a_flood_of_bad_input_is_counted_whole_and_told_in_part() -> None:
    async with working(**MAPPED) as plant:
        for at in range(2000):
            await plant.send(f"{CELL}/robot", b"garbage %d" % at)
        await plant.play(0, 2)
        await plant.windows_until(1.9)
        await plant.until(lambda: plant.mes.status["dropped"] == {"undecodable_json": 2000})
        assert 0 < len(plant.mes.dead) < 500


async def test_everything_bad_at_once_leaves_the_windows_as_they_are() -> None:
    async with working(**MAPPED) as plant:
        rng = np.random.default_rng(0)
        names = list(BAD_READINGS)
        for at in range(100):
            await plant.play(at / 25, (at + 1) / 25)
            if at % 4 == 0:
                await BAD_READINGS[names[int(rng.integers(len(names)))]][0](plant)
        await plant.windows_until(3.9)
        assert [one.anchor_time_ns for one in plant.mes.latents] == [
            at_ns(at / 10) for at in range(40)
        ]


def test_a_worker_with_five_mistakes_in_its_configuration_names_all_five(tmp_path: Path) -> None:
    path = tmp_path / "worker.yaml"
    modality = {"kind": "image", "rate_hz": -1, "size": [1, 1]}
    content = {
        "kind": "worker",
        "broker": {"url": "ftp://host"},
        "stations": [{"id": "nowhere", "modalities": {"camera": modality}}],
        "name": "two words",
    }
    path.write_text(json.dumps(content))
    result = CliRunner().invoke(app, ["worker", str(path)])
    assert result.exit_code == 2
    lines = result.output.strip().splitlines()
    assert sorted(line.strip().split(":")[0] for line in lines[1:]) == [
        "broker.url",
        "name",
        "stations.0.id",
        "stations.0.modalities.camera.rate_hz",
        "stations.0.modalities.camera.size",
    ]
    assert "Traceback" not in result.output
