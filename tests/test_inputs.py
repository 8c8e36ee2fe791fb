"""Our own topics and mapped ones: what is subscribed to, and whose readings come on it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream.config import StationSettings
from stream.input_settings import InputSettings
from stream.inputs import MODALITY_HEADER, Inputs
from stream.messages import Frame, Samples
from stream.topics import KafkaTopics, MqttTopics
from stream.transports.topics import is_filter, matches
from stream.transports.transport import Delivery
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
    reason,
    samples_of,
    sent,
)

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


def test_formats_of_a_plant_on_our_own_kafka_topics_are_told_apart_by_the_header() -> None:
    topic = "weldfusion.vectors.v1"
    modalities = {name: {"kind": "vector", "rate_hz": 50} for name in ("arm", "gripper", "belt")}
    station = StationSettings.model_validate({"id": CELL, "modalities": modalities})
    entries = [{**plain(topic, values=f"/{one}"), "modality": one} for one in ("arm", "gripper")]
    settings = [InputSettings.model_validate(entry) for entry in entries]
    inputs = Inputs(settings, [station], KafkaTopics())
    payload = {"t": TIME / MS, "arm": [1.0, 2.0], "gripper": [3.0]}

    def of(name: str) -> Delivery:
        return sent(topic, payload, key=KEY, headers={MODALITY_HEADER: name})

    assert samples_of(inputs, of("arm")).values.tolist() == [[1.0, 2.0]]
    assert samples_of(inputs, of("gripper")).values.tolist() == [[3.0]]
    assert reason(inputs, of("belt")) == "unknown_modality"
    foreign = sent(topic, payload, key=KEY)
    assert inputs.route(foreign).modality == "arm"
    elsewhere = mapped(plain("gateway.robots"), kafka=True)
    other = sent("gateway.robots", {"t": 1, "q": [1.0]}, key=KEY, headers={MODALITY_HEADER: "x"})
    assert elsewhere.route(other).modality == "arm"


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
