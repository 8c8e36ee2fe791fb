"""What foreign payloads become: plain JSON, and bare images with the time that each is given."""

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.inputs import TIME_HEADER
from stream.messages import Malformed, TimeSource
from tests.mapping import (
    JPEG,
    KEY,
    MS,
    SECOND,
    TIME,
    bare,
    frame_of,
    mapped,
    own,
    plain,
    read,
    reason,
    samples_of,
    sent,
)

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
