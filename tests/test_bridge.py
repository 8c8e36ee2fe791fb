"""A bridge between two brokers in memory: what goes over, what waits, and what is refused."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.bridge import Bridge, read_bridge
from stream.config import BridgeSettings, ConfigError, parse
from stream.inputs import MODALITY_HEADER, TIME_HEADER
from stream.messages import Frame, Samples
from stream.topics import MqttTopics
from stream.transports.memory import MemoryTransport
from stream.transports.transport import Delivery, Message, TransportError
from stream.wire import encode_frame, encode_samples
from tests.mapping import (
    CELL,
    JPEG,
    KEY,
    MS,
    OTHER,
    TIME,
    bare,
    frame_of,
    mapped,
    own,
    plain,
    samples_of,
)
from tests.plant import new_broker

MQTT = MqttTopics()
ARM, CAMERA = MQTT.data(CELL, "vector", "arm").topic, MQTT.data(CELL, "image", "camera").topic
VECTORS, IMAGES = "weldfusion.vectors.v1", "weldfusion.images.v1"
DLQ = "acme/plant1/_weldfusion/v1/dlq"
PATIENCE_S = 20
BATCH = Samples(
    modality="arm", times_ns=np.array([TIME, TIME + 8 * MS]), values=np.array([[1.0], [2.0]])
)


def settings(*inputs: dict[str, Any], **source: Any) -> BridgeSettings:
    modalities = {
        "camera": {"kind": "image", "rate_hz": 15},
        "arm": {"kind": "vector", "rate_hz": 125},
    }
    content = {
        "kind": "bridge",
        "from": {"url": "memory://mqtt", **source},
        "to": {"url": "memory://kafka"},
        "stations": [{"id": CELL, "modalities": modalities}],
        "inputs": inputs,
    }
    return parse(content, BridgeSettings, "bridge.yaml")


class Log(MemoryTransport):
    """The far broker: what it took, in order, and whether it takes anything at present."""

    def __init__(self, name: str, **more: Any) -> None:
        super().__init__(name, **more)
        self.asked, self.takes = 0, asyncio.Event()
        self.takes.set()

    async def publish(self, message: Message) -> None:
        self.asked += 1
        await self.takes.wait()
        await super().publish(message)


class Sites:
    """A plant on one broker, a reader on the other, and the bridge between them."""

    def __init__(self, near: str, far: str) -> None:
        self.near, self.far = near, far
        self.plant, self.reader = MemoryTransport(near), MemoryTransport(far)
        self.arrived: list[Delivery] = []
        self.letters: list[dict[str, Any]] = []
        self.listening: list[asyncio.Task[None]] = []

    async def send(self, topic: str, payload: bytes, **more: Any) -> None:
        await self.plant.publish(Message(topic=topic, payload=payload, **more))

    async def hear(self) -> None:
        await self.plant.subscribe([DLQ])
        await self.reader.subscribe(["#"])
        self.listening = [
            asyncio.create_task(self._read(self.reader, self.arrived.append)),
            asyncio.create_task(
                self._read(self.plant, lambda one: self.letters.append(json.loads(one.payload)))
            ),
        ]

    async def _read(self, transport: MemoryTransport, take: Callable[[Delivery], None]) -> None:
        async for delivery in transport.deliveries():
            take(delivery)

    @property
    def payloads(self) -> list[bytes]:
        return [one.payload for one in self.arrived]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 whatever is waited for is a plain fact
                await asyncio.sleep(0.002)


@contextlib.asynccontextmanager
async def sites() -> AsyncIterator[Sites]:
    both = Sites(new_broker(), new_broker())
    async with both.plant, both.reader:
        await both.hear()
        yield both
        for task in both.listening:
            task.cancel()


def session(both: Sites) -> MemoryTransport:
    return MemoryTransport(both.near, client_id="bridge", persistent=True)


@contextlib.asynccontextmanager
async def carrying(
    both: Sites, configured: BridgeSettings | None = None, log: Log | None = None
) -> AsyncIterator[Bridge]:
    """A running bridge, which drains when the block is left."""
    stop = asyncio.Event()
    async with log or Log(both.far) as far, session(both) as near:
        bridge = Bridge(configured or settings(), near, far, now_ns=lambda: 0)
        running = asyncio.create_task(bridge.run(stop))
        await asyncio.sleep(0)  # it subscribes
        try:
            yield bridge
        finally:
            stop.set()
            await running


# What goes over


async def test_readings_arrive_where_a_worker_on_kafka_takes_them_for_what_they_are() -> None:
    picture = Frame(modality="camera", time_ns=TIME, data=JPEG, format="jpeg")
    async with sites() as both, carrying(both) as bridge:
        await both.send(ARM, encode_samples(BATCH), headers={"a": "b"}, content_type="x/y")
        await both.send(CAMERA, encode_frame(picture))
        await both.until(lambda: len(both.arrived) == 2)
    arm, camera = both.arrived
    assert (arm.topic, arm.key) == (VECTORS, KEY)
    assert arm.headers == {"a": "b", "content-type": "x/y", MODALITY_HEADER: "arm"}
    assert arm.payload == encode_samples(BATCH)
    assert (camera.topic, camera.key) == (IMAGES, KEY)
    worker = own(True)
    assert samples_of(worker, arm).times_ns.tolist() == BATCH.times_ns.tolist()
    assert frame_of(worker, camera).time_ns == TIME
    carried = bridge.metrics.registry.get_sample_value
    assert carried("weldfusion_carried_total", {"station": CELL, "modality": "arm"}) == 1


async def test_a_plants_own_formats_keep_payload_stamp_and_time_of_receipt() -> None:
    tree = "{enterprise}/{site}/{area}/{line}/{cell}"
    inputs = [plain(f"{tree}/robot"), bare(f"{tree}/cam", "arrival"), bare(f"{tree}/eye", "header")]
    there = [plain(VECTORS), bare(IMAGES, "broker")]
    async with sites() as both, carrying(both, settings(*inputs)) as _:
        await both.send(f"{CELL}/robot", json.dumps({"t": 1000, "q": [1.0, 2.0]}).encode())
        await both.send(f"{CELL}/cam", JPEG, time_ns=TIME)
        await both.send(f"{CELL}/eye", JPEG, headers={TIME_HEADER: str(TIME)})
        await both.until(lambda: len(both.arrived) == 3)
    robot, cam, eye = both.arrived
    worker = mapped(*there, kafka=True)
    assert samples_of(worker, robot).times_ns.tolist() == [1_000_000_000]
    assert frame_of(worker, cam).time_ns == TIME
    assert frame_of(mapped(bare(IMAGES, "header"), kafka=True), eye).time_ns == TIME
    assert [cam.payload, eye.payload] == [JPEG, JPEG]


async def test_what_a_worker_hears_besides_readings_goes_over_as_well() -> None:
    base = f"{CELL}/_weldfusion/v1"
    async with sites() as both:
        await both.send(f"{base}/state/simulation", b'{"source": "x"}', retain=True)
        await both.send(f"{base}/command/reset", b"{}", retain=True)
        async with carrying(both):
            await both.until(lambda: len(both.arrived) == 1 and len(both.letters) == 1)
            await both.send(f"{base}/context", b'{"part": 1}')
            await both.send(f"{base}/command/reset", b'{"modality": "arm"}')
            await both.send(f"{base}/state/simulation", b"", retain=True)
            await both.until(lambda: len(both.arrived) == 4)
    assert [(one.topic, one.key, one.payload) for one in both.arrived] == [
        ("weldfusion.simulation.v1", KEY, b'{"source": "x"}'),
        ("weldfusion.context.v1", KEY, b'{"part": 1}'),
        ("weldfusion.commands.v1", KEY, b'{"modality": "arm"}'),
        ("weldfusion.simulation.v1", KEY, b""),
    ]
    assert both.arrived[2].headers == {"name": "reset"}
    assert both.letters[0]["reason"] == "retained_command"


# What is refused


async def test_what_belongs_to_no_station_is_a_dead_letter_where_it_came_from() -> None:
    wide = plain("{enterprise}/{site}/{area}/{line}/{cell}/robot")
    async with sites() as both, carrying(both, settings(wide)) as bridge:
        for number in range(30):
            await both.send(f"{OTHER}/robot", b"%d" % number)
        await both.send(f"{CELL}/robot", b"ours")
        await both.until(lambda: len(both.arrived) == 1 and len(both.letters) == 20)
    assert both.payloads == [b"ours"]
    assert {one["reason"] for one in both.letters} == {"unknown_station"}
    assert both.letters[0]["topic"] == f"{OTHER}/robot"
    refused = bridge.metrics.registry.get_sample_value
    assert refused("weldfusion_refused_total", {"station": "", "modality": ""}) == 30
    async with session(both) as again:
        assert again.exhausted("#")


async def test_what_is_too_large_is_a_dead_letter_and_holds_nothing_up() -> None:
    async with sites() as both, carrying(both, log=Log(both.far, max_message_bytes=10)):
        for payload in (b"1", bytes(11), b"3"):
            await both.send(ARM, payload)
        await both.until(lambda: len(both.arrived) == 2 and len(both.letters) == 1)
    assert both.payloads == [b"1", b"3"]
    (letter,) = both.letters
    assert (letter["reason"], letter["station"], letter["modality"]) == ("too_large", CELL, "arm")
    async with session(both) as again:
        assert again.exhausted("#")


class Forbidding(Log):
    """A broker that refuses whoever asks."""

    async def publish(self, message: Message) -> None:
        raise TransportError("memory://kafka refuses: not authorized")


async def test_what_kafka_refuses_for_another_reason_ends_the_bridge_and_comes_again() -> None:
    async with sites() as both:
        async with carrying(both):
            pass
        await both.send(ARM, b"1")
        await both.send(ARM, b"2")
        async with session(both) as near, Forbidding(both.far) as far:
            bridge = Bridge(settings(), near, far)
            with pytest.raises(TransportError, match="not authorized"):
                await bridge.run(asyncio.Event())
        async with carrying(both):
            await both.until(lambda: len(both.arrived) == 2)
    assert both.payloads == [b"1", b"2"]
    assert both.letters == []


# What waits


async def test_nothing_is_acknowledged_that_kafka_does_not_have() -> None:
    async with sites() as both:
        near = session(both)
        async with Log(both.far) as log, near:
            bridge = asyncio.create_task(Bridge(settings(), near, log).run(asyncio.Event()))
            await asyncio.sleep(0)
            await both.send(ARM, b"1")
            await both.until(lambda: len(both.arrived) == 1)
            log.takes.clear()
            for payload in (b"2", b"3"):
                await both.send(ARM, payload)
            await both.until(lambda: log.asked == 3)
            near.crash()
            bridge.cancel()
            await asyncio.gather(bridge, return_exceptions=True)
        async with carrying(both):
            await both.until(lambda: len(both.arrived) == 3)
    assert both.payloads == [b"1", b"2", b"3"]


async def test_no_more_is_under_way_than_asked_for_and_all_goes_on_in_order() -> None:
    async with sites() as both:
        log = Log(both.far)
        async with carrying(both, settings(receive_maximum=5), log) as bridge:
            log.takes.clear()
            for number in range(50):
                await both.send(ARM if number % 2 else CAMERA, b"%d" % number)
            await both.until(lambda: log.asked == 5)
            waiting = bridge.metrics.registry.get_sample_value("weldfusion_waiting")
            assert (waiting, log.asked) == (5, 5)
            log.takes.set()
            await both.until(lambda: len(both.arrived) == 50)
            assert bridge.metrics.registry.get_sample_value("weldfusion_waiting") == 0
    assert both.payloads == [b"%d" % number for number in range(50)]


class Late(Log):
    """A broker that has the later messages before the first one."""

    async def publish(self, message: Message) -> None:
        if message.payload == b"first":
            await self.takes.wait()
        await MemoryTransport.publish(self, message)


async def test_acknowledgements_go_out_in_the_order_of_the_messages() -> None:
    async with sites() as both:
        log, stop = Late(both.far), asyncio.Event()
        log.takes.clear()
        acknowledged: list[bytes] = []

        class Watched(MemoryTransport):
            def acknowledge(self, delivery: Delivery) -> None:
                acknowledged.append(delivery.payload)

        near = Watched(both.near, client_id="bridge", persistent=True)
        async with log, near:
            running = asyncio.create_task(Bridge(settings(), near, log).run(stop))
            await asyncio.sleep(0)
            for payload in (b"first", b"second", b"third"):
                await both.send(ARM, payload)
            await both.until(lambda: len(both.arrived) == 2)
            assert acknowledged == []
            log.takes.set()
            stop.set()
            await running
    assert acknowledged == [b"first", b"second", b"third"]


async def test_a_bridge_that_is_stopped_finishes_what_it_has_begun() -> None:
    async with sites() as both:
        log = Log(both.far)
        async with carrying(both, log=log):
            log.takes.clear()
            for number in range(20):
                await both.send(ARM, b"%d" % number)
            await both.until(lambda: log.asked == 20)
            asyncio.get_running_loop().call_later(0.05, log.takes.set)
        await both.until(lambda: len(both.arrived) == 20)
        async with session(both) as again:
            assert again.exhausted("#")


async def test_a_bridge_stops_in_time_although_kafka_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream.bridge.DRAIN_S", 0.1)
    async with sites() as both:
        log = Log(both.far)
        async with carrying(both, log=log):
            log.takes.clear()
            await both.send(ARM, b"1")
            await both.until(lambda: log.asked == 1)
        async with carrying(both):
            await both.until(lambda: both.payloads == [b"1"])


# Configuration


def test_a_bridge_reads_from_mqtt_and_writes_to_kafka(tmp_path: Path) -> None:
    path = tmp_path / "bridge.yaml"
    path.write_text(
        "kind: bridge\nfrom: {url: 'mqtt://one'}\nto: {url: 'kafka://two'}\n"
        f"stations: [{{id: {CELL}, modalities: {{arm: {{kind: vector, rate_hz: 125}}}}}}]\n"
    )
    given = read_bridge(path, ["name=b"], source="mqtts://three", insecure=True)
    assert (given.name, given.source.url, given.target.url) == ("b", "mqtts://three", "kafka://two")
    assert given.source.insecure
    assert given.target.insecure
    with pytest.raises(ConfigError) as caught:
        read_bridge(path, source="kafka://three", target="mqtt://four")
    assert caught.value.problems == (
        "from: must be a broker of mqtt://, not kafka://",
        "to: must be a broker of kafka://, not mqtt://",
    )
    path.write_text("kind: worker\n")
    with pytest.raises(ConfigError, match="must be 'bridge', not 'worker'"):
        read_bridge(path)


def test_what_may_be_a_secret_is_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "bridge.yaml"
    path.write_text("kind: bridge\nfrom: mqtt://me:hunter2@one\nto: {url: 'kafka://u:hunter2@x'}\n")
    with pytest.raises(ConfigError) as caught:
        read_bridge(path)
    assert "hunter2" not in str(caught.value)
