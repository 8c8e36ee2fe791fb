"""The AsyncAPI document names what the code publishes, and nothing else."""

import asyncio
import inspect
import json
import re
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from google.protobuf import descriptor_pool
from jsonschema import Draft7Validator

from simulators.replay import data_message
from stream.alarms import AlarmRule, Change, Condition, Transition
from stream.config import WorkerSettings
from stream.engine import Engine
from stream.events import Surroundings
from stream.messages import Samples
from stream.outbox import Outbox
from stream.pipeline import Pipeline
from stream.topics import (
    KAFKA_COMPACTED,
    KAFKA_LOGS,
    Address,
    KafkaTopics,
    MqttTopics,
    Topics,
    topics_for,
)
from stream.transports.memory import MemoryTransport
from stream.transports.transport import Delivery, Message
from stream.worker import open_worker_transport

SCHEMAS = Path(__file__).parents[1] / "stream" / "schemas"
STATION = "acme/plant1/hall2/line3/cell4"
S = 1_000_000_000
T0 = 1_760_000_000 * S
PLACEHOLDERS = "{enterprise}/{site}/{area}/{line}/{cell}"


@lru_cache(maxsize=1)
def asyncapi() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((SCHEMAS / "asyncapi.yaml").read_text())
    return document


def resolved(node: Any) -> Any:
    """What a reference inside the document means."""
    while isinstance(node, dict) and set(node) == {"$ref"} and node["$ref"].startswith("#/"):
        found: Any = asyncapi()
        for part in node["$ref"][2:].split("/"):
            found = found[part]
        node = found
    return node


def channel_of(topic: str) -> dict[str, Any]:
    for channel in asyncapi()["channels"].values():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(channel["address"]))
        if re.fullmatch(pattern, topic):
            found: dict[str, Any] = channel
            return found
    raise AssertionError(f"{topic} is in no channel")


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def settings(broker: str) -> WorkerSettings:
    vector = {"kind": "vector", "rate_hz": 100, "samples": 2, "channels": 1}
    station = {
        "id": STATION,
        "modalities": {"left": vector, "right": vector},
        "idle_timeout_ms": 30,
        "offline_after_ms": 100,
        "alarms": {"default": {"on_delay_ms": 0, "off_delay_ms": 0}},
    }
    return WorkerSettings.model_validate(
        {
            "kind": "worker",
            "broker": {"url": broker},
            "stations": [station],
            "status_interval_s": 0.05,
            "state_retention_s": 0,
        }
    )


def reading(modality: str, time_ns: int) -> Message:
    sample = Samples(
        modality=modality,
        times_ns=np.array([time_ns]),
        values=np.array([[time_ns % 7.0]]),
    )
    return data_message(MqttTopics(), STATION, sample)


async def play(station: MemoryTransport, done: Callable[[], bool]) -> None:
    """Both sensors, then one alone with a late and a broken message, then silence."""
    start_ns = time.time_ns()
    for step in range(20):
        for modality in ("left", "right"):
            await station.publish(reading(modality, start_ns + step * S // 100))
    late = reading("left", start_ns + S // 200)
    await station.publish(late)
    broken = reading("right", start_ns)
    await station.publish(Message(topic=broken.topic, payload=b"\xff" * 9))
    step = 20
    while not done():
        step += 1
        await station.publish(reading("left", start_ns + step * S // 100))
        await asyncio.sleep(0.01)


async def heard_from_a_worker() -> list[Delivery]:
    """Everything that a worker publishes until it has told of a missing sensor, and its will."""
    broker = "memory://schemas"
    config = settings(broker)
    heard: list[Delivery] = []

    async def listen(observer: MemoryTransport) -> None:
        async for delivery in observer.deliveries():
            heard.append(delivery)  # noqa: PERF401 (others look into it meanwhile)

    def done() -> bool:
        topics = {one.topic for one in heard}
        ends = {topic.rpartition("/")[2] for topic in topics}
        return {"late", "dlq", "monitoring", "latent", "missing"} <= ends

    async with MemoryTransport("schemas") as observer, MemoryTransport("schemas") as station:
        await observer.subscribe(["#"])
        listening = asyncio.create_task(listen(observer))
        async with open_worker_transport(config) as transport:
            stop = asyncio.Event()
            pipeline = Pipeline(config, Engine(config.stations, config.model), transport)
            running = asyncio.create_task(pipeline.run(stop))
            await asyncio.sleep(0.05)
            await play(station, lambda: done() or running.done())
            stop.set()
            await running
            assert isinstance(transport, MemoryTransport)
            transport.crash()
        await asyncio.sleep(0.05)
        listening.cancel()
    return heard


async def test_everything_that_a_worker_publishes_is_promised_by_asyncapi() -> None:
    own = re.compile(r"data/vector/")
    seen = set()
    for delivery in await heard_from_a_worker():
        if own.search(delivery.topic):
            continue
        channel = channel_of(delivery.topic)
        (message,) = channel["messages"].values()
        message = resolved(message)
        seen.add(channel["address"].rpartition("v1/")[2])
        if delivery.payload:
            assert delivery.headers["content-type"] == message["contentType"]
        if delivery.payload and message["payload"]["schemaFormat"].startswith("application/schema"):
            schema = json.loads((SCHEMAS / message["payload"]["schema"]["$ref"]).read_text())
            errors = Draft7Validator(schema).iter_errors(json.loads(delivery.payload))
            assert [error.message for error in errors] == [], delivery.topic
    assert seen == {
        "data/latent",
        "event/fault/{modality}/{condition}",
        "state/fault/{modality}/{condition}",
        "state/monitoring",
        "late",
        "dlq",
    }


def addresses(topics: Topics) -> set[str]:
    """Every address that the code can make, with AsyncAPI's placeholders in it."""
    choices: dict[str, list[Any]] = {
        "station": [PLACEHOLDERS],
        "kind": ["image", "vector"],
        "modality": ["{modality}"],
        "condition": ["{condition}"],
        "shadow": [False, True],
        "name": ["inject", "reset"],
    }
    found = set()
    for name, method in inspect.getmembers(topics, inspect.ismethod):
        if name.startswith("_"):
            continue
        combinations: list[dict[str, Any]] = [{}]
        for parameter in inspect.signature(method).parameters:
            combinations = [
                {**one, parameter: value} for one in combinations for value in choices[parameter]
            ]
        for arguments in combinations:
            address = method(**arguments)
            assert isinstance(address, Address)
            found.add(address.topic)
    return found


@pytest.mark.parametrize("broker", ["mqtt", "kafka"])
def test_asyncapi_names_every_address_of_the_code_and_no_other(broker: str) -> None:
    named = {
        channel["address"]
        for channel in asyncapi()["channels"].values()
        if channel["servers"] == [{"$ref": f"#/servers/{broker}"}]
    }
    known = set(KAFKA_COMPACTED + KAFKA_LOGS) if broker == "kafka" else set()
    assert named == addresses(topics_for(f"{broker}://host")) | known


def test_asyncapi_names_the_kafka_topics_that_are_compacted() -> None:
    policies = {
        channel["address"]: " ".join(
            channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"]
        )
        for name, channel in asyncapi()["channels"].items()
        if name.startswith("kafka")
    }
    assert policies == {
        **dict.fromkeys(KAFKA_COMPACTED, "compact"),
        **dict.fromkeys(KAFKA_LOGS, "delete"),
    }


def test_every_reference_of_asyncapi_leads_somewhere() -> None:
    for reference in set(references(asyncapi())):
        if reference.startswith("#/"):
            assert isinstance(resolved({"$ref": reference}), dict), reference
        else:
            assert (SCHEMAS / reference).is_file(), reference


def test_every_schema_is_the_payload_of_a_message_and_every_protobuf_message_exists() -> None:
    messages = asyncapi()["components"]["messages"].values()
    payloads = [message["payload"] for message in messages if "payload" in message]
    named = {(SCHEMAS / payload["schema"]["$ref"]).name for payload in payloads}
    assert {file.name for file in SCHEMAS.glob("*.schema.json")} <= named
    pool = descriptor_pool.Default()
    for payload in payloads:
        if name := payload.get("x-protobuf-message"):
            file = pool.FindMessageTypeByName(name).file.name
            assert Path(file).name == Path(payload["schema"]["$ref"]).name


def test_the_structure_of_asyncapi_holds_together() -> None:
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    for name, channel in document["channels"].items():
        wanted = set(re.findall(r"\{(\w+)\}", channel["address"]))
        assert set(channel.get("parameters", {})) == wanted, name
    for name, operation in document["operations"].items():
        assert operation["action"] in ("send", "receive"), name
        channel = operation["channel"]["$ref"]
        assert all(one["$ref"].startswith(f"{channel}/messages/") for one in operation["messages"])
    used = {operation["channel"]["$ref"] for operation in document["operations"].values()}
    assert used == {f"#/channels/{name}" for name in document["channels"]}


def test_asyncapi_tells_an_mes_on_kafka_to_read_committed() -> None:
    document = asyncapi()
    consumer = document["servers"]["kafka"]["x-consumer-configuration"]
    assert consumer == {"isolation.level": "read_committed"}
    assert "isolation.level=read_committed" in document["info"]["description"]


def test_every_condition_of_the_code_is_in_the_addresses() -> None:
    conditions = {str(condition) for condition in Condition}
    assert set(asyncapi()["components"]["parameters"]["condition"]["enum"]) == conditions


def test_the_reason_on_kafka_stands_in_the_promised_headers() -> None:
    delivery = Delivery(topic="plant/cam", payload=b"xxxx", received_ns=T0)
    letter = Outbox(KafkaTopics()).dead_letter(delivery, STATION, "camera", "not_an_image", "x")
    headers = Draft7Validator(asyncapi()["components"]["schemas"]["refusalHeaders"])
    assert list(headers.iter_errors(dict(letter.headers))) == []
    assert list(headers.iter_errors({})) != []


def fault_messages(outbox: Outbox) -> list[Message]:
    change = Change(
        transition=Transition.RAISED,
        modality="camera",
        condition=Condition.SIGNAL,
        time_ns=T0,
        epoch=0,
        raised_epoch=0,
        onset_ns=T0,
        raised_ns=T0,
        severity=714,
        score=2.5,
        rule=AlarmRule(),
        facts={},
    )
    return outbox.fault(change, Surroundings(station=STATION, producer={}))


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ("mqttWorkerSendsFaults", lambda out: fault_messages(out)[0]),
        ("mqttWorkerSendsFaultState", lambda out: fault_messages(out)[1]),
        ("mqttWorkerSendsMonitoring", lambda out: out.monitoring(STATION, {})),
        ("mqttSimulatorSendsVectors", lambda _: reading("left", T0)),
    ],
)
def test_asyncapi_gives_the_qos_and_retain_flag_that_are_sent(
    operation: str, message: Callable[[Outbox], Message]
) -> None:
    sent = message(Outbox(MqttTopics()))
    promised = asyncapi()["operations"][operation]
    assert promised["bindings"]["mqtt"]["qos"] == sent.qos
    assert promised["bindings"]["mqtt"]["retain"] == sent.retain
    assert resolved(promised["channel"]) == channel_of(sent.topic)
