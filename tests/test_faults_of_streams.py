"""What each fault of transport does to messages of either kind, and what all of them keep to."""

import numpy as np
import pytest

from simulators.faults.effect import stream_effect
from simulators.faults.registry import Outgoing, fault_names, start
from stream.images import encode_jpeg
from stream.messages import Frame, Kind, Malformed, Reading, Samples
from stream.wire import decode_frame, decode_samples
from tests.scenes import SEEDS, scene

MS = 1_000_000
S = 1_000_000_000
START_NS = 1_700_000_000 * S
RATE_HZ = 25
NAMES = fault_names(None)
PICTURE = encode_jpeg(scene())


def messages(seconds: float = 6.0, kind: Kind = Kind.VECTOR) -> list[Outgoing]:
    """Readings of a stream that are due 5 ms after they were taken."""
    times_ns = START_NS + np.arange(round(seconds * RATE_HZ)) * (S // RATE_HZ)
    return [
        Outgoing(reading=reading(kind, time_ns), due_ns=time_ns + 5 * MS)
        for time_ns in times_ns.tolist()
    ]


def reading(kind: Kind, time_ns: int) -> Reading:
    if kind is Kind.IMAGE:
        return Frame(modality="camera", time_ns=time_ns, data=PICTURE, format="jpeg")
    return Samples(
        modality="arm", times_ns=np.array([time_ns]), values=np.ones((1, 3)), names=("a", "b", "c")
    )


def sent(name: str, severity: float, seed: int, due: list[Outgoing]) -> list[list[Outgoing]]:
    """What is sent instead of each message."""
    injector = start(None, name, severity, seed)
    return [injector(one, (one.reading.time_ns - START_NS) / S) for one in due]


def delays_ms(due: list[Outgoing], instead: list[list[Outgoing]]) -> list[float]:
    return [
        (other.due_ns - one.due_ns) / MS
        for one, others in zip(due, instead, strict=True)
        for other in others
    ]


def stamp_errors_ms(due: list[Outgoing], instead: list[list[Outgoing]]) -> list[float]:
    return [
        (others[0].reading.time_ns - one.reading.time_ns) / MS
        for one, others in zip(due, instead, strict=True)
    ]


def facts(instead: list[list[Outgoing]]) -> list[tuple[object, ...]]:
    return [(one.reading.time_ns, one.due_ns, one.payload) for others in instead for one in others]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("name", NAMES)
def test_at_severity_zero_every_message_is_sent_as_it_is(name: str, kind: Kind) -> None:
    due = messages(kind=kind)
    assert sent(name, 0.0, 3, due) == [[one] for one in due]


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_sends_the_same_and_nothing_before_its_time(name: str, kind: Kind) -> None:
    due = messages(2.0, kind)
    before = facts([[one] for one in due])
    once = sent(name, 0.6, 3, due)
    assert facts(once) == facts(sent(name, 0.6, 3, messages(2.0, kind)))
    assert min(delays_ms(due, once)) >= 0
    assert facts([[one] for one in due]) == before


@pytest.mark.parametrize("name", NAMES)
def test_the_effect_grows_with_severity(name: str) -> None:
    due = messages()
    for seed in SEEDS:
        effects = [
            sum(
                stream_effect(one, others, RATE_HZ)
                for one, others in zip(due, sent(name, severity, seed, due), strict=True)
            )
            for severity in (0.05, 0.3, 0.6, 1.0)
        ]
        assert effects == sorted(effects)
        assert effects[0] > 0


def test_late_messages_keep_their_order_and_their_stamps() -> None:
    due = messages()
    instead = sent("late", 0.4, 1, due)
    assert set(delays_ms(due, instead)) == {800.0}
    assert set(stamp_errors_ms(due, instead)) == {0.0}


@pytest.mark.parametrize(("severity", "share"), [(0.3, 0.3), (1.0, 1.0)])
def test_so_many_messages_are_missing(severity: float, share: float) -> None:
    instead = sent("missing", severity, 1, messages(40.0))
    assert np.mean([not others for others in instead]) == pytest.approx(share, abs=0.04)


def test_so_many_messages_come_twice_the_second_a_little_later() -> None:
    due = messages(40.0)
    instead = sent("duplicated", 0.3, 1, due)
    twice = [others for others in instead if len(others) == 2]
    assert len(twice) / len(due) == pytest.approx(0.3, abs=0.04)
    assert all(1 <= (again.due_ns - first.due_ns) / MS <= 100 for first, again in twice)
    assert all(again.reading is first.reading for first, again in twice)


def test_reordered_messages_overtake_one_another_within_their_longest_delay() -> None:
    due = messages()
    instead = sent("reordered", 0.6, 1, due)
    delays = delays_ms(due, instead)
    assert 250 < max(delays) <= 300
    arrival = np.argsort([others[0].due_ns for others in instead])
    assert (np.diff(arrival) < 0).mean() > 0.3


def test_a_stalled_sender_gives_all_at_once_what_had_gathered() -> None:
    due = messages(8.0)
    instead = sent("stalled", 0.5, 1, due)
    gathered = [others[0].due_ns for others in instead[: round(1.5 * RATE_HZ)]]
    assert set(gathered) == {START_NS + 1500 * MS + 5 * MS}
    again = [others[0].due_ns for others in instead[4 * RATE_HZ : round(5.5 * RATE_HZ)]]
    assert set(again) == {START_NS + 5500 * MS + 5 * MS}
    flowing = slice(round(1.5 * RATE_HZ), 4 * RATE_HZ)
    assert set(delays_ms(due[flowing], instead[flowing])) == {0.0}


def test_a_clock_offset_shifts_all_stamps_by_the_same_either_way() -> None:
    errors = set()
    for seed in SEEDS:
        due = messages()
        instead = sent("clock_offset", 0.5, seed, due)
        (error,) = set(stamp_errors_ms(due, instead))
        errors.add(error)
        assert set(delays_ms(due, instead)) == {0.0}
    assert errors == {-1500.0, 1500.0}


def test_a_drifting_clock_is_right_at_first_and_wrong_by_its_rate_later() -> None:
    due = messages()
    errors = np.array(stamp_errors_ms(due, sent("clock_drift", 0.5, 1, due)))
    assert errors[0] == 0
    np.testing.assert_allclose(np.abs(np.diff(errors)), 50 / RATE_HZ, atol=1e-3)


@pytest.mark.parametrize("kind", Kind)
def test_so_many_messages_are_malformed_and_none_of_them_can_be_read(kind: Kind) -> None:
    instead = sent("malformed", 0.4, 1, messages(40.0, kind))
    payloads = [one.payload for others in instead for one in others]
    broken = [payload for payload in payloads if payload is not None]
    assert len(broken) / len(payloads) == pytest.approx(0.4, abs=0.04)
    assert len({len(payload) for payload in broken}) > 3
    for payload in broken:
        with pytest.raises(Malformed):
            decode_frame(payload) if kind is Kind.IMAGE else decode_samples(payload)
