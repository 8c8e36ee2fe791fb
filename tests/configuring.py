"""A worker's configuration that is right, to be changed and to be read."""

from typing import Any

from stream.config import WorkerSettings, parse

CELL = "acme/plant1/hall2/line3/cell4"


def worker(**changed: Any) -> dict[str, Any]:
    return {
        "kind": "worker",
        "broker": {"url": "mqtt://localhost"},
        "stations": [station()],
        **changed,
    }


def station(**changed: Any) -> dict[str, Any]:
    modalities = {
        "camera": {"kind": "image", "rate_hz": 15},
        "arm": {"kind": "vector", "rate_hz": 125},
    }
    return {"id": CELL, "modalities": modalities, **changed}


def valid(content: dict[str, Any]) -> WorkerSettings:
    return parse(content, WorkerSettings, "worker.yaml")
