from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from simulators.recordings.open import open_recording
from simulators.timing import Played, duration_s, played, shifted
from stream.messages import Frame, Samples
from tests.recorded import MS, RECORDED_NS, SECOND, write_recording

NOW_NS = 1_760_000_000 * SECOND
GAP_NS = 3 * SECOND  # between episodes, and between a loop's end and its beginning


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recorded") / "two.mcap", episodes=2)


def play(path: str | Path, *, loop: bool = False, keep_times: bool = False) -> list[Played]:
    """All that is played, of a loop the first 400 readings."""
    return list(islice(played(open_recording(path), NOW_NS, loop, keep_times), 400))


def test_all_readings_are_shifted_by_one_constant(recorded: Path) -> None:
    original = [record.reading.time_ns for record in open_recording(f"{recorded}#1").records()]
    now = [one.reading.time_ns for one in play(f"{recorded}#1")]
    assert len({after - before for before, after in zip(original, now, strict=True)}) == 1


def test_the_first_reading_is_due_at_the_start(recorded: Path) -> None:
    first = play(recorded)[0]
    assert first.due_ns == NOW_NS
    assert first.reading.time_ns == NOW_NS - 2 * MS, "captured before it was logged, as recorded"


def test_readings_are_due_at_the_pace_at_which_they_were_logged(recorded: Path) -> None:
    logged = [record.log_time_ns for record in open_recording(f"{recorded}#0").records()]
    due = [one.due_ns for one in play(f"{recorded}#0")]
    assert np.diff(due).tolist() == np.diff(logged).tolist()


def test_episodes_follow_one_another_three_seconds_apart(recorded: Path) -> None:
    records = list(open_recording(recorded).records())
    at = [record.episode for record in records].index(1)
    whole = play(recorded)
    assert whole[at].due_ns - whole[at - 1].due_ns == GAP_NS
    assert len(whole) == len(records)


def test_a_loop_goes_on_in_time_and_repeats_everything_else(recorded: Path) -> None:
    once, looped = play(recorded), play(recorded, loop=True)
    again = looped[len(once) :][: len(once)]
    assert len(looped) == 400 > 2 * len(once)
    assert again[0].due_ns - once[-1].due_ns == GAP_NS
    pairs = list(zip(once, again, strict=True))
    assert len({two.reading.time_ns - one.reading.time_ns for one, two in pairs}) == 1
    assert all(same_content(one, two) for one, two in pairs)


def same_content(one: Played, two: Played) -> bool:
    if isinstance(one.reading, Frame) and isinstance(two.reading, Frame):
        return one.reading.data == two.reading.data
    assert isinstance(one.reading, Samples)
    assert isinstance(two.reading, Samples)
    return np.array_equal(one.reading.values, two.reading.values)


@pytest.mark.parametrize("modality", ["camera", "arm"])
def test_time_never_runs_backwards_over_loops(recorded: Path, modality: str) -> None:
    of_one = [one for one in play(recorded, loop=True) if one.reading.modality == modality]
    assert (np.diff([one.reading.time_ns for one in of_one]) > 0).all()
    assert (np.diff([one.due_ns for one in of_one]) >= 0).all()


def test_kept_times_stay_as_recorded_while_the_pace_is_that_of_now(recorded: Path) -> None:
    kept = play(recorded, keep_times=True)
    records = list(open_recording(recorded).records())
    assert [one.reading.time_ns for one in kept] == [one.reading.time_ns for one in records]
    assert kept[0].reading.time_ns == RECORDED_NS
    assert [one.due_ns for one in kept] == [one.due_ns for one in play(recorded)]


def test_all_samples_of_a_batch_are_shifted_and_nothing_else_changes() -> None:
    samples = Samples(
        modality="arm",
        times_ns=np.array([10, 20], np.int64),
        values=np.array([[1.0], [2.0]]),
        names=("x",),
        units=("m",),
    )
    later = shifted(samples, 5)
    assert isinstance(later, Samples)
    assert later.times_ns.tolist() == [15, 25]
    assert samples.times_ns.tolist() == [10, 20]
    assert (later.values.tolist(), later.names, later.units) == ([[1.0], [2.0]], ("x",), ("m",))


def test_the_duration_counts_the_gaps_between_episodes(recorded: Path) -> None:
    lengths = [(one.end_ns - one.start_ns) / SECOND for one in open_recording(recorded).episodes]
    assert duration_s(open_recording(recorded)) == pytest.approx(sum(lengths) + 3)
    assert duration_s(open_recording(f"{recorded}#1")) == pytest.approx(lengths[1])
