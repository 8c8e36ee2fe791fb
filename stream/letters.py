"""Dead letters and late readings: how a refusal is written on the wire, and read again. Pure."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stream.events import JSON, to_json
from stream.inputs import MODALITY_HEADER
from stream.messages import Malformed
from stream.settings import STATION_PATTERN
from stream.topics import Address, carries_readings
from stream.transports.transport import Delivery, Message
from stream.wire import LAST_TIME_NS

ENVELOPE_LIMIT_BYTES = 64 << 10  # beyond it an original is told by hash and length
CONNECT = "__connect.errors."
OURS = "weldfusion.letter."  # what Kafka Connect has no header for
REASON = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What was refused, and why.

    ``original`` is None where only ``size`` and ``sha256`` were kept. ``topic`` is empty where the
    payload as it came was gone: ``original`` is then the reading in weldfusion's own format.
    """

    time_ns: int  # when it was written or, where the broker stamps nothing, heard
    reason: str
    detail: str
    station: str
    modality: str
    topic: str
    size: int
    sha256: str
    original: bytes | None
    partition: int | None = None
    offset: int | None = None
    key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def write_letter(
    address: Address,
    payload: bytes,
    facts: Mapping[str, Any],
    origin: Delivery | None,
    *,
    kafka: bool,
) -> Message:
    """A refusal as a message; ``facts`` are reason, detail, station, modality and what else.

    ``payload`` is that of ``origin``, if the delivery that brought it is known.
    """
    too_large = len(payload) > ENVELOPE_LIMIT_BYTES
    whole = {"size": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    if kafka:
        body = to_json({**facts, **whole}) if too_large else payload
        kept_as = {OURS + name: str(value) for name, value in whole.items()} if too_large else {}
        headers = _kafka_headers(facts, origin) | kept_as
        return Message(topic=address.topic, key=address.key, payload=body, headers=headers)
    given = {"headers": dict(origin.headers)} if origin and origin.headers else {}
    original = None if too_large else base64.b64encode(payload).decode()
    document = {**facts, **given, **whole, "original": original}
    return Message(topic=address.topic, payload=to_json(document), content_type=JSON)


def _kafka_headers(facts: Mapping[str, Any], origin: Delivery | None) -> dict[str, str]:
    """The original's own headers, as Kafka Connect keeps them, and beside them the reason."""
    told = {
        CONNECT + "exception.class.name": facts["reason"],
        CONNECT + "exception.message": facts["detail"],
        CONNECT + "topic": facts.get("topic", ""),
        OURS + "station": facts["station"],
    }
    if origin is None:
        return {MODALITY_HEADER: facts["modality"], **told}
    if origin.partition is not None:
        told[CONNECT + "partition"] = str(origin.partition)
        told[CONNECT + "offset"] = str(origin.offset)
    if origin.key:
        told[OURS + "key"] = origin.key
    return {MODALITY_HEADER: facts["modality"], **_foreign(origin.headers), **told}


def _foreign(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that a message had before it became a letter."""
    ours = (CONNECT, OURS)
    return {name: text for name, text in headers.items() if not name.startswith(ours)}


def read_letter(delivery: Delivery, *, kafka: bool) -> Letter:
    """A late reading or dead letter as it was written; raises Malformed for anything else."""
    letter = _from_headers(delivery) if kafka else _from_envelope(delivery)
    if not REASON.fullmatch(letter.reason):
        raise Malformed("no_letter", f"{letter.reason!r} is no reason")
    if letter.station and not re.fullmatch(STATION_PATTERN, letter.station):
        raise Malformed("no_letter", f"{letter.station!r} is no station")
    return letter


def _from_headers(delivery: Delivery) -> Letter:
    headers = delivery.headers
    kept_as = headers.get(OURS + "sha256")
    size = _number(headers.get(OURS + "size")) if kept_as else len(delivery.payload)
    return Letter(
        time_ns=_time_ns(delivery),
        reason=headers.get(CONNECT + "exception.class.name", ""),
        detail=headers.get(CONNECT + "exception.message", ""),
        station=headers.get(OURS + "station", ""),
        modality=headers.get(MODALITY_HEADER, ""),
        topic=headers.get(CONNECT + "topic", ""),
        size=size or 0,
        sha256=kept_as or hashlib.sha256(delivery.payload).hexdigest(),
        original=None if kept_as else delivery.payload,
        partition=_number(headers.get(CONNECT + "partition")),
        offset=_number(headers.get(CONNECT + "offset")),
        key=headers.get(OURS + "key", ""),
        headers=_foreign(headers),
    )


def _time_ns(delivery: Delivery) -> int:
    """The broker's time where it can be one: a producer may have set it."""
    possible = 0 < delivery.broker_time_ns < LAST_TIME_NS
    return delivery.broker_time_ns if possible else delivery.received_ns


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else None


def _from_envelope(delivery: Delivery) -> Letter:
    try:
        document = json.loads(delivery.payload)
        if not isinstance(document, dict):
            raise ValueError("no JSON object")
        original = document.get("original")
        kept = None if original is None else base64.b64decode(original, validate=True)
        return Letter(
            time_ns=_time_ns(delivery),
            original=kept,
            size=_typed(document, "size", 0) if kept is None else len(kept),
            sha256=_typed(document, "sha256", ""),
            headers=_texts(document.get("headers", {})),
            **{name: _typed(document, name, "") for name in ("reason", "detail", "topic")},
            **{name: _typed(document, name, "") for name in ("station", "modality")},
        )
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed("no_letter", str(error)) from None


def _typed(document: Mapping[str, Any], name: str, missing: Any) -> Any:
    found = document.get(name, missing)
    if type(found) is not type(missing):
        raise ValueError(f"{name} is no {type(missing).__name__}")
    return found


def _texts(found: Any) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise ValueError("headers are no texts")
    return found


def obstacle(letter: Letter) -> str:
    """Why an original cannot be sent again; empty where it can."""
    if letter.original is None:
        return f"only hash and length were kept: {letter.size} bytes, sha256 {letter.sha256}"
    if not letter.topic:
        return "it was refused after it had been read, and its payload as it came is gone"
    if not carries_readings(letter.topic):
        return f"{letter.topic} is no topic for readings"
    return ""


def original_of(letter: Letter) -> Message:
    """The message that was refused, as it came; only where there is no obstacle."""
    assert letter.original is not None
    headers = dict(letter.headers)
    content_type = headers.pop("content-type", "")
    return Message(
        topic=letter.topic,
        payload=letter.original,
        key=letter.key,
        headers=headers,
        content_type=content_type,
    )
