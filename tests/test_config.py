"""What a worker's configuration may say: every mistake told by its path, and the defaults."""

from typing import Any

import pytest

from stream.config import (
    AlarmSettings,
    ConfigError,
    ModalitySettings,
    StationSettings,
    WorkerSettings,
    parse,
)
from stream.messages import Kind
from stream.specs import alarm_rules, aligner_spec
from stream.wire import MAX_CHANNELS, MAX_SAMPLES
from tests.configuring import CELL, station, valid, worker

MIB = 1 << 20


def robot(**changed: Any) -> dict[str, Any]:
    fields = {"values": "/q", "time": "/t"}
    return {"topic": "robot", "modality": "arm", "format": "json", "json": fields, **changed}


def cam(**changed: Any) -> dict[str, Any]:
    return {"topic": "cam", "modality": "camera", "format": "jpeg", "time": "arrival", **changed}


def problems(content: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(content, WorkerSettings, "worker.yaml")
    assert str(caught.value).startswith("worker.yaml:\n")
    return list(caught.value.problems)


def paths(content: dict[str, Any]) -> list[str]:
    return [line.split(":")[0] for line in problems(content)]


# Every mistake at once


def test_five_mistakes_give_five_lines_with_dotted_paths_at_once() -> None:
    wrong = worker(
        broker={"url": "http://localhost"},
        stations=[
            station(
                anchor="kamera",
                modalities={
                    "camera": {"kind": "image", "rate_hz": -15},
                    "arm": {"kind": "vektor", "rate_hz": 125},
                },
            )
        ],
        model={"max_batch": 0},
        colour="blue",
    )
    assert sorted(paths(wrong)) == [
        "broker.url",
        "colour",
        "model.max_batch",
        "stations.0.modalities.arm.kind",
        "stations.0.modalities.camera.rate_hz",
    ]


def test_references_are_checked_together_with_everything_else() -> None:
    """A wrong reference is told in the same run as a wrong value beside it."""
    wrong = station(anchor="arm", idle_timeout_ms=0, alarms={"camera/signle": {}, "frozen": {}})
    assert paths(worker(stations=[wrong], inputs=[robot(modality="leg"), cam(time="payload")])) == [
        "stations.0.anchor",
        "stations.0.idle_timeout_ms",
        "stations.0.alarms.camera/signle",
        "inputs.1.time",
    ]
    assert paths(worker(inputs=[robot(modality="leg")])) == ["inputs.0"]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"id": "too/short"}, "id"),
        ({"id": "a/b/c/d/ü"}, "id"),
        ({"modalities": {}}, "modalities"),
        ({"modalities": {"station": {"kind": "image", "rate_hz": 1}}}, "modalities"),
        ({"modalities": {"a b": {"kind": "image", "rate_hz": 1}}}, "modalities.a b"),
        ({"anchor": "leg"}, "anchor"),
        ({"anchor": "arm"}, "anchor"),
        ({"out_of_order_ms": -1}, "out_of_order_ms"),
        ({"max_jump_ms": float("inf")}, "max_jump_ms"),
        ({"window_hz": 0}, "window_hz"),
        ({"rewind": 5}, "rewind"),
        ({"alarms": {"leg/frozen": {}}}, "alarms.leg/frozen"),
        (
            {"alarms": {"default": {"on_threshold": 1, "off_threshold": 2}}},
            "alarms.default.off_threshold",
        ),
    ],
)
def test_a_mistake_in_a_station_is_named_by_its_path(wrong: dict[str, Any], path: str) -> None:
    assert paths(worker(stations=[station(**wrong)])) == [f"stations.0.{path}"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate_hz": 0},
        {"rate_hz": float("nan")},
        {"rate_hz": 1e12},
        {"samples": 1},
        {"samples": 1025},
        {"channels": 257},
        {"channels": 0},
        {"channels": []},
        {"channels": "six"},
        {"channels": {"a": 1}},
        {"clock_offset_ms": float("inf")},
        {"motion_threshold": 0},
        {"units": ["m"]},
    ],
)
def test_a_mistake_in_a_modality_is_one_line(wrong: dict[str, Any]) -> None:
    modality = {"kind": "vector", "rate_hz": 125, **wrong}
    found = paths(worker(stations=[station(modalities={"arm": modality})]))
    assert found == [f"stations.0.modalities.arm.{next(iter(wrong))}"]


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        (cam(time="payload"), "time"),
        (cam(format="gif"), "format"),
        (robot(json=None), "json"),
        (cam(json={"values": "/q"}), "json"),
        (robot(json={"values": "/q"}), "json"),
        (robot(json={"values": "q", "time": "/t"}), "json.values"),
        (robot(json={"values": ["/q", "r"], "time": "/t"}), "json.values"),
        (robot(json={"values": [], "time": "/t"}), "json.values"),
        (robot(json={"values": "/q", "time": "t"}), "json.time"),
        (robot(json={"values": "/q", "time": "/t", "time_unit": "h"}), "json.time_unit"),
        (robot(topic=""), "topic"),
        (robot(topic="robots/+/state"), "topic"),
        (robot(topic="robots/#"), "topic"),
        (robot(topic="robots/{a-b}"), "topic"),
        (robot(topic="robots/{}"), "topic"),
        (robot(topic="{cell}/{cell}"), "topic"),
        (robot(topic="{cell"), "topic"),
        ({"topic": "robots/{cell}", "modality": "{name}"}, "modality"),
        ({"topic": "robots/{cell}"}, "modality"),
        ({"topic": "ours", "modality": "arm", "time": "arrival"}, "time"),
    ],
)
def test_a_mistake_in_an_input_is_named_by_its_path(wrong: dict[str, Any], path: str) -> None:
    assert paths(worker(inputs=[wrong])) == [f"inputs.0.{path}"]


def test_an_input_for_nobody_is_a_mistake() -> None:
    assert "leg" in problems(worker(inputs=[robot(modality="leg")]))[0]
    assert "cell9" in problems(worker(inputs=[robot(station="a/b/c/d/cell9")]))[0]


def test_a_station_that_is_listed_twice_is_named() -> None:
    (line,) = problems(worker(stations=[station(), station()]))
    assert line.startswith("stations: ")
    assert CELL in line


def test_what_was_given_is_shown_in_short() -> None:
    (line,) = problems(worker(name="a b"))
    assert line.endswith("(got 'a b')")
    (line,) = problems(worker(name="x y" * 5000))
    assert len(line) < 300


@pytest.mark.parametrize(
    "broker",
    [
        {"url": "mqtt://joe:hunter2@host"},
        {"url": "mqtt://host", "password": "hunter2"},
        {"url": "mqtt://host", "password_file": ["hunter2"]},
        "hunter2",
    ],
)
def test_no_error_shows_what_may_be_a_secret(broker: Any) -> None:
    found = problems(worker(broker=broker))
    assert found[0].startswith("broker")
    assert "hunter2" not in " ".join(found)


# Defaults


def test_the_defaults_are_those_of_the_documentation() -> None:
    settings = valid(worker())
    one = settings.stations[0]
    spec = aligner_spec(one)
    assert one.modalities["arm"].samples == 32
    assert one.out_of_order_ms == 50
    assert one.idle_timeout_ms == 500
    assert spec.max_jump_ns == 10 * 10**9
    assert spec.rewind_ns == 5 * 10**9
    assert spec.budget_bytes == 64 * MIB
    assert spec.anchor == "camera"
    assert settings.broker.max_message_bytes == 4 * MIB
    assert settings.max_image_mpx == 16
    assert (MAX_CHANNELS, MAX_SAMPLES) == (256, 1024)
    rule = alarm_rules({"default": AlarmSettings()})["default"]
    assert (rule.on_delay_ns, rule.off_delay_ns) == (200 * 10**6, 10**9)


def test_up_to_256_stations_are_served_and_no_more() -> None:
    many = [station(id=f"a/b/c/d/{number}") for number in range(257)]
    assert len(valid(worker(stations=many[:256])).stations) == 256
    assert paths(worker(stations=many)) == ["stations"]
    assert paths(worker(stations=[])) == ["stations"]


def test_channels_may_be_counted_or_named_or_left_to_the_first_reading() -> None:
    def count(channels: Any) -> int:
        one = {"kind": "vector", "rate_hz": 1, "channels": channels}
        return ModalitySettings.model_validate(one).channel_count

    assert (count(6), count(["a", "b"]), count(None)) == (6, 2, 0)


def test_a_station_without_images_has_windows_on_a_fixed_grid() -> None:
    vectors = {"arm": {"kind": "vector", "rate_hz": 125}}
    spec = aligner_spec(StationSettings.model_validate(station(modalities=vectors, window_hz=20)))
    assert (spec.anchor, spec.anchor_period_ns) == ("", 50_000_000)
    assert spec.modalities["arm"].kind is Kind.VECTOR


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        valid(worker()).stations[0].model = "other"  # type: ignore[misc]
