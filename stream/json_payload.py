"""A plant's own JSON to times and rows of numbers, by the pointers of the configuration."""

import json
from typing import Any

from stream.input_settings import JsonFields
from stream.messages import Malformed
from stream.wire import LAST_TIME_NS, MAX_CHANNELS, MAX_SAMPLES, check_times, parse_rfc3339

UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


def read_json(
    payload: bytes, fields: JsonFields, outer_ns: int | None = None
) -> tuple[list[int], list[list[float]]]:
    """Capture times (n,) in nanoseconds and values (n, channels), not yet scaled.

    ``outer_ns`` is the time of the message where the payload holds none. Raises Malformed.
    """
    try:
        document = json.loads(payload, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed("undecodable_json", str(error)) from None
    rows = _rows(document, fields)
    times_ns = [outer_ns] if outer_ns is not None else []
    if outer_ns is None:
        times_ns = _times_ns(_pointed(document, fields.time or ""), fields.time_unit)
    if len(times_ns) != len(rows):
        raise Malformed("wrong_shape", f"{len(times_ns)} times for {len(rows)} samples")
    return times_ns, rows


def _rows(document: Any, fields: JsonFields) -> list[list[float]]:
    if isinstance(fields.values, str):
        found = _pointed(document, fields.values)
        rows = (
            found if isinstance(found, list) and found and isinstance(found[0], list) else [found]
        )
    else:
        rows = [[_pointed(document, pointer) for pointer in fields.values]]
    if len(rows) > MAX_SAMPLES:
        raise Malformed("too_large", f"{len(rows)} rows in {fields.values!r}")
    for row in rows:
        if not isinstance(row, list) or not 0 < len(row) <= MAX_CHANNELS:
            raise Malformed("wrong_shape", f"{fields.values!r} holds no row of numbers")
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in row):
            raise Malformed("not_a_number", f"in {fields.values!r}")
    if len({len(row) for row in rows}) > 1:
        raise Malformed("wrong_shape", "rows of different lengths")
    try:
        return [[float(one) for one in row] for row in rows]
    except OverflowError:
        raise Malformed("not_finite", f"in {fields.values!r}") from None


def _pointed(document: Any, pointer: str) -> Any:
    """RFC 6901."""
    node = document
    for token in pointer.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~")
        try:
            node = node[_index(token)] if isinstance(node, list) else node[token]
        except (KeyError, IndexError, ValueError, TypeError):
            raise Malformed("missing_field", f"no {pointer}") from None
    return node


def _index(token: str) -> int:
    if not (token.isascii() and token.isdigit() and len(token) < 10):
        raise ValueError("no place in an array")
    return int(token)


def _times_ns(found: Any, unit: str) -> list[int]:
    times = found if isinstance(found, list) else [found]
    if len(times) > MAX_SAMPLES:
        raise Malformed("too_large", f"{len(times)} times")
    return [_time_ns(one, unit) for one in times]


def _time_ns(found: Any, unit: str) -> int:
    if unit == "rfc3339" and isinstance(found, str):
        time_ns = parse_rfc3339(found)
        check_times(time_ns, time_ns)
        return time_ns
    if unit == "rfc3339" or isinstance(found, bool) or not isinstance(found, int | float):
        wanted = "text in RFC 3339" if unit == "rfc3339" else f"number of {unit}"
        raise Malformed("bad_time", f"{short(found)} is no {wanted}")
    scaled = found * UNITS_NS[unit]
    if not 0 <= scaled < LAST_TIME_NS:
        raise Malformed("bad_time", f"{short(found)} {unit} since 1970 is no capture time")
    return round(scaled)


def short(found: Any) -> str:
    """A value as an error shows it."""
    # What is nested may be nested deeper than repr goes.
    text = type(found).__name__ if isinstance(found, dict | list) else repr(found)
    return text if len(text) <= 64 else f"{text[:64]}…"


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
