import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.aligner import Aligner, AlignerSpec
from stream.messages import (
    Frame,
    Idle,
    Reading,
    Rejected,
    Window,
)
from tests.aligning import (
    MS,
    SECOND,
    START,
    THREE,
    WELDING,
    YEAR,
    Items,
    batch,
    batched,
    bits,
    by_time,
    frame,
    interleaved,
    readings,
    reasons,
    repeated,
    rewinding,
    run,
    seeds,
    shuffled,
    times_of,
)

# Crash and restore


def stories(rng: np.random.Generator, story: str) -> tuple[AlignerSpec, Items]:
    """Deliveries in which something happens that a snapshot has to carry over."""
    streams = readings(THREE, rng, seconds=1.5)
    if story == "rewind":
        _, again = rewinding(rng)
        streams = {name: streams[name] + again[name] for name in streams}
    elif story == "gap":
        after = readings(THREE, rng, start_ns=START + 4 * SECOND)
        streams = {name: streams[name] + after[name] for name in streams}
    elif story == "leap":
        after = readings(THREE, rng, start_ns=START + 400 * SECOND)
        streams = {name: streams[name] + after[name] for name in streams}
    elif story == "wild":
        for name, one in (("camera", frame), ("joints", lambda m, t: batch(m, [t]))):
            for away_ns in (YEAR, -YEAR):
                at = int(rng.integers(len(streams[name])))
                streams[name].insert(at, one(name, START + away_ns))
    if story in ("plain", "wild"):
        streams = {name: repeated(shuffled(s, rng), rng) for name, s in streams.items()}
    if rng.random() < 0.5:
        streams = {name: batched(stream, rng, 12) for name, stream in streams.items()}
    order: Items = list(interleaved(streams, rng))
    if story == "silent":
        kept = [one for one in order if one.modality != "camera"]
        cameras = [one for one in order if one.modality == "camera"]
        order = [*cameras[:9], *kept[: len(kept) // 2], Idle(modality="camera")]
        order += kept[len(kept) // 2 :]
    return THREE, order


def needed(aligner: Aligner, item: Reading | Idle) -> bool:
    if isinstance(item, Idle):
        return False
    return any(aligner.needs(item.modality, time_ns) for time_ns in times_of(item))


def only_needed(aligner: Aligner, past: Items) -> Items:
    return [item for item in past if needed(aligner, item)]


def from_the_oldest_needed(aligner: Aligner, past: Items) -> Items:
    """What a log delivers again: everything from the oldest needed message of each topic on."""
    again: Items = []
    since: set[str] = set()
    for item in past:
        if needed(aligner, item):
            since.add(item.modality)
        if item.modality in since:
            again.append(item)
    return [item for item in again if not isinstance(item, Idle)]


@pytest.mark.parametrize("story", ["plain", "wild", "rewind", "gap", "leap", "silent"])
@pytest.mark.parametrize("redelivered", [only_needed, from_the_oldest_needed])
@given(rng=seeds, where=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_snapshot_restored_anywhere_goes_on_with_the_same_windows(
    story: str,
    redelivered: Callable[[Aligner, Items], Items],
    rng: np.random.Generator,
    where: float,
) -> None:
    spec, order = stories(rng, story)
    wanted, _ = run(spec, order)
    cut = round(where * len(order))
    crashed = Aligner(spec)
    before, _ = run(crashed, order[:cut], flush=False)
    memory = json.loads(json.dumps(crashed.snapshot()))
    restored = Aligner(spec)
    restored.restore(memory)
    again = redelivered(crashed, order[:cut])
    idle = [item for item in order[:cut] if isinstance(item, Idle)]
    after, _ = run(restored, [*again, *idle, *order[cut:]])
    assert bits([*before, *after]) == bits(wanted)


@given(rng=seeds, where=st.floats(0, 1), further=st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_a_second_crash_while_readings_come_again_changes_nothing_either(
    rng: np.random.Generator, where: float, further: float
) -> None:
    spec, order = stories(rng, "plain")
    wanted, _ = run(spec, order)
    cut = round(where * len(order))
    first, second, third = Aligner(spec), Aligner(spec), Aligner(spec)
    windows, _ = run(first, order[:cut], flush=False)
    again = only_needed(first, order[:cut])
    second.restore(json.loads(json.dumps(first.snapshot())))
    closed_ns = first.snapshot()["closed_until_ns"]
    used_before = [
        one for one in again if not isinstance(one, Idle) and max(times_of(one)) <= closed_ns
    ]
    assert all(needed(second, one) for one in used_before)
    delivered = round(further * len(again))
    windows += run(second, again[:delivered], flush=False)[0]
    third.restore(json.loads(json.dumps(second.snapshot())))
    once_more = [*only_needed(second, again[:delivered]), *again[delivered:]]
    windows += run(third, [*once_more, *order[cut:]])[0]
    assert bits(windows) == bits(wanted)


@pytest.mark.parametrize("story", ["plain", "wild", "rewind", "gap", "leap", "silent"])
@given(rng=seeds)
@settings(max_examples=8, deadline=None)
def test_what_is_no_longer_needed_is_never_needed_again(
    story: str, rng: np.random.Generator
) -> None:
    spec, order = stories(rng, story)
    aligner = Aligner(spec)
    held: set[tuple[str, int]] = set()
    acknowledged: set[tuple[str, int]] = set()
    for at, item in enumerate(order):
        aligner.add(item)
        if not isinstance(item, Idle):
            delivered = {(item.modality, time_ns) for time_ns in times_of(item)}
            held, acknowledged = held | delivered, acknowledged - delivered
        gone = {one for one in held if not aligner.needs(*one)}
        held, acknowledged = held - gone, acknowledged | gone
        if at % 20 == 0:
            assert not [one for one in acknowledged if aligner.needs(*one)]
    assert len(acknowledged) > len(held)


def test_a_restored_aligner_counts_what_comes_again_as_duplicate_and_knows_its_channels() -> None:
    order = by_time(readings(THREE, np.random.default_rng(25)))
    aligner = Aligner(THREE)
    run(aligner, order, flush=False)
    restored = Aligner(WELDING)
    crashed = Aligner(WELDING)
    joints = [one for one in order if one.modality != "process"]
    run(crashed, joints, flush=False)
    restored.restore(json.loads(json.dumps(crashed.snapshot())))
    _, rejected = run(restored, [batch("joints", [START + 2 * SECOND], channels=5)], flush=False)
    assert reasons(rejected) == {"wrong_channels": 1}
    windows, rejected = run(restored, joints)
    assert set(reasons(rejected)) == {"duplicate"}
    assert [window.anchor_ns for window in windows] == [joints_frame(joints)]


def joints_frame(order: Sequence[Reading]) -> int:
    """The only frame whose window the watermark had not closed."""
    return max(one.time_ns for one in order if isinstance(one, Frame))


# Nothing vanishes, nothing grows


@st.composite
def chaos(draw: st.DrawFn) -> Items:
    """Any times in any order: clusters far apart, repeats, idle marks."""
    clusters = st.sampled_from([0, 0, 0, 0, 3, -3, -8, 12, 60, -60, 31_536_000, -31_536_000])
    item = st.tuples(
        st.sampled_from(["camera", "joints", "process"]),
        st.sampled_from(["reading"] * 12 + ["idle"]),
        clusters,
        st.integers(0, 400),
        st.integers(1, 4),
    )
    order: Items = []
    for name, what, cluster_s, place, count in draw(st.lists(item, min_size=5, max_size=60)):
        time_ns = START + cluster_s * SECOND + place * 5 * MS
        if what == "idle":
            order.append(Idle(modality=name))
        elif name == "camera":
            order.append(frame(name, time_ns))
        else:
            order.append(batch(name, [time_ns + k * 8 * MS for k in range(count)]))
    return order


@given(order=chaos())
@settings(max_examples=150, deadline=None)
def test_every_sample_is_held_or_was_in_reach_of_a_window_or_is_refused_once(
    order: Items,
) -> None:
    aligner = Aligner(THREE)
    delivered: Counter[tuple[str, int]] = Counter()
    refused: Counter[tuple[str, int]] = Counter()
    held: set[tuple[str, int]] = set()
    for item in order:
        epoch = aligner.epoch
        rejected = [out for out in aligner.add(item) if isinstance(out, Rejected)]
        now_refused = {(o.modality, time) for o in rejected for time in times_of(o.reading)}
        refused.update((o.modality, time) for o in rejected for time in times_of(o.reading))
        if not isinstance(item, Idle):
            samples = [(item.modality, time_ns) for time_ns in times_of(item)]
            delivered.update(samples)
            held.update(samples)
        gone = {one for one in held if not aligner.needs(*one)}
        closed_ns = aligner.snapshot()["closed_until_ns"]
        for one in gone - now_refused:
            assert one[1] <= closed_ns or aligner.epoch > epoch
        held -= gone
    assert all(count <= delivered[one] for one, count in refused.items())
    kept = {one for one in delivered if refused[one] < delivered[one]}
    assert held <= kept
    last = [out for out in aligner.flush() if isinstance(out, Rejected)]
    refused.update((o.modality, time) for o in last for time in times_of(o.reading))
    assert all(count <= delivered[one] for one, count in refused.items())


@given(order=chaos())
@settings(max_examples=60, deadline=None)
def test_anchors_of_an_epoch_only_rise_whatever_is_delivered(order: Items) -> None:
    windows, _ = run(THREE, order)
    identities = [(window.epoch, window.anchor_ns) for window in windows]
    assert identities == sorted(set(identities))


@given(rng=seeds, ahead=st.sampled_from(["camera", "joints"]))
@settings(max_examples=6, deadline=None)
def test_memory_is_bounded_with_one_modality_hours_ahead_and_the_loss_is_counted(
    rng: np.random.Generator, ahead: str
) -> None:
    spec = replace(WELDING, budget_bytes=30_000)
    aligner = Aligner(spec)
    rejected: list[Rejected] = []
    sent = 0
    for k in range(3000):
        time_ns = START + k * 3 * SECOND
        size = int(rng.integers(1, 60))
        reading: Reading = batch("joints", [time_ns + s * 8 * MS for s in range(size)])
        if ahead == "camera":
            reading = replace(frame("camera", time_ns), data=bytes(int(rng.integers(1, 15_000))))
        sent += len(times_of(reading))
        rejected += [out for out in aligner.add(reading) if isinstance(out, Rejected)]
        assert aligner.size_bytes <= 2 * spec.budget_bytes
    assert set(reasons(rejected)) == {"overflow"}
    lost = {time for one in rejected for time in times_of(one.reading)}
    assert len(lost) == reasons(rejected).total()
    assert sent - len(lost) >= 2
    assert not any(aligner.needs(ahead, time) for time in lost)


# Twice the smaller budget just holds what a window needs of 125 samples a second, what may come out
# of order, and a batch: 57 samples of 24 bytes.
@given(rng=seeds, largest=st.sampled_from([1, 10]), budget_bytes=st.sampled_from([700, 3_000]))
@settings(max_examples=40, deadline=None)
def test_pausing_what_is_ahead_always_makes_progress_and_loses_nothing(
    rng: np.random.Generator, largest: int, budget_bytes: int
) -> None:
    spec = replace(THREE, budget_bytes=budget_bytes)
    streams = readings(spec, rng, seconds=1.5)
    wanted, _ = run(THREE, by_time(streams))
    queues = {n: batched(shuffled(s, rng), rng, largest) for n, s in streams.items()}
    favour = {name: rng.random() ** 6 + 1e-9 for name in queues}
    aligner = Aligner(spec)
    outputs: list[Window | Rejected] = []
    while any(queues.values()):
        open_names = [n for n in queues if queues[n] and n not in aligner.to_pause()]
        if not open_names:  # what is waited for has nothing more to give
            exhausted = [name for name, queue in queues.items() if not queue]
            assert exhausted
            outputs += [out for n in exhausted for out in aligner.add(Idle(modality=n))]
            open_names = [n for n in queues if queues[n] and n not in aligner.to_pause()]
            assert open_names
        weights = np.array([favour[name] for name in open_names])
        name = str(rng.choice(open_names, p=weights / weights.sum()))
        outputs += aligner.add(queues[name].pop(0))
    outputs += aligner.flush()
    assert not [out for out in outputs if isinstance(out, Rejected)]
    anchors = [out.anchor_ns for out in outputs if isinstance(out, Window)]
    assert [a for a in anchors if a <= wanted[-1].anchor_ns] == [w.anchor_ns for w in wanted]
