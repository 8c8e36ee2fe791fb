"""What a broken or hostile sender makes of real messages; a function of a Random and its input."""

import json
import math
import struct
from collections.abc import Callable
from random import Random
from typing import Any

Change = Callable[[Random, bytes], bytes]
SPECIAL = [
    struct.pack("<d", one) for one in (math.nan, math.inf, -math.inf, 1e308, -0.0, 5e-324)
] + [
    b"\xff" * 8,
    b"\x00" * 8,
    b"\x80" * 10 + b"\x01",
    b"\xc3\x28",
    b"\xff\xd9",
    b"\xff\x00\x00\x20",
]
NUMBERS = ["NaN", "-Infinity", "1e999", "-1e999", "9" * 400, "9" * 5000, "-1", "0", "1.5", "true"]
STRANGE = [*NUMBERS, "null", '""', '"\\ud800"', "[]", "{}", "[[]]", '{"a":1,"a":2}', '"2026-13-01"']


def mutated(random: Random, payload: bytes) -> bytes:
    """The payload after one to three changes of any kind."""
    for _ in range(random.randint(1, 3)):
        payload = random.choice(CHANGES)(random, payload)
    return payload


def flipped(random: Random, payload: bytes) -> bytes:
    """Some bits are wrong."""
    data = bytearray(payload or b"\0")
    for _ in range(random.randint(1, 8)):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    return bytes(data)


def cut(random: Random, payload: bytes) -> bytes:
    """The end is missing."""
    return payload[: random.randint(0, len(payload))]


def spliced(random: Random, payload: bytes) -> bytes:
    """A stretch of it stands somewhere else, or twice."""
    first, last = sorted(random.randint(0, len(payload)) for _ in range(2))
    at = random.randint(0, len(payload))
    return payload[:at] + payload[first:last] + payload[random.choice([at, last]) :]


def overwritten(random: Random, payload: bytes) -> bytes:
    """Numbers, lengths and markers that nobody expects there."""
    at, special = random.randint(0, len(payload)), random.choice(SPECIAL)
    return payload[:at] + special + payload[at + random.choice([0, len(special)]) :]


def counted(random: Random, payload: bytes) -> bytes:
    """A byte that may be a length or a count promises much more, or less."""
    if not payload:
        return b"\xff"
    at = random.randrange(min(len(payload), 64))
    return payload[:at] + random.choice([b"\xff\xff\xff\x7f", b"\x00", b"\x7f"]) + payload[at + 1 :]


def grown(random: Random, payload: bytes) -> bytes:
    """It stands there several times, or with much behind it."""
    return random.choice([payload * random.randint(2, 5), payload + bytes(random.randint(1, 5000))])


def noise(random: Random, payload: bytes) -> bytes:
    """Nothing of it is left."""
    return random.randbytes(random.randint(0, 200))


CHANGES: tuple[Change, ...] = (flipped, cut, spliced, overwritten, counted, grown, noise)


def strange_json(random: Random, document: dict[str, Any]) -> bytes:
    """One value is of another kind, missing, given twice or nested beyond reason."""
    parts = {key: json.dumps(value) for key, value in document.items()}
    key = random.choice(sorted(parts))
    match random.randrange(5):
        case 0:
            del parts[key]
        case 1:
            parts[key] = f"[{random.choice(STRANGE)}, {parts[key]}]"
        case 2:
            depth = random.randint(1, 1100)
            opened, closed = random.choice([("[", "]"), ('{"a":', "}")])
            parts[key] = opened * depth + random.choice(STRANGE) + closed * depth
        case 3:
            parts[f'{key}": 1, "{key}'] = random.choice(STRANGE)
        case _:
            parts[key] = random.choice(STRANGE)
    return ("{" + ",".join(f'"{name}": {text}' for name, text in parts.items()) + "}").encode()
