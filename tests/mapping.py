"""The inputs of one station or more, and what they read from a delivery."""

import json
from typing import Any

import numpy as np
import pytest

from stream.config import StationSettings
from stream.images import encode_jpeg
from stream.input_settings import InputSettings
from stream.inputs import Inputs
from stream.messages import Frame, Malformed, Reading, Samples
from stream.topics import KafkaTopics, MqttTopics, Topics
from stream.transports.transport import Delivery

MS = 1_000_000
SECOND = 1_000_000_000
TIME = 1_760_000_000 * SECOND + 123_456_789
CELL = "acme/plant1/hall2/line3/cell4"
OTHER = "acme/plant1/hall2/line3/cell5"
KEY = CELL.replace("/", ".")
JPEG = encode_jpeg(np.full((8, 8, 3), 128, np.uint8))


def station(path: str = CELL, **arm: Any) -> StationSettings:
    return StationSettings.model_validate(
        {
            "id": path,
            "modalities": {
                "camera": {"kind": "image", "rate_hz": 15},
                "arm": {"kind": "vector", "rate_hz": 125, **arm},
            },
        }
    )


def mapped(
    *entries: dict[str, Any], kafka: bool = False, paths: tuple[str, ...] = (CELL,)
) -> Inputs:
    settings = [InputSettings.model_validate(entry) for entry in entries]
    topics: Topics = KafkaTopics() if kafka else MqttTopics()
    return Inputs(settings, [station(path) for path in paths], topics)


def own(kafka: bool = False, *paths: str) -> Inputs:
    return mapped(kafka=kafka, paths=paths or (CELL,))


def plain(topic: str = "robot", **fields: Any) -> dict[str, Any]:
    fields = {"time": "/t", "time_unit": "ms", "values": "/q", **fields}
    return {"topic": topic, "modality": "arm", "format": "json", "json": fields}


def bare(topic: str = "cam", time: str = "arrival", format: str = "jpeg") -> dict[str, Any]:
    return {"topic": topic, "modality": "camera", "format": format, "time": time}


def sent(topic: str, payload: Any, **more: Any) -> Delivery:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return Delivery(topic=topic, payload=data, **{"received_ns": TIME, **more})


def read(inputs: Inputs, delivery: Delivery) -> Reading:
    return inputs.read(inputs.route(delivery), delivery)


def samples_of(inputs: Inputs, delivery: Delivery) -> Samples:
    reading = read(inputs, delivery)
    assert isinstance(reading, Samples)
    return reading


def frame_of(inputs: Inputs, delivery: Delivery) -> Frame:
    reading = read(inputs, delivery)
    assert isinstance(reading, Frame)
    return reading


def reason(inputs: Inputs, delivery: Delivery) -> str:
    with pytest.raises(Malformed) as caught:
        read(inputs, delivery)
    assert str(caught.value)
    return caught.value.reason
