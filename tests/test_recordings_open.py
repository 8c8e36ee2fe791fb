from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.recordings.episodes import EpisodeChoice, parse_episodes
from simulators.recordings.open import open_recording, split_spec
from simulators.recordings.recording import Episode, RecordingError
from tests.test_recordings_layouts import write_folder, write_lerobot, write_mcap

THERE = tuple(Episode(number=n, start_ns=n, end_ns=n) for n in (1, 2, 4, 5, 7, 9))


def picked(text: str) -> list[int]:
    return [one.number for one in parse_episodes(text).pick(THERE, Path("set"))]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1-5", [1, 2, 4, 5]),
        ("3-8", [4, 5, 7]),
        ("9,1", [1, 9]),
        ("2,5,7-9", [2, 5, 7, 9]),
        (" 1 - 2 , 9", [1, 2, 9]),
    ],
)
def test_a_range_takes_those_that_exist(text: str, numbers: list[int]) -> None:
    assert picked(text) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("3", "set: no episode 3; there are 1-2, 4-5, 7, 9"),
        ("1-4,6", "set: no episode 6"),
        ("10-20", "set: no episode in 10-20"),
        ("", "is no episode number"),
        ("1-", "'1-' is no episode number"),
        ("a", "'a' is no episode number"),
        ("5-2", "the range 5-2 runs backwards"),
        ("-3", "'-3' is no episode number"),
    ],
)
def test_a_wrong_choice_is_told(text: str, message: str) -> None:
    with pytest.raises(RecordingError) as caught:
        picked(text)
    assert message in str(caught.value)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)).map(sorted), min_size=1))
def test_a_choice_reads_back_what_it_shows(ranges: list[list[int]]) -> None:
    choice = EpisodeChoice(ranges=tuple((a, b) for a, b in ranges))
    assert parse_episodes(str(choice)) == choice


def test_episodes_stand_behind_the_hash(tmp_path: Path) -> None:
    root = write_lerobot(tmp_path / "set")
    assert [one.number for one in open_recording(f"{root}#2-9").episodes] == [4]
    with pytest.raises(RecordingError, match="no episode 2; there are 1, 4"):
        open_recording(f"{root}#2")


def test_a_hash_in_a_files_own_name_is_left_alone(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "run#2.mcap")
    assert split_spec(path)[0] == path
    assert len(open_recording(path).episodes) == 2
    assert [one.number for one in open_recording(f"{path}#1").episodes] == [1]


def test_each_layout_is_told_by_what_lies_there(tmp_path: Path) -> None:
    assert open_recording(write_lerobot(tmp_path / "a")).format == "LeRobot v2.1"
    assert open_recording(write_folder(tmp_path / "b")).format == "folder of CSV and images"
    assert open_recording(write_mcap(tmp_path / "c.mcap")).format == "MCAP"


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"nothing\.mcap: no such file"):
        open_recording(tmp_path / "nothing.mcap")


def test_an_unknown_kind_of_file_lists_the_known(tmp_path: Path) -> None:
    (tmp_path / "weld.bag").write_bytes(b"x")
    with pytest.raises(RecordingError, match=r"weld\.bag: not a recording .*\.mcap, \.avi"):
        open_recording(tmp_path / "weld.bag")


def test_a_folder_of_mcaps_asks_for_one(tmp_path: Path) -> None:
    write_mcap(tmp_path / "a.mcap")
    with pytest.raises(RecordingError, match=r"name one, as .*a\.mcap"):
        open_recording(tmp_path)
