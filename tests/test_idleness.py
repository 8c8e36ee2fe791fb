from hypothesis import given
from hypothesis import strategies as st

from stream.idleness import Idleness

MS = 1_000_000
TIMEOUT = 500 * MS
STRIDE = 600 * MS


def idleness(*names: str) -> Idleness:
    return Idleness(names or ("camera", "arm"), TIMEOUT, STRIDE, now_ns=0)


def check(stage: Idleness, at_ms: float, more: frozenset[str] = frozenset()) -> list[str]:
    """Names declared idle, where the sources in ``more`` still have something to give."""
    found = stage.check(round(at_ms * MS), lambda name: name not in more)
    return [one.modality for one in found]


def test_a_silent_modality_is_declared_idle_once() -> None:
    stage = idleness("camera")
    assert check(stage, 0) == []
    assert check(stage, 499) == []
    assert check(stage, 500) == ["camera"]
    assert check(stage, 1500) == []


def test_a_modality_that_speaks_is_not_idle() -> None:
    stage = idleness("camera")
    for at_ms in range(0, 5000, 60):
        stage.heard("camera")
        assert check(stage, at_ms + 30) == []


def test_silence_counts_only_while_the_source_has_nothing_more_to_give() -> None:
    stage = idleness("camera")
    more = frozenset({"camera"})
    for at_ms in range(0, 60_000, 20):
        assert check(stage, at_ms, more) == []
    assert check(stage, 60_000) == []
    assert check(stage, 60_400) == []
    assert check(stage, 60_420, more) == [], "the count begins anew"
    assert check(stage, 60_600) == []
    assert check(stage, 61_099) == []
    assert check(stage, 61_100) == ["camera"]


def test_a_modality_that_speaks_again_can_fall_idle_again() -> None:
    stage = idleness("camera")
    check(stage, 0)
    assert check(stage, 600) == ["camera"]
    stage.heard("camera")
    assert check(stage, 710) == []
    assert check(stage, 1300) == ["camera"]


def test_one_silent_modality_does_not_make_the_station_silent() -> None:
    stage = idleness()
    for at_ms in range(0, 3000, 20):
        stage.heard("arm")
        check(stage, at_ms)
    assert stage.silent_ns == 0


def test_a_station_is_silent_since_its_last_reading_once_all_are_idle() -> None:
    stage = idleness()
    check(stage, 100)
    stage.heard("camera")
    check(stage, 130)
    stage.heard("arm")
    check(stage, 140)
    assert stage.silent_ns == 0
    assert sorted(check(stage, 640)) == ["arm", "camera"]
    check(stage, 1130)
    assert stage.silent_ns == 1000 * MS
    stage.heard("arm")
    assert stage.silent_ns == 0


def test_a_worker_that_stood_still_takes_nobody_for_silent() -> None:
    """Hours passed between two looks: what was sent meanwhile may still wait to be read."""
    stage = Idleness(("camera", "arm"), TIMEOUT, 40 * MS, now_ns=0)
    for at_ms in range(0, 400, 20):
        assert check(stage, at_ms) == []
    assert check(stage, 3_600_000) == []
    stage.heard("camera")
    for at_ms in range(3_600_020, 3_600_080, 20):
        assert check(stage, at_ms) == []
    assert check(stage, 3_600_080) == ["arm"], "it was listened to for 500 ms"
    assert stage.silent_ns == 0


def test_a_slow_worker_notices_a_silence_later_but_does() -> None:
    stage = Idleness(("camera",), TIMEOUT, 40 * MS, now_ns=0)
    looks = [at_ms for at_ms in range(0, 3000, 100) if check(stage, at_ms)]
    assert looks == [1300]
    check(stage, 60_000)
    assert stage.silent_ns < 2000 * MS


def test_it_is_caught_up_while_readings_flow_and_their_sources_are_exhausted() -> None:
    """A reading every 8 ms, a look every 40 ms: what comes between two looks changes nothing."""
    stage = idleness()
    check(stage, 0)
    for at_ms in range(0, 1000, 8):
        stage.heard("arm")
        stage.heard("camera")
        if at_ms % 40 == 0:
            check(stage, at_ms)
        assert stage.caught_up


def test_it_is_not_caught_up_while_any_source_has_more_to_give() -> None:
    stage = idleness()
    assert not stage.caught_up, "nobody has looked yet"
    check(stage, 0, more=frozenset({"arm"}))
    assert not stage.caught_up
    check(stage, 20)
    assert stage.caught_up


def test_a_clock_that_was_set_back_delays_idleness_by_no_more_than_its_time() -> None:
    stage = idleness("camera")
    check(stage, 3_600_000)
    assert check(stage, 0) == []
    assert check(stage, 500) == ["camera"]


@given(
    st.lists(st.tuples(st.integers(1, 300), st.booleans(), st.booleans()), min_size=1, max_size=80)
)
def test_nobody_is_idle_who_spoke_or_had_more_to_give_within_the_timeout(
    steps: list[tuple[int, bool, bool]],
) -> None:
    stage = idleness("camera")
    now_ms, busy_ms = 0, 0
    for pause_ms, speaks, has_more in steps:
        now_ms += pause_ms
        if speaks:
            stage.heard("camera")
        if speaks or has_more:
            busy_ms = now_ms
        if check(stage, now_ms, frozenset({"camera"} if has_more else ())):
            assert now_ms - busy_ms >= 500


def test_when_a_silent_station_speaks_again_every_modality_is_waited_for() -> None:
    idleness = Idleness(("camera", "kinematics"), 500, 600, 0)
    assert len(idleness.check(0, lambda _: True)) == 0
    assert {one.modality for one in idleness.check(600, lambda _: True)} == {"camera", "kinematics"}
    idleness.heard("kinematics")
    assert idleness.check(710, lambda _: True) == []
    assert idleness.check(1100, lambda _: True) == []
    assert {one.modality for one in idleness.check(1300, lambda _: True)} == {
        "camera",
        "kinematics",
    }
