"""Faults between a reading and the broker: late, lost, twice, out of order, mis-stamped, broken.

They hit messages of either kind and are never seen in what the message says, but for its stamps and
its bytes. The authors list them without figures; the maxima are ours.
"""

from dataclasses import replace

import numpy as np

from simulators.faults.registry import Origin, Outgoing, StreamInjector, fault
from simulators.timing import shifted
from stream.wire import encode_reading

MS = 1_000_000
S = 1_000_000_000
COPY_MS = (1.0, 100.0)
STALL_PERIOD_S = 4.0


@fault(
    name="late",
    kind=None,
    origin=Origin.TRANSPORT,
    scales="delay",
    maximum=2000.0,
    unit="ms",
    published_range=(0.2, 1.0),
)
def late(delay_ms: float, rng: np.random.Generator) -> StreamInjector:
    """A link is congested: every message comes later by the same time, stamped as it was taken."""
    return lambda outgoing, seconds: [_later(outgoing, delay_ms * MS)]


@fault(
    name="missing",
    kind=None,
    origin=Origin.TRANSPORT,
    scales="share of messages lost",
    maximum=1.0,
    published_range=(0.2, 1.0),
)
def missing(share: float, rng: np.random.Generator) -> StreamInjector:
    """A radio link drops messages, independently of one another; all of them at 1."""
    return lambda outgoing, seconds: [] if rng.random() < share else [outgoing]


@fault(
    name="duplicated",
    kind=None,
    origin=Origin.TRANSPORT,
    scales="share of messages sent twice",
    maximum=1.0,
    published_range=(0.2, 1.0),
)
def duplicated(share: float, rng: np.random.Generator) -> StreamInjector:
    """Acknowledgements are lost, and a sender repeats itself after 1 to 100 ms as drawn."""

    def inject(outgoing: Outgoing, seconds: float) -> list[Outgoing]:
        repeated, after_ms = rng.random() < share, rng.uniform(*COPY_MS)
        return [outgoing, _later(outgoing, after_ms * MS)] if repeated else [outgoing]

    return inject


@fault(
    name="reordered",
    kind=None,
    origin=Origin.TRANSPORT,
    scales="longest delay of a message",
    maximum=500.0,
    unit="ms",
    published_range=(0.2, 1.0),
)
def reordered(longest_ms: float, rng: np.random.Generator) -> StreamInjector:
    """Messages take several ways of different length: each is late by a time of its own."""
    return lambda outgoing, seconds: [_later(outgoing, rng.uniform(0, longest_ms) * MS)]


@fault(
    name="stalled",
    kind=None,
    origin=Origin.TRANSPORT,
    scales="how long nothing comes, once in 4 s from the onset on",
    maximum=3.0,
    unit="s",
    published_range=(0.2, 1.0),
)
def stalled(held_s: float, rng: np.random.Generator) -> StreamInjector:
    """A sender hangs again and again, then gives everything that has gathered at once."""

    def inject(outgoing: Outgoing, seconds: float) -> list[Outgoing]:
        return [_later(outgoing, max(held_s - seconds % STALL_PERIOD_S, 0.0) * S)]

    return inject


@fault(
    name="clock_offset",
    kind=None,
    origin=Origin.TRANSPORT,
    scales="error of the stamps, before or after",
    maximum=3.0,
    unit="s",
    published_range=(0.1, 1.0),
)
def clock_offset(offset_s: float, rng: np.random.Generator) -> StreamInjector:
    """A device has not found its time server: all stamps are wrong by the same, either way."""
    shift_ns = round(rng.choice((-1, 1)) * offset_s * S)
    return lambda outgoing, seconds: [_stamped(outgoing, shift_ns)]


@fault(
    name="clock_drift",
    kind=None,
    origin=Origin.TRANSPORT,
    scales="rate of the stamps' error, fast or slow",
    maximum=100.0,
    unit="ms/s",
    published_range=(0.1, 1.0),
)
def clock_drift(ms_per_s: float, rng: np.random.Generator) -> StreamInjector:
    """A device's clock runs fast or slow, far more than a quartz would, so that a test is short.

    All samples of one message are shifted alike.
    """
    rate = rng.choice((-1, 1)) * ms_per_s
    return lambda outgoing, seconds: [_stamped(outgoing, round(rate * seconds * MS))]


@fault(
    name="malformed",
    kind=None,
    origin=Origin.TRANSPORT,
    scales="share of messages that nobody can read",
    maximum=1.0,
    published_range=(0.2, 1.0),
)
def malformed(share: float, rng: np.random.Generator) -> StreamInjector:
    """Bytes are damaged on their way: cut short, noise instead, or another program's text."""

    def inject(outgoing: Outgoing, seconds: float) -> list[Outgoing]:
        if rng.random() >= share:
            return [outgoing]
        payload = encode_reading(outgoing.reading) if outgoing.payload is None else outgoing.payload
        return [replace(outgoing, payload=_damaged(payload, rng))]

    return inject


def _damaged(payload: bytes, rng: np.random.Generator) -> bytes:
    kind = rng.integers(3)
    if kind == 0:
        return payload[: int(rng.integers(1, max(len(payload) // 2, 2)))]
    # No message begins with 0xff, for its last three bits are no wire type of protobuf.
    return b"\xff" + rng.bytes(len(payload)) if kind == 1 else b'{"error": "out of memory"}'


def _later(outgoing: Outgoing, delay_ns: float) -> Outgoing:
    return replace(outgoing, due_ns=outgoing.due_ns + round(delay_ns))


def _stamped(outgoing: Outgoing, shift_ns: int) -> Outgoing:
    return replace(outgoing, reading=shifted(outgoing.reading, shift_ns))
