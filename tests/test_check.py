from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from weldfusion import app

CONFIGS = sorted(Path(__file__).parent.parent.joinpath("configs").iterdir())


def check(path: Path) -> Result:
    return CliRunner().invoke(app, ["check", str(path)])


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "some.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_configuration_is_valid(path: Path) -> None:
    result = check(path)
    assert result.exit_code == 0, result.output
    assert "a valid" in result.output


def test_there_are_shipped_configurations_of_every_kind() -> None:
    said = " ".join(check(path).output for path in CONFIGS)
    for kind in ("worker", "bridge", "broker", "train", "scenario", "recording"):
        assert f"a valid {kind} configuration" in said


WORKER = """
kind: worker
name: my worker
broker: {url: mqtt://localhost, insecure: perhaps}
stations:
  - id: acme/plant1
    modalities:
      camera: {kind: image, rate_hz: 15, size_px: [0, 256]}
      arm: {kind: vector, rate_hz: 125, samples: 32, channel: 6}
"""
BRIDGE = """
kind: bridge
from: {url: kafka://localhost}
to: {url: kafka://localhost, partition: 3}
broker: {url: mqtt://localhost}
stations:
  - id: acme/plant1/hall2/line3/cell4
    modalities:
      camera: {kind: picture, rate_hz: 15}
inputs: [{topic: cam, modality: camera, format: jpeg}]
"""
SCENARIO = """
kind: scenario
random: {count: -1, severity: [0.8, 0.3], faults: {camera: [occlusion, spilt-coffee]}}
colour: blue
"""
TRAIN = """
kind: train
name: 5
latent: large
training: {minute: 3}
precision: fp64
colour: blue
"""
RECORDING = """
kind: recording
modalities:
  camera: {rate_hz: fast}
  signals: {time_unit: h, columns: [], offset: 3}
colour: blue
"""


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (
            WORKER,
            [
                "name",
                "broker.insecure",
                "stations.0.id",
                "stations.0.modalities.camera.size_px.0",
                "stations.0.modalities.arm.channel",
            ],
        ),
        (
            BRIDGE,
            [
                "from",
                "to.partition",
                "broker",
                "stations.0.modalities.camera.kind",
                "inputs.0.time",
            ],
        ),
        (SCENARIO, ["random.count", "random.severity", "random.faults.camera.1", "colour"]),
        (TRAIN, ["name", "latent", "training.minute", "precision", "colour"]),
        (
            RECORDING,
            [
                "modalities.camera.rate_hz",
                "modalities.signals.time_unit",
                "modalities.signals.columns",
                "modalities.signals.offset",
                "colour",
            ],
        ),
    ],
    ids=["worker", "bridge", "scenario", "train", "recording"],
)
def test_every_wrong_key_is_named_with_its_path_at_once(
    tmp_path: Path, text: str, paths: list[str]
) -> None:
    result = check(written(tmp_path, text))
    assert result.exit_code == 2
    lines = result.output.splitlines()
    assert "some.yaml" in lines[0]
    assert sorted(line.strip().split(":")[0] for line in lines[1:]) == sorted(paths)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind: toaster\n", "kind: 'toaster' is none of"),
        ("name: x\n", "kind: None is none of"),
        ("kind: [worker]\n", "is none of bridge, broker, recording, scenario, train, worker"),
        ("- a\n", "must be a mapping with a 'kind' key"),
        ("a: [\n", "is not YAML"),
    ],
)
def test_a_file_of_no_known_kind_says_so(tmp_path: Path, text: str, words: str) -> None:
    result = check(written(tmp_path, text))
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    result = check(tmp_path / "nowhere.yaml")
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.output
    assert "No such file" in result.output


def test_files_that_a_configuration_names_are_not_opened(tmp_path: Path) -> None:
    text = f"""
kind: worker
broker:
  url: mqtts://broker.example:8883
  username: worker
  password_file: {tmp_path}/no/password
  ca_file: {tmp_path}/no/ca.pem
stations:
  - id: acme/plant1/hall2/line3/cell4
    model: {tmp_path}/no/model.safetensors
    modalities:
      camera: {{kind: image, rate_hz: 15}}
"""
    result = check(written(tmp_path, text))
    assert result.exit_code == 0, result.output
