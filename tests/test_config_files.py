"""Where a worker's configuration comes from: its file, --set and --broker."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.config import ConfigError, override, read_mapping
from stream.worker import read_worker
from tests.configuring import valid, worker


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "worker.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "is not YAML"),
        ("- a list", "must be a mapping"),
        ("", "must be a mapping"),
        ("when: 2024-13-45", "is not YAML"),
        ("{" * 500, "is not YAML"),
    ],
)
def test_a_file_that_holds_no_mapping_is_one_clear_line(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_mapping(written(tmp_path, text))
    assert len(caught.value.problems) == 1


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_mapping(tmp_path / "nowhere.yaml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        read_mapping(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"kind: \xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        read_mapping(tmp_path / "binary.yaml")


def test_set_changes_values_deep_inside() -> None:
    changed = override(
        worker(),
        [
            "stations.0.modalities.camera.rate_hz=30",
            "stations.0.alarms.camera/signal.on_delay_ms=50",
            "model.device=cpu",
            "stations.0.modalities.arm.channels=[x, y]",
            "metrics_port=",
        ],
    )
    settings = valid(changed)
    assert settings.stations[0].modalities["camera"].rate_hz == 30
    assert settings.stations[0].alarms["camera/signal"].on_delay_ms == 50
    assert settings.stations[0].modalities["arm"].channels == ("x", "y")
    assert settings.model.device == "cpu"
    assert settings.metrics_port is None


def test_set_leaves_the_original_alone() -> None:
    content = worker()
    override(content, ["stations.0.id=a/b/c/d/e"])
    assert content == worker()


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("no equals sign", "is not path.to.key=value"),
        ("=5", "is not path.to.key=value"),
        ("a..b=5", "is not path.to.key=value"),
        ("stations.1.id=x", "'1' is no item of a list of 1"),
        ("stations.first.id=x", "'first' is no item of a list of 1"),
        ("stations.0.id.deeper=x", "'deeper' lies below a plain value"),
        ("name=[1", "name: the value is not YAML"),
    ],
)
def test_a_set_that_cannot_be_applied_says_why(assignment: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(worker(), [assignment])
    assert words in str(caught.value)


def test_a_wrong_value_given_by_set_is_named_like_any_other(tmp_path: Path) -> None:
    path = written(tmp_path, worker())
    with pytest.raises(ConfigError) as caught:
        read_worker(path, ["stations.0.modalities.arm.rate_hz=fast", "stations.0.speed=1"])
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "stations.0.modalities.arm.rate_hz",
        "stations.0.speed",
    ]


def test_the_broker_of_the_command_line_stands_in_for_the_files(tmp_path: Path) -> None:
    path = written(tmp_path, worker())
    settings = read_worker(path, broker="kafka://one:9092", insecure=True)
    assert settings.broker.url == "kafka://one:9092"
    assert settings.broker.insecure
    without = {key: value for key, value in worker().items() if key != "broker"}
    assert read_worker(written(tmp_path, without), broker="mqtt://two").broker.url == "mqtt://two"
    with pytest.raises(ConfigError, match=r"broker\.url"):
        read_worker(written(tmp_path, without))


def test_another_kind_of_file_is_no_worker(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="kind: must be 'worker', not 'train'"):
        read_worker(written(tmp_path, {"kind": "train"}))
