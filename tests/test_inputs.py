import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.config import StationSettings
from stream.images import encode_jpeg
from stream.input_settings import InputSettings
from stream.inputs import MODALITY_HEADER, TIME_HEADER, Inputs
from stream.messages import Frame, Malformed, Reading, Samples, TimeSource
from stream.topics import KafkaTopics, MqttTopics, Topics
from stream.transports.topics import is_filter, matches
from stream.transports.transport import Delivery
from stream.wire import encode_frame, encode_samples

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


BATCH = Samples(
    modality="arm",
    times_ns=np.array([TIME, TIME + 8 * MS], np.int64),
    values=np.array([[1.0, 2.0], [3.0, 4.0]]),
)
PICTURE = Frame(modality="camera", time_ns=TIME, data=JPEG, format="jpeg")


# Our own topics


def test_our_own_topics_are_the_default_on_mqtt() -> None:
    inputs = own()
    base = f"{CELL}/_weldfusion/v1/data"
    assert inputs.subscriptions() == [f"{base}/image/camera", f"{base}/vector/arm"]
    assert inputs.topics_of(CELL, "arm") == [f"{base}/vector/arm"]
    frame = frame_of(inputs, sent(f"{base}/image/camera", encode_frame(PICTURE)))
    assert (frame.modality, frame.time_ns, frame.data) == ("camera", TIME, JPEG)
    assert frame.source is not None
    assert frame.source.topic == f"{base}/image/camera"
    arm = samples_of(inputs, sent(f"{base}/vector/arm", encode_samples(BATCH)))
    np.testing.assert_array_equal(arm.values, BATCH.values)
    np.testing.assert_array_equal(arm.times_ns, BATCH.times_ns)


def test_our_own_topics_on_kafka_are_told_apart_by_key_and_header() -> None:
    inputs = own(True, CELL, OTHER)
    assert inputs.subscriptions() == ["weldfusion.images.v1", "weldfusion.vectors.v1"]
    for path in (CELL, OTHER):
        delivery = sent(
            "weldfusion.vectors.v1",
            encode_samples(BATCH),
            key=path.replace("/", "."),
            headers={MODALITY_HEADER: "arm"},
        )
        route = inputs.route(delivery)
        assert (route.station, route.modality) == (path, "arm")


def test_on_kafka_a_foreign_producer_may_leave_the_header_out() -> None:
    inputs = own(True)
    arm = sent("weldfusion.vectors.v1", encode_samples(BATCH), key=KEY)
    assert inputs.route(arm).modality == "arm"
    camera = sent("weldfusion.images.v1", encode_frame(PICTURE), key=KEY, partition=3, offset=912)
    frame = frame_of(inputs, camera)
    assert frame.source is not None
    assert (frame.source.partition, frame.source.offset) == (3, 912)


def test_a_key_of_no_configured_station_is_an_unknown_station() -> None:
    delivery = sent("weldfusion.vectors.v1", encode_samples(BATCH), key="x.a.b.c.d")
    assert reason(own(True), delivery) == "unknown_station"


def test_a_modality_that_the_station_does_not_have_is_named_as_such() -> None:
    headers = {MODALITY_HEADER: "leg"}
    delivery = sent("weldfusion.vectors.v1", encode_samples(BATCH), key=KEY, headers=headers)
    assert reason(own(True), delivery) == "unknown_modality"


def test_a_clock_offset_is_added_to_the_capture_times() -> None:
    settings = StationSettings.model_validate(
        {
            "id": CELL,
            "modalities": {
                "camera": {"kind": "image", "rate_hz": 15, "clock_offset_ms": -40.5},
                "arm": {"kind": "vector", "rate_hz": 125, "clock_offset_ms": 1360},
            },
        }
    )
    inputs = Inputs([], [settings], MqttTopics())
    base = f"{CELL}/_weldfusion/v1/data"
    frame = frame_of(inputs, sent(f"{base}/image/camera", encode_frame(PICTURE)))
    assert frame.time_ns == TIME - 40_500_000
    arm = samples_of(inputs, sent(f"{base}/vector/arm", encode_samples(BATCH)))
    assert arm.times_ns.tolist() == [TIME + 1360 * MS, TIME + 1368 * MS]
    last = Samples(modality="arm", times_ns=np.array([(1 << 62) - 1]), values=np.zeros((1, 2)))
    assert reason(inputs, sent(f"{base}/vector/arm", encode_samples(last))) == "bad_time"
    early = Frame(modality="camera", time_ns=1, data=JPEG, format="jpeg")
    assert reason(inputs, sent(f"{base}/image/camera", encode_frame(early))) == "bad_time"


# Mapped topics


def test_captures_find_the_station_and_the_modality() -> None:
    entry = {**plain("{enterprise}/{site}/{area}/{line}/{cell}/robot/{modality}")}
    entry["modality"] = "{modality}"
    inputs = mapped(entry, paths=(CELL, OTHER))
    assert inputs.subscriptions() == ["+/+/+/+/+/robot/+"]
    for path in (CELL, OTHER):
        route = inputs.route(sent(f"{path}/robot/arm", {}))
        assert (route.station, route.modality) == (path, "arm")


def test_a_station_capture_takes_five_levels() -> None:
    inputs = mapped(plain("plant/{station}/axes"), paths=(CELL, OTHER))
    assert inputs.subscriptions() == ["plant/+/+/+/+/+/axes"]
    assert inputs.route(sent(f"plant/{OTHER}/axes", {})).station == OTHER
    assert reason(inputs, sent("plant/too/short/axes", {})) == "unknown_station"


def test_one_captured_level_is_enough_where_it_leaves_one_station() -> None:
    inputs = mapped(plain("robots/{cell}"), paths=(CELL, OTHER))
    assert inputs.route(sent("robots/cell5", {})).station == OTHER


def test_a_captured_cell_that_is_not_ours_is_never_taken_for_the_only_station() -> None:
    inputs = mapped(plain("robots/{cell}"))
    assert inputs.route(sent("robots/cell4", {})).station == CELL
    assert reason(inputs, sent("robots/cell9", {})) == "unknown_station"


def test_the_station_may_be_completed_from_captures() -> None:
    entry = {**plain("robots/{number}"), "station": "acme/plant1/hall2/line3/cell{number}"}
    inputs = mapped(entry, paths=(CELL, OTHER))
    assert inputs.route(sent("robots/5", {})).station == OTHER
    assert reason(inputs, sent("robots/6", {})) == "unknown_station"


def test_a_topic_without_captures_belongs_to_the_only_station() -> None:
    inputs = mapped(plain("robot"), bare("cam"))
    assert inputs.subscriptions() == ["cam", "robot"]
    assert inputs.route(sent("cam", JPEG)).modality == "camera"
    assert inputs.topics_of(CELL, "camera") == ["cam"]


def test_a_capture_inside_a_level_is_subscribed_to_as_the_whole_level() -> None:
    inputs = mapped(plain("hall/robot-{cell}/axes"), paths=(CELL, OTHER))
    assert inputs.subscriptions() == ["hall/+/axes"]
    assert inputs.route(sent("hall/robot-cell5/axes", {})).station == OTHER
    assert reason(inputs, sent("hall/tool-cell5/axes", {})) == "unknown_station"


def test_a_captured_modality_that_the_station_does_not_have_is_unknown() -> None:
    entry = {**plain("{modality}"), "modality": "{modality}"}
    assert reason(mapped(entry), sent("leg", {})) == "unknown_modality"


def test_a_mapped_kafka_topic_takes_its_station_from_the_key_or_the_topic() -> None:
    inputs = mapped(plain("gateway.robots"), kafka=True, paths=(CELL, OTHER))
    assert inputs.subscriptions() == ["gateway.robots"]
    assert inputs.route(sent("gateway.robots", {}, key=KEY)).station == CELL
    assert reason(inputs, sent("gateway.robots", {}, key="somebody")) == "unknown_station"
    inputs = mapped(plain("gateway.{station}.axes"), kafka=True, paths=(CELL, OTHER))
    (pattern,) = inputs.subscriptions()
    assert pattern.startswith("^")
    assert inputs.route(sent(f"gateway.{KEY}.axes", {})).station == CELL


@given(st.lists(st.sampled_from(["{cell}", "{modality}", "a-{line}", "x", "cam"]), min_size=1))
def test_every_topic_that_a_pattern_takes_is_subscribed_to(levels: list[str]) -> None:
    pattern = "/".join(dict.fromkeys(levels))
    inputs = mapped({**plain(pattern), "modality": "arm"})
    topic = pattern.replace("{cell}", "cell4").replace("{modality}", "m").replace("{line}", "line3")
    (subscribed,) = inputs.subscriptions()
    assert is_filter(subscribed)
    assert matches(subscribed, topic)
    assert inputs.route(sent(topic, {})).station == CELL


# Plain JSON


@pytest.mark.parametrize(
    ("unit", "stamp", "time_ns"),
    [
        ("ns", 1_760_000_000_123_456_789, TIME),
        ("us", 1_760_000_000_123_456, TIME // 1000 * 1000),
        ("ms", 1_760_000_000_123, TIME // MS * MS),
        ("s", 1_760_000_000, 1_760_000_000 * SECOND),
        ("rfc3339", "2025-10-09T08:53:20.123456Z", TIME // 1000 * 1000),
        ("rfc3339", "2025-10-09T10:53:20+02:00", 1_760_000_000 * SECOND),
    ],
)
def test_times_are_read_in_every_unit(unit: str, stamp: Any, time_ns: int) -> None:
    inputs = mapped(plain(time_unit=unit))
    assert samples_of(inputs, sent("robot", {"t": stamp, "q": [1]})).times_ns.tolist() == [time_ns]


def test_seconds_with_a_fraction_are_read_to_the_microsecond() -> None:
    inputs = mapped(plain(time_unit="s"))
    (time_ns,) = samples_of(inputs, sent("robot", {"t": 1_760_000_000.25, "q": [1]})).times_ns
    assert abs(int(time_ns) - 1_760_000_000 * SECOND - 250 * MS) < 1000


@pytest.mark.parametrize(
    ("values", "document", "expected"),
    [
        ("/q", {"t": 1, "q": [1, 2.5]}, [[1, 2.5]]),
        ("/q", {"t": [1, 2], "q": [[1, 2], [3, 4]]}, [[1, 2], [3, 4]]),
        (["/a", "/b/0"], {"t": 1, "a": 1, "b": [2]}, [[1, 2]]),
        (["/a~1b", "/c~0d"], {"t": 1, "a/b": 1, "c~d": 2}, [[1, 2]]),
        ("/state/axes", {"t": 1, "state": {"axes": [7]}}, [[7]]),
    ],
)
def test_values_are_found_as_one_pointer_a_channel_an_array_or_rows(
    values: Any, document: Any, expected: list[list[float]]
) -> None:
    assert (
        samples_of(mapped(plain(values=values)), sent("robot", document)).values.tolist()
        == expected
    )


def test_the_whole_document_may_be_the_row() -> None:
    entry = {**plain(values="", time=None), "time": "arrival"}
    arm = samples_of(mapped(entry), sent("robot", [1, 2, 3]))
    assert arm.values.tolist() == [[1, 2, 3]]
    assert (arm.times_ns.tolist(), arm.time_source) == ([TIME], TimeSource.ARRIVAL)


def test_a_scale_brings_values_into_their_unit() -> None:
    arm = samples_of(mapped(plain(scale=0.001)), sent("robot", {"t": 1, "q": [1500]}))
    assert arm.values.tolist() == [[1.5]]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"\x00\xff garbage", "undecodable_json"),
        (b"", "undecodable_json"),
        (b"[" * 100_000, "undecodable_json"),
        (b'{"t": 1, "q": [NaN]}', "undecodable_json"),
        (b'{"t": ' + b"9" * 5000 + b', "q": [1]}', "undecodable_json"),
        (b'{"t": 1, "q": [1e999]}', "not_finite"),
        (b'{"t": 1, "q": [1' + b"0" * 400 + b"]}", "not_finite"),
        ({"q": [1]}, "missing_field"),
        ({"t": 1}, "missing_field"),
        ([1, 2], "missing_field"),
        ({"t": 1, "q": 5}, "wrong_shape"),
        ({"t": 1, "q": []}, "wrong_shape"),
        ({"t": [1, 2], "q": [1]}, "wrong_shape"),
        ({"t": [1, 2], "q": [[1], [1, 2]]}, "wrong_shape"),
        ({"t": 1, "q": [0] * 257}, "wrong_shape"),
        ({"t": list(range(1025)), "q": [[0]] * 1025}, "too_large"),
        ({"t": 1, "q": [True]}, "not_a_number"),
        ({"t": 1, "q": ["1"]}, "not_a_number"),
        ({"t": 1, "q": [None]}, "not_a_number"),
        ({"t": -1, "q": [1]}, "bad_time"),
        ({"t": "soon", "q": [1]}, "bad_time"),
        ({"t": True, "q": [1]}, "bad_time"),
        ({"t": None, "q": [1]}, "bad_time"),
        ({"t": 1e300, "q": [1]}, "bad_time"),
        (b'{"t": 1e999, "q": [1]}', "bad_time"),
    ],
)
def test_json_that_cannot_be_used_is_refused_for_one_reason(document: Any, why: str) -> None:
    assert reason(mapped(plain()), sent("robot", document)) == why


@pytest.mark.parametrize(
    "stamp",
    ["9999-12-31T23:59:59Z", "2300-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "now", 5, None],
)
def test_an_rfc3339_time_that_the_stream_cannot_count_with_is_refused(stamp: Any) -> None:
    inputs = mapped(plain(time_unit="rfc3339"))
    assert reason(inputs, sent("robot", {"t": stamp, "q": [1]})) == "bad_time"


@pytest.mark.parametrize("pointer", ["/q/-1", "/q/-", "/q/01x", "/q/²", "/q/3", "/q/0/0"])
def test_a_pointer_to_no_place_in_an_array_finds_nothing(pointer: str) -> None:
    inputs = mapped(plain(values=[pointer]))
    assert reason(inputs, sent("robot", {"t": 1, "q": [1, 2]})) == "missing_field"


def test_an_image_cannot_be_read_from_json_nor_numbers_from_an_image() -> None:
    inputs = mapped({**plain(), "modality": "camera"}, {**bare(), "modality": "arm"})
    assert reason(inputs, sent("robot", {"t": 1, "q": [1]})) == "wrong_kind"
    assert reason(inputs, sent("cam", JPEG)) == "wrong_kind"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["t", "q", "x"]), inner),
    max_leaves=12,
)


@given(anything, st.sampled_from(["ns", "us", "ms", "s", "rfc3339"]), st.booleans())
def test_any_json_gives_samples_or_one_reason(document: Any, unit: str, columns: bool) -> None:
    values = ["/q", "/q/0", "/x"] if columns else "/q"
    inputs = mapped(plain(time_unit=unit, values=values))
    with suppress(Malformed):
        arm = samples_of(inputs, sent("robot", document))
        assert np.isfinite(arm.values).all()
        assert arm.values.shape == (len(arm.times_ns), arm.values.shape[1])


@given(st.binary(max_size=200))
def test_any_bytes_on_any_input_give_a_reading_or_one_reason(payload: bytes) -> None:
    for inputs in (mapped(plain(), bare()), own(), own(True)):
        for topic in inputs.subscriptions():
            with suppress(Malformed):
                assert read(inputs, sent(topic, payload, key=KEY)).time_ns >= 0


# Bare images and their times


def test_the_time_of_a_bare_image_is_that_of_its_arrival() -> None:
    frame = frame_of(mapped(bare()), sent("cam", JPEG, broker_time_ns=5))
    assert (frame.time_ns, frame.format, frame.data) == (TIME, "jpeg", JPEG)
    assert frame.time_source is TimeSource.ARRIVAL


def test_the_broker_may_give_the_time_and_arrival_stands_in_where_it_does_not() -> None:
    inputs = mapped(bare(time="broker"))
    stamped = frame_of(inputs, sent("cam", JPEG, broker_time_ns=TIME - 7))
    assert (stamped.time_ns, stamped.time_source) == (TIME - 7, TimeSource.BROKER)
    bare_frame = frame_of(inputs, sent("cam", JPEG))
    assert (bare_frame.time_ns, bare_frame.time_source) == (TIME, TimeSource.ARRIVAL)


def test_a_header_may_give_the_time() -> None:
    inputs = mapped(bare(time="header"))
    stamped = sent("cam", JPEG, headers={TIME_HEADER: str(TIME - 9)})
    frame = frame_of(inputs, stamped)
    assert (frame.time_ns, frame.time_source) == (TIME - 9, TimeSource.CAPTURE)


@pytest.mark.parametrize("stamp", ["", "soon", "-5", "1.5", "²", "٣", "9" * 19, "9" * 5000])
def test_a_header_that_is_no_time_is_refused(stamp: str) -> None:
    headers = {TIME_HEADER: stamp} if stamp else {}
    inputs = mapped(bare(time="header"), {**plain(time=None), "time": "header"})
    assert reason(inputs, sent("cam", JPEG, headers=headers)) == "bad_time"
    assert reason(inputs, sent("robot", {"q": [1]}, headers=headers)) == "bad_time"


def test_a_payload_that_is_no_image_is_refused() -> None:
    assert reason(mapped(bare()), sent("cam", b"GIF89a")) == "not_an_image"
    assert reason(mapped(bare()), sent("cam", b"")) == "not_an_image"
