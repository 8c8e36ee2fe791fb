"""The shipped recording as messages on the in-memory broker, again and again."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from simulators.demo import RECORDING, STATION, worker_configuration
from simulators.recordings.open import open_recording
from simulators.recordings.recording import Recording
from simulators.replay import data_message
from simulators.timing import played
from stream.config import WorkerSettings
from stream.messages import Frame
from stream.topics import MqttTopics
from stream.transports.broker import BrokerConfig
from stream.transports.transport import Message

START_NS = 1_700_000_000_000_000_000


@lru_cache
def recording() -> Recording:
    return open_recording(RECORDING)


def settings(url: str, model: str, threads: int, max_batch: int) -> WorkerSettings:
    import yaml

    content = yaml.safe_load(
        worker_configuration(recording(), model, BrokerConfig(url=url), Path())
    )
    content["model"] = {"threads": threads, "max_batch": max_batch}
    return WorkerSettings.model_validate(content)


def messages(frames: int) -> Iterator[Message]:
    """Data messages in the order of their due times until so many frames have come."""
    seen = 0
    for item in played(recording(), START_NS, loop=True, keep_times=False):
        yield data_message(MqttTopics(), STATION, item.reading)
        seen += isinstance(item.reading, Frame)
        if seen == frames:
            return


def jpegs(frames: int) -> list[bytes]:
    found = []
    for item in played(recording(), START_NS, loop=True, keep_times=False):
        if isinstance(item.reading, Frame):
            found.append(item.reading.data)
            if len(found) == frames:
                return found
    return found
