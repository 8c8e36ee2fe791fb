"""Whatever bytes come from a broker or a file, they are a reading or have one clear error."""

import asyncio
import json
import struct
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulators.recordings.mcap import McapRecording
from simulators.recordings.recording import RecordingError
from stream.config import StationSettings
from stream.control import Control
from stream.images import MAX_SCANS, check, decode, encode_jpeg, header_size_px
from stream.input_settings import JsonFields
from stream.json_payload import read_json
from stream.messages import LONGEST_DETAIL, Frame, Malformed, Samples, TimeSource
from stream.proto.weldfusion_pb2 import VectorBatch
from stream.station import Station
from stream.topics import MqttTopics
from stream.transports.transport import Delivery
from stream.wire import MAX_SAMPLES, decode_frame, decode_samples, encode_frame, encode_samples
from tests.fuzz.__main__ import wrong
from tests.fuzz.feed import BASE, CONTROL, STATION, messages
from tests.fuzz.mutations import mutated, strange_json
from tests.fuzz.worker import fuzz
from tests.mapping import KEY, mapped, plain, reason, samples_of, sent
from tests.recorded import write_recording

TIME = 1_760_000_000 * 10**9
MAX_PIXELS = 10_000
PIXELS = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
JPEG = encode_jpeg(PIXELS)
PNG = cv2.imencode(".png", PIXELS)[1].tobytes()
PROGRESSIVE = cv2.imencode(".jpg", PIXELS, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
hostile = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
randoms = st.randoms(use_true_random=False)


@given(random=randoms)
@hostile
def test_a_damaged_frame_is_a_frame_or_malformed(random: Random) -> None:
    sent = Frame(modality="camera", time_ns=TIME, data=JPEG, format="jpeg")
    with suppress(Malformed):
        assert isinstance(decode_frame(mutated(random, encode_frame(sent))), Frame)


@given(random=randoms)
@hostile
def test_damaged_samples_are_finite_samples_within_the_limits_or_malformed(random: Random) -> None:
    rows = np.arange(12.0).reshape(4, 3)
    sent = Samples(modality="arm", times_ns=TIME + np.arange(4), values=rows, names=("a", "b", "c"))
    with suppress(Malformed):
        got = decode_samples(mutated(random, encode_samples(sent)))
        assert np.isfinite(got.values).all()
        assert got.values.shape[0] == len(got.times_ns) <= MAX_SAMPLES


@given(random=randoms, data=st.sampled_from([JPEG, PNG, PROGRESSIVE]))
@hostile
def test_a_damaged_picture_is_no_larger_than_its_header_says_or_malformed(
    random: Random, data: bytes
) -> None:
    damaged = mutated(random, data)
    with suppress(Malformed):
        pixels = decode(damaged, MAX_PIXELS)
        assert pixels.shape[:2] == header_size_px(damaged)
        assert pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS


@given(random=randoms, unit=st.sampled_from(["ns", "s", "rfc3339"]))
@hostile
def test_strange_json_is_rows_of_numbers_or_malformed(random: Random, unit: str) -> None:
    fields = JsonFields.model_validate({"time": "/ts", "time_unit": unit, "values": "/axes"})
    stamp = "2026-01-01T00:00:00Z" if unit == "rfc3339" else 1_760_000_000
    payload = strange_json(random, {"ts": stamp, "axes": [0.5, 1]})
    if random.random() < 0.5:
        payload = mutated(random, payload)
    with suppress(Malformed):
        times_ns, rows = read_json(payload, fields)
        assert len(times_ns) == len(rows) <= MAX_SAMPLES


@given(random=randoms, channel=st.sampled_from(CONTROL))
@hostile
def test_a_strange_command_context_or_simulation_changes_nothing_it_may_not(
    random: Random, channel: str
) -> None:
    arm = {"kind": "vector", "rate_hz": 100, "channels": 2}
    station = Station(StationSettings.model_validate({"id": STATION, "modalities": {"arm": arm}}))
    control = Control([STATION], MqttTopics())
    document = {"modality": "arm", "condition": "signal", "validUntil": "2026-01-01T00:00:00Z"}
    payload = mutated(random, strange_json(random, document))
    delivery = Delivery(topic=f"{BASE}/{channel}", payload=payload)
    assert control.station_of(delivery) == STATION
    assert control.apply(delivery, station) == []
    json.dumps(station.context_at(TIME))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("hostile") / "whole.mcap"
    return write_recording(path, seconds=0.2).read_bytes()


@given(random=randoms)
@settings(hostile, max_examples=60)
def test_a_damaged_recording_is_read_or_a_recording_error(
    recording: bytes, tmp_path: Path, random: Random
) -> None:
    path = tmp_path / "damaged.mcap"
    path.write_bytes(mutated(random, recording))
    with suppress(RecordingError):
        assert all(record.reading for record in McapRecording(path).records())


# What was found this way


def test_a_size_hidden_behind_a_filling_byte_does_not_pass_as_a_small_picture() -> None:
    at = JPEG.index(b"\xff\xc0")
    (length,) = struct.unpack_from(">H", JPEG, at + 2)
    frame = JPEG[at : at + 2 + length]
    large = frame[:5] + struct.pack(">HH", 9000, 9000) + frame[9:]
    hidden = b"\xff\x00" + struct.pack(">H", 2 + len(large) + len(frame)) + large
    with pytest.raises(Malformed) as caught:
        check(JPEG[:at] + hidden + frame + JPEG[at:])
    assert caught.value.reason == "undecodable_image"


def test_a_picture_of_endless_scans_is_refused_before_it_is_decoded() -> None:
    last = PROGRESSIVE.rindex(b"\xff\xda")
    scan = PROGRESSIVE[last:-2]
    assert decode(PROGRESSIVE).shape == PIXELS.shape
    with pytest.raises(Malformed) as caught:
        check(PROGRESSIVE[:last] + scan * MAX_SCANS + b"\xff\xd9")
    assert caught.value.reason == "image_too_large"


@pytest.mark.parametrize("unit", ["ms", "rfc3339"])
def test_a_time_that_is_nested_however_deep_is_malformed(unit: str) -> None:
    fields = JsonFields.model_validate({"time": "/t", "time_unit": unit, "values": "/q"})
    for depth in range(850, 1010):
        nested = '{"a":' * depth + "1" + "}" * depth
        with pytest.raises(Malformed):
            read_json(f'{{"q": [1], "t": {nested}}}'.encode(), fields)


@pytest.mark.parametrize("document", [{"t": [1] * 2000, "q": [[1]] * 2000}, {"t": [1] * 2000}])
def test_more_rows_or_times_than_a_message_may_hold_are_refused(document: Any) -> None:
    fields = JsonFields.model_validate({"time": "/t", "values": "/q"})
    with pytest.raises(Malformed) as caught:
        read_json(json.dumps({"q": [[1]], **document}).encode(), fields)
    assert caught.value.reason == "too_large"


def test_more_samples_than_a_message_may_hold_are_refused_whatever_their_times() -> None:
    count = MAX_SAMPLES + 1
    message = VectorBatch(times_ns=[2**64 - 1] * count, values=[0.0] * count)
    with pytest.raises(Malformed) as caught:
        decode_samples(message.SerializeToString())
    assert caught.value.reason == "too_large"


def test_a_reason_quotes_no_more_of_the_input_than_a_person_reads() -> None:
    fields = JsonFields.model_validate({"time": "/t", "time_unit": "rfc3339", "values": "/q"})
    with pytest.raises(Malformed) as caught:
        read_json(json.dumps({"t": "x" * 100_000, "q": [1]}).encode(), fields)
    assert len(caught.value.detail) <= LONGEST_DETAIL + 1


@pytest.mark.parametrize("stamp_ms", [2**63 - 1, 2**62, -5])
def test_a_time_that_a_producer_gave_its_record_is_believed_only_where_it_can_be_one(
    stamp_ms: int,
) -> None:
    inputs = mapped({**plain(time=None), "time": "broker"}, kafka=True)
    delivery = sent("robot", {"q": [1, 2]}, key=KEY, broker_time_ns=stamp_ms * 1_000_000)
    if stamp_ms > 0:
        assert reason(inputs, delivery) == "bad_time"
    else:
        assert samples_of(inputs, delivery).time_source is TimeSource.ARRIVAL


def test_a_context_too_long_to_be_in_every_event_is_none() -> None:
    arm = {"kind": "vector", "rate_hz": 100, "channels": 2}
    control = Control([STATION], MqttTopics())
    for length, known in ((100, True), (100_000, False)):
        settings = StationSettings.model_validate({"id": STATION, "modalities": {"arm": arm}})
        station, payload = Station(settings), json.dumps({"part": "x" * length}).encode()
        delivery = Delivery(topic=f"{BASE}/context", payload=payload, received_ns=TIME)
        control.apply(delivery, station)
        assert (station.context_at(TIME) is not None) == known


# Through a running worker


def test_every_damaged_message_is_a_reading_or_a_counted_refusal() -> None:
    account = asyncio.run(asyncio.wait_for(fuzz(2000, seed=1), 300))
    assert wrong(account) == []
    assert account.windows > 20
    assert len(account.refused) > 8
    assert account.letters > 0


def test_the_same_seed_sends_the_same_messages() -> None:
    def drawn(seed: int) -> list[tuple[str, bytes]]:
        return [(one.topic, one.payload) for one in messages(200, seed)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)
