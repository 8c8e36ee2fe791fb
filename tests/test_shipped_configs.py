"""Every file of configs/ is valid, and says what its comments say."""

import json
from pathlib import Path

import pytest

from model.checkpoint import load
from simulators.check_command import settings_by_kind
from stream.bridge import Crossing, read_bridge
from stream.checkpoints import PRETRAINED, mismatches
from stream.config import parse, read_mapping
from stream.control import Control
from stream.inputs import Inputs
from stream.messages import Frame, Samples
from stream.topics import KafkaTopics, MqttTopics
from stream.transports.transport import Delivery
from stream.worker import read_worker

CONFIGS = Path(__file__).parents[1] / "configs"
CELL = "acme/plant1/hall2/line3/cell4"
JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 64


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda file: file.name)
def test_every_shipped_configuration_is_valid_and_named_by_its_kind(file: Path) -> None:
    content = read_mapping(file)
    parse(content, settings_by_kind()[content["kind"]], str(file))
    assert file.name.startswith(f"{content['kind']}-")


@pytest.mark.parametrize("name", ["welding-single", "welding-dual", "ur5", "g1"])
def test_a_worker_and_its_training_agree_on_the_modalities(name: str) -> None:
    (station,) = read_worker(CONFIGS / f"worker-{name}.yaml").stations
    trained = read_mapping(CONFIGS / f"train-{name}.yaml")["modalities"]
    assert set(station.modalities) == set(trained)
    for key, modality in station.modalities.items():
        assert trained[key]["kind"] == modality.kind
        if "samples" in trained[key]:
            assert trained[key]["samples"] == modality.samples
            assert trained[key]["channels"] == modality.channel_count
        else:
            assert tuple(trained[key]["size_px"]) == modality.size_px


@pytest.mark.parametrize(
    "path", sorted(PRETRAINED.glob("*.safetensors")), ids=lambda path: path.stem
)
def test_a_shipped_checkpoint_is_small_described_and_fits_its_worker(path: Path) -> None:
    assert path.stat().st_size <= 15_000_000
    assert path.with_suffix(".md").read_text().startswith(f"# {path.stem}\n")
    (station,) = read_worker(CONFIGS / f"worker-{path.stem}.yaml").stations
    assert station.model == path.stem
    assert mismatches(station, load(path).card) == []


def test_the_bridge_carries_all_that_a_worker_of_the_station_takes_on_either_side() -> None:
    bridge = Crossing(read_bridge(CONFIGS / "bridge-welding-single.yaml"))
    stations = read_worker(CONFIGS / "worker-welding-single.yaml").stations
    ids = [station.id for station in stations]
    mqtt, kafka = MqttTopics(), KafkaTopics()
    for topics, carried in ((mqtt, bridge.subscriptions()), (kafka, bridge.topics())):
        inputs = Inputs((), stations, topics).subscriptions()
        heard = Control(ids, topics).subscriptions()
        from_others = [one for one in heard if "/state/fault/" not in one]  # it told those itself
        assert carried == sorted([*inputs, *from_others])


def test_the_plain_json_example_reads_the_messages_in_its_comments() -> None:
    settings = read_worker(CONFIGS / "worker-plain-json.yaml")
    inputs = Inputs(settings.inputs, settings.stations, MqttTopics())
    gateway = {"ts": 1760000000000, "axes": {"positions": [1, 2, 3], "currents": [4, 5, 6]}}
    state = Delivery(topic=f"{CELL}/robot/state", payload=json.dumps(gateway).encode())
    samples = inputs.read(inputs.route(state), state)
    assert isinstance(samples, Samples)
    assert samples.modality == "joints"
    assert samples.times_ns.tolist() == [1760000000000 * 10**6]
    assert samples.values.tolist() == [[1, 2, 3, 4, 5, 6]]
    image = Delivery(topic=f"{CELL}/cam/image", payload=JPEG, received_ns=77)
    frame = inputs.read(inputs.route(image), image)
    assert isinstance(frame, Frame)
    assert (frame.modality, frame.time_ns, frame.data) == ("camera", 77, JPEG)
