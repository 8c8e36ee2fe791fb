"""Streams of readings for the tests of the aligner, and ways to deliver and compare them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from stream.aligner import Aligner, AlignerSpec
from stream.lanes import AlignedModality
from stream.messages import (
    Frame,
    Idle,
    ImageView,
    Kind,
    Reading,
    Rejected,
    Samples,
    VectorView,
    Window,
)
from stream.tracks import Timing

MS = 1_000_000
SECOND = 1_000_000_000
YEAR = 365 * 86_400 * SECOND
START = 1_700_000_000 * SECOND
OUT_OF_ORDER = 50 * MS
STEPS = 8

Streams = dict[str, list[Reading]]
Items = list[Reading | Idle]
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def image(rate_hz: float) -> AlignedModality:
    timing = Timing(period_ns=round(1e9 / rate_hz), out_of_order_ns=OUT_OF_ORDER)
    return AlignedModality(kind=Kind.IMAGE, timing=timing)


def vector(rate_hz: float, channels: int = 0) -> AlignedModality:
    period_ns = round(1e9 / rate_hz)
    timing = Timing(
        period_ns=period_ns,
        out_of_order_ns=OUT_OF_ORDER,
        samples=STEPS,
        max_gap_ns=4 * period_ns,
    )
    return AlignedModality(kind=Kind.VECTOR, timing=timing, channels=channels)


def station(anchor: str = "camera", anchor_hz: float = 15, **lanes: AlignedModality) -> AlignerSpec:
    modalities = lanes or {"camera": image(15), "joints": vector(125)}
    period_ns = round(1e9 / anchor_hz)
    return AlignerSpec(
        station="a/b/c/d/e", modalities=modalities, anchor=anchor, anchor_period_ns=period_ns
    )


WELDING = station()
THREE = station(camera=image(15), joints=vector(125, 2), process=vector(9.7, 2))


def frame(modality: str, time_ns: int) -> Frame:
    return Frame(modality=modality, time_ns=time_ns, data=b"%d" % time_ns, format="jpeg")


def batch(modality: str, times_ns: Sequence[int], channels: int = 2) -> Samples:
    times = np.array(times_ns, np.int64)
    seconds = (times - START) / 1e9
    values = np.stack([np.sin(seconds * (7 + c)) + c for c in range(channels)], axis=1)
    return Samples(modality=modality, times_ns=times, values=values)


def readings(
    spec: AlignerSpec, rng: np.random.Generator, seconds: float = 1.0, start_ns: int = START
) -> Streams:
    """Each modality on a clock of its own, with jitter, one sample a reading, in order."""
    streams: Streams = {}
    for name, modality in spec.modalities.items():
        period_ns = modality.timing.period_ns
        count = round(seconds * SECOND / period_ns)
        jitter = rng.integers(-period_ns // 5, period_ns // 5, count)
        times = start_ns + rng.integers(0, period_ns) + np.arange(count) * period_ns + jitter
        one = frame if modality.kind is Kind.IMAGE else lambda m, t: batch(m, [t])
        streams[name] = [one(name, int(time)) for time in times]
    return streams


def lossy(stream: list[Reading], rng: np.random.Generator) -> list[Reading]:
    """Some readings are lost, some of them one after the other."""
    first = int(rng.integers(len(stream)))
    burst = range(first, first + int(rng.integers(1, 8)))
    return [one for at, one in enumerate(stream) if at not in burst and rng.random() < 0.95]


def shuffled(stream: list[Reading], rng: np.random.Generator) -> list[Reading]:
    """Out of order, by less than the watermark allows."""
    arrivals = [one.time_ns + rng.integers(0, OUT_OF_ORDER) for one in stream]
    return [stream[at] for at in np.argsort(arrivals, kind="stable")]


def repeated(stream: list[Reading], rng: np.random.Generator) -> list[Reading]:
    """Now and then a reading comes once more, at once or long after."""
    merged = list(enumerate(stream))
    merged += [(at + int(rng.integers(1, 40)), one) for at, one in merged if rng.random() < 0.1]
    return [one for _, one in sorted(merged, key=lambda entry: entry[0])]


def batched(stream: list[Reading], rng: np.random.Generator, largest: int) -> list[Reading]:
    """Samples in batches of any size; frames as they are."""
    if not isinstance(stream[0], Samples):
        return stream
    out: list[Reading] = []
    at = 0
    while at < len(stream):
        size = int(rng.integers(1, largest + 1))
        parts = [one for one in stream[at : at + size] if isinstance(one, Samples)]
        out.append(
            Samples(
                modality=parts[0].modality,
                times_ns=np.concatenate([one.times_ns for one in parts]),
                values=np.concatenate([one.values for one in parts]),
            )
        )
        at += size
    return out


def interleaved(streams: Streams, rng: np.random.Generator) -> list[Reading]:
    """Any order between modalities, from fair turns to one wholly before the other."""
    queues = {name: list(stream) for name, stream in streams.items() if stream}
    favour = {name: rng.random() ** 6 + 1e-9 for name in queues}
    order: list[Reading] = []
    while queues:
        names = list(queues)
        weights = np.array([favour[name] for name in names])
        name = str(rng.choice(names, p=weights / weights.sum()))
        run = int(rng.integers(1, 20))
        order += queues[name][:run]
        queues[name] = queues[name][run:]
        if not queues[name]:
            del queues[name]
    return order


def by_time(streams: Streams) -> list[Reading]:
    return sorted((one for stream in streams.values() for one in stream), key=lambda r: r.time_ns)


def run(
    spec: AlignerSpec | Aligner, items: Iterable[Reading | Idle], flush: bool = True
) -> tuple[list[Window], list[Rejected]]:
    aligner = Aligner(spec) if isinstance(spec, AlignerSpec) else spec
    outputs = [out for item in items for out in aligner.add(item)]
    if flush:
        outputs += aligner.flush()
    windows = [out for out in outputs if isinstance(out, Window)]
    return windows, [out for out in outputs if isinstance(out, Rejected)]


def seen_by(view: ImageView | VectorView) -> tuple[Any, ...]:
    held: tuple[Any, ...]
    if isinstance(view, VectorView):
        held = view.values.tobytes(), view.supported.tobytes(), view.readings
    else:
        held = tuple(one and (one.time_ns, one.data) for one in (view.frame, view.previous))
    return (*held, view.skew_ns, view.largest_gap_ns)


def bits(windows: Iterable[Window]) -> list[tuple[Any, ...]]:
    """All that a window holds, comparable bit for bit."""
    return [
        (
            window.station,
            window.epoch,
            window.anchor_ns,
            window.closed_by,
            window.idle,
            {name: seen_by(view) for name, view in window.views.items()},
        )
        for window in windows
    ]


def reasons(rejected: Iterable[Rejected]) -> Counter[str]:
    return sum((Counter({one.reason: one.samples}) for one in rejected), Counter())


def in_turns(streams: Streams) -> list[Reading]:
    """As they were sent, whatever their stamps say."""
    keyed = [
        (at / len(stream), name, one)
        for name, stream in streams.items()
        for at, one in enumerate(stream)
    ]
    return [one for _, _, one in sorted(keyed, key=lambda entry: entry[:2])]


def rewinding(rng: np.random.Generator, back_s: float = 60) -> tuple[Streams, Streams]:
    first = readings(THREE, rng)
    again = readings(THREE, rng, start_ns=START - round(back_s * SECOND))
    return first, again


def times_of(reading: Reading) -> list[int]:
    return reading.times_ns.tolist() if isinstance(reading, Samples) else [reading.time_ns]
