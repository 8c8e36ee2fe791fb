import math
import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.messages import Frame, Malformed, Samples
from stream.proto.compressed_image_pb2 import CompressedImage
from stream.proto.weldfusion_pb2 import VectorBatch
from stream.wire import (
    LAST_TIME_NS,
    MAX_CHANNELS,
    MAX_SAMPLES,
    check_samples,
    decode_frame,
    decode_samples,
    encode_frame,
    encode_samples,
    parse_rfc3339,
    rfc3339,
)

JPEG = b"\xff\xd8\xff\xe0 not a picture yet \xff\xd9"
times = st.integers(0, LAST_TIME_NS - 1)
finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def samples(
    values: list[list[float]], names: tuple[str, ...] = (), units: tuple[str, ...] = ()
) -> Samples:
    array = np.array(values, np.float64)
    return Samples(
        modality="joints",
        times_ns=np.arange(len(values), dtype=np.int64),
        values=array,
        names=names,
        units=units,
    )


@given(time_ns=times, modality=words, tail=st.binary(max_size=50))
def test_a_frame_comes_back_as_it_went(time_ns: int, modality: str, tail: bytes) -> None:
    sent = Frame(modality=modality, time_ns=time_ns, data=JPEG + tail, format="jpeg")
    got = decode_frame(encode_frame(sent))
    assert (got.modality, got.time_ns, got.data, got.format) == (
        sent.modality,
        sent.time_ns,
        sent.data,
        sent.format,
    )
    assert decode_frame(encode_frame(sent), "camera").modality == "camera"


@given(st.data())
@settings(max_examples=50)
def test_samples_come_back_bit_for_bit(data: st.DataObject) -> None:
    count, channels = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 5))
    rows = data.draw(
        st.lists(
            st.lists(finite, min_size=channels, max_size=channels), min_size=count, max_size=count
        )
    )
    stamps = data.draw(st.lists(times, min_size=count, max_size=count))
    labels = data.draw(st.sampled_from([(), tuple(f"q{c}" for c in range(channels))]))
    sent = Samples(
        modality="joints",
        times_ns=np.array(stamps, np.int64),
        values=np.array(rows, np.float64),
        names=labels,
        units=labels,
    )
    got = decode_samples(encode_samples(sent))
    assert got.values.tobytes() == sent.values.tobytes()
    assert got.times_ns.tolist() == stamps
    assert (got.modality, got.names, got.units) == ("joints", labels, labels)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_garbage_bytes_are_only_ever_malformed(payload: bytes) -> None:
    for decode in (decode_frame, decode_samples):
        with suppress(Malformed):
            decode(payload)


@given(at=st.integers(0, 10_000), flip=st.integers(1, 255), cut=st.integers(0, 10_000))
@settings(max_examples=200)
def test_damaged_payloads_are_only_ever_malformed(at: int, flip: int, cut: int) -> None:
    sent = Frame(modality="camera", time_ns=1_700_000_000_123_456_789, data=JPEG, format="jpeg")
    batch = samples([[0.5, -1.0], [2.0, 3.0]], ("a", "b"), ("rad", "rad"))
    for payload, decode in (
        (encode_frame(sent), decode_frame),
        (encode_samples(batch), decode_samples),
    ):
        damaged = bytearray(payload)
        damaged[at % len(damaged)] ^= flip
        for one in (bytes(damaged), payload[: cut % len(payload)]):
            with suppress(Malformed):
                decode(one)


def reason_of_frame(message: CompressedImage) -> str:
    with pytest.raises(Malformed) as caught:
        decode_frame(message.SerializeToString())
    return caught.value.reason


def reason_of_samples(message: VectorBatch) -> str:
    with pytest.raises(Malformed) as caught:
        decode_samples(message.SerializeToString())
    return caught.value.reason


def test_bytes_that_are_no_protobuf_say_so() -> None:
    for decode in (decode_frame, decode_samples):
        with pytest.raises(Malformed) as caught:
            decode(b"\xff\xff\xff garbage")
        assert caught.value.reason == "undecodable_protobuf"


def test_a_frame_without_time_or_data_names_what_is_missing() -> None:
    without_time = CompressedImage(data=JPEG)
    without_data = CompressedImage()
    without_data.timestamp.seconds = 1
    assert reason_of_frame(without_time) == "missing_field"
    assert reason_of_frame(without_data) == "missing_field"


def test_a_frame_that_holds_no_image_is_refused() -> None:
    message = CompressedImage(data=b"GIF89a")
    message.timestamp.seconds = 1
    assert reason_of_frame(message) == "not_an_image"


@pytest.mark.parametrize(
    ("seconds", "nanos"),
    [(-1, 0), (0, -1), (2**62, 0), (-(2**62), 0), (LAST_TIME_NS // 10**9 + 1, 0)],
)
def test_a_frame_with_a_huge_or_negative_time_is_refused(seconds: int, nanos: int) -> None:
    message = CompressedImage(data=JPEG)
    message.timestamp.seconds, message.timestamp.nanos = seconds, nanos
    assert reason_of_frame(message) == "bad_time"


@pytest.mark.parametrize("time_ns", [LAST_TIME_NS, 2**63, 2**64 - 1])
def test_samples_with_a_huge_time_are_refused(time_ns: int) -> None:
    assert reason_of_samples(VectorBatch(times_ns=[5, time_ns], values=[1, 2])) == "bad_time"


@pytest.mark.parametrize(
    ("count", "values"), [(0, 0), (0, 3), (3, 0), (2, 3), (3, 2)], ids=lambda n: str(n)
)
def test_values_that_do_not_fill_the_samples_are_refused(count: int, values: int) -> None:
    message = VectorBatch(times_ns=range(count), values=[0.0] * values)
    assert reason_of_samples(message) == "wrong_shape"


def test_names_and_units_that_do_not_fit_the_channels_are_refused() -> None:
    misnamed = VectorBatch(names=["a"], times_ns=[1], values=[1.0, 2.0])
    assert reason_of_samples(misnamed) == "wrong_shape"
    misunited = VectorBatch(units=["m", "m", "m"], times_ns=[1], values=[1.0, 2.0])
    assert reason_of_samples(misunited) == "wrong_shape"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_place(value: float) -> None:
    message = VectorBatch(times_ns=[1, 2], values=[0, 0, 0, value, 0, 0])
    with pytest.raises(Malformed) as caught:
        decode_samples(message.SerializeToString())
    assert caught.value.reason == "not_finite"
    assert caught.value.detail == "sample 1, channel 1"


def test_too_many_samples_or_channels_are_refused() -> None:
    many = VectorBatch(times_ns=range(MAX_SAMPLES + 1), values=[0.0] * (MAX_SAMPLES + 1))
    wide = VectorBatch(times_ns=[1], values=[0.0] * (MAX_CHANNELS + 1))
    assert reason_of_samples(many) == "too_large"
    assert reason_of_samples(wide) == "too_large"
    most = np.zeros((MAX_SAMPLES, MAX_CHANNELS))
    check_samples(samples(most.tolist()))


def test_values_travel_column_after_column_as_the_proto_file_says() -> None:
    message = VectorBatch()
    message.ParseFromString(encode_samples(samples([[1.0, 10.0], [2.0, 20.0]])))
    assert list(message.values) == [1.0, 2.0, 10.0, 20.0]
    assert struct.pack("<d", 20.0) in message.SerializeToString()


@given(times)
def test_a_time_survives_rfc3339_to_the_microsecond(time_ns: int) -> None:
    assert parse_rfc3339(rfc3339(time_ns)) == time_ns // 1000 * 1000


def test_rfc3339_is_read_with_any_offset_and_fraction() -> None:
    wanted = 1_767_225_600_500_000_000
    for text in ("2026-01-01T00:00:00.5Z", "2026-01-01T02:00:00.500+02:00"):
        assert parse_rfc3339(text) == wanted
    assert parse_rfc3339("1969-12-31T23:59:59.25Z") == -750_000_000


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00"])
def test_a_text_that_is_no_time_with_a_zone_is_refused(text: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_rfc3339(text)
    assert caught.value.reason == "bad_time"


@given(st.text(max_size=30))
def test_any_text_read_as_a_time_is_only_ever_malformed(text: str) -> None:
    with suppress(Malformed):
        assert isinstance(parse_rfc3339(text), int)
