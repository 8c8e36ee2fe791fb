"""Numbered pictures beside CSVs, as data sets come, read by a map alone."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from simulators.recordings.mapping import RecordingMap, read_map
from simulators.recordings.open import open_recording
from simulators.recordings.recording import RecordingError
from simulators.recordings.timeline import START_NS, TimedRecording, times_of
from stream.config import parse
from stream.images import decode
from stream.messages import Frame, Samples

MS = 1_000_000
COUNT = 6
HZ = 20
CAMERA = {"files": "images/frame_{frame}.png"}
JOINTS = {"files": "joints.csv", "rate_hz": HZ}
BY_FRAME = {**JOINTS, "frame_column": "frame"}


def mapped(camera: dict[str, Any] = CAMERA, joints: dict[str, Any] = JOINTS, **more: Any) -> Any:
    content = {"kind": "recording", "modalities": {"camera": camera, "joints": joints}, **more}
    return parse(content, RecordingMap, "map.yaml")


def picture(number: int, height: int = 255, width: int = 255, channels: int = 3) -> np.ndarray:
    """Its brightness tells the number; the fourth channel is transparent in half of it."""
    pixels = np.full((height, width, channels), 10 + number, np.uint8)
    if channels == 4:
        pixels[: height // 2, :, 3] = 0
    return pixels


def write_pictures(folder: Path, names: Iterable[tuple[str, int]], **shape: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, number in names:
        assert cv2.imwrite(str(folder / name), picture(number, **shape))


def write_rows(
    file: Path,
    rows: Sequence[Sequence[object]],
    header: Sequence[str] | None = ("frame", "q1", "q2"),
    separator: str = ",",
) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join(map(str, row)) for row in ([header] if header else []) + [*rows]]
    file.write_text("\n".join(lines) + "\n")
    return file


def rows_of(numbers: Iterable[int]) -> list[tuple[int, float, float]]:
    """A row for each picture, with its number as the first joint's angle."""
    return [(number, number, -number / 2) for number in numbers]


def write_set(root: Path, numbers: Iterable[int] = range(COUNT), **shape: int) -> Path:
    numbers = list(numbers)
    write_pictures(root / "images", ((f"frame_{n:06d}.png", n) for n in numbers), **shape)
    write_rows(root / "joints.csv", rows_of(numbers))
    return root


def pairs(recording: TimedRecording) -> list[tuple[int, int, int]]:
    """(episode, picture's number, joint of the newest row no later than it), in order."""
    angle, found = -1, []
    for record in sorted(
        recording.records(), key=lambda one: (one.log_time_ns, isinstance(one.reading, Frame))
    ):
        if isinstance(record.reading, Samples):
            angle = round(record.reading.values[0, 0])
        else:
            shown = int(decode(record.reading.data)[-1, -1, 0]) - 10
            found.append((record.episode, shown, angle))
    return found


def same(numbers: Iterable[int], episode: int = 0) -> list[tuple[int, int, int]]:
    return [(episode, number, number) for number in numbers]


def test_a_picture_has_the_time_of_the_row_with_its_number(tmp_path: Path) -> None:
    recording = open_recording(write_set(tmp_path, [0, 1, 2, 7, 8]), mapped(joints=BY_FRAME))
    assert pairs(recording) == same([0, 1, 2, 7, 8])
    times = recording.capture_times(recording.episodes[0])
    assert ((times["camera"] - START_NS) // MS).tolist() == [0, 50, 100, 350, 400]
    assert recording.modalities["joints"].names == ("q1", "q2")
    assert recording.modalities["camera"].rate_hz == HZ
    assert recording.modalities["camera"].size_px == (255, 255)
    assert recording.metadata == {}


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("{}.png", "{frame}.png"),
        ("img_{:04}.png", "img_{frame}.png"),
        ("cam_{:02}_rgb.png", "cam_{frame}_rgb.png"),
        ("{:06}.PNG", "{frame}.PNG"),
        ("run(1).{}.jpg", "run(1).{frame}.jpg"),
    ],
)
def test_pictures_are_found_by_any_name_that_has_their_number(
    tmp_path: Path, name: str, pattern: str
) -> None:
    numbers = [9, 10, 99, 100]
    write_pictures(tmp_path / "rgb", ((name.format(n), n) for n in numbers))
    write_rows(tmp_path / "joints.csv", rows_of(numbers))
    recording = open_recording(tmp_path, mapped({"files": f"rgb/{pattern}"}, BY_FRAME))
    assert pairs(recording) == same(numbers)


@pytest.mark.parametrize("joints", [6, 7, 12])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_any_number_of_joints_is_read_however_they_are_separated(
    tmp_path: Path, joints: int, separator: str
) -> None:
    write_set(tmp_path)
    header = ["frame", *(f"q{joint}" for joint in range(joints))]
    rows = [(n, *(n + joint / 8 for joint in range(joints))) for n in range(COUNT)]
    write_rows(tmp_path / "joints.csv", rows, header, separator)
    recording = open_recording(tmp_path, mapped(joints=BY_FRAME))
    assert recording.modalities["joints"].names == tuple(header[1:])
    assert pairs(recording) == same(range(COUNT))


def test_where_semicolons_separate_a_comma_is_a_decimal_point(tmp_path: Path) -> None:
    write_set(tmp_path)
    rows = [(n, f"{n},25") for n in range(COUNT)]
    write_rows(tmp_path / "joints.csv", rows, ("frame", "q1"), ";")
    records = open_recording(tmp_path, mapped(joints=BY_FRAME)).records()
    values = [one.reading.values[0, 0] for one in records if isinstance(one.reading, Samples)]
    assert values == [n + 0.25 for n in range(COUNT)]


def test_a_csv_without_a_header_gets_its_names_from_the_map(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_rows(tmp_path / "joints.csv", rows_of(range(COUNT)), header=None)
    named = {**BY_FRAME, "header": ["frame", "a", "b"]}
    recording = open_recording(tmp_path, mapped(joints=named))
    assert recording.modalities["joints"].names == ("a", "b")
    assert pairs(recording) == same(range(COUNT))
    with pytest.raises(RecordingError, match=r"row 1: holds numbers .*give the names under header"):
        open_recording(tmp_path, mapped())
    with pytest.raises(RecordingError, match=r"joints\.csv: row 1: 3 cells, the header has 2"):
        open_recording(tmp_path, mapped(joints={**JOINTS, "header": ["a", "b"]}))


def test_numbers_are_column_names_where_the_map_names_columns_by_them(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_rows(tmp_path / "joints.csv", rows_of(range(COUNT)), ("0", "1", "2"))
    recording = open_recording(tmp_path, mapped(joints={**JOINTS, "columns": ["1", "2"]}))
    assert recording.modalities["joints"].names == ("1", "2")
    assert pairs(recording) == same(range(COUNT))


def test_a_time_column_gives_the_pictures_of_its_rows_their_times(tmp_path: Path) -> None:
    write_set(tmp_path)
    ms = [5000, 5040, 5100, 5400, 5410, 5500]
    rows = [(t, n, n, "weld") for n, t in enumerate(ms)]
    write_rows(tmp_path / "joints.csv", rows, ("t", "frame", "q1", "phase"))
    timed = {
        "files": "joints.csv",
        "time_column": "t",
        "time_unit": "ms",
        "frame_column": "frame",
        "columns": ["q1"],
    }
    recording = open_recording(tmp_path, mapped(joints=timed))
    times = recording.capture_times(recording.episodes[0])
    assert ((times["camera"] - START_NS) // MS).tolist() == [t - 5000 for t in ms]
    assert pairs(recording) == same(range(COUNT))


def test_a_clock_that_names_a_day_keeps_it(tmp_path: Path) -> None:
    write_set(tmp_path)
    rows = [(1_700_000_000 + n / 10, n) for n in range(COUNT)]
    write_rows(tmp_path / "joints.csv", rows, ("time", "q1"))
    recording = open_recording(tmp_path, mapped(joints={**JOINTS, "time_column": "time"}))
    assert recording.episodes[0].start_ns == 1_700_000_000 * 10**9
    assert pairs(recording) == same(range(COUNT))


def test_without_numbers_and_rates_the_nth_row_is_the_nth_pictures(tmp_path: Path) -> None:
    numbers = [1, 2, 4, 5, 6]  # 3 was lost, its row was not
    write_pictures(tmp_path / "images", ((f"frame_{n}.png", n) for n in numbers))
    write_rows(tmp_path / "joints.csv", [(n,) for n in range(1, 7)], ("q1",))
    recording = open_recording(tmp_path, mapped({**CAMERA, "first_frame": 1}))
    assert pairs(recording) == same(numbers)
    assert recording.metadata["lacking"] == "camera: no picture for 1 row, the first row 4"


def test_numbers_that_begin_at_1_show_where_first_frame_was_forgotten(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", ((f"frame_{n}.png", n) for n in range(1, 4)))
    write_rows(tmp_path / "joints.csv", [(n,) for n in range(1, 4)], ("q1",))
    lacking = open_recording(tmp_path, mapped()).metadata["lacking"]
    assert "camera: 1 picture without a row left out" in lacking
    assert "frame_3.png; is first_frame right?" in lacking
    assert "camera: no picture for 1 row, the first row 2" in lacking


def test_rows_faster_than_pictures_stand_beside_counted_pictures(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", ((f"frame_{n}.png", n) for n in (1, 2, 4)))
    write_rows(tmp_path / "joints.csv", [(n // 5 + 1, 0) for n in range(20)], ("q1", "q2"))
    counted = {**CAMERA, "rate_hz": HZ, "first_frame": 1}
    recording = open_recording(tmp_path, mapped(counted, {**JOINTS, "rate_hz": 5 * HZ}))
    assert pairs(recording) == same([1, 2, 4])
    assert recording.modalities["joints"].rate_hz == 5 * HZ
    assert "lacking" not in recording.metadata


def test_rows_faster_than_pictures_may_name_their_picture(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", ((f"frame_{n}.png", n) for n in range(4)))
    rows = [(row / 100, row // 5, row // 5) for row in range(20)]
    write_rows(tmp_path / "joints.csv", rows, ("t", "frame", "q1"))
    recording = open_recording(tmp_path, mapped(joints={**BY_FRAME, "time_column": "t"}))
    assert pairs(recording) == same(range(4))
    assert "camera: 4 picture numbers in more than one row" in recording.metadata["lacking"]
    with pytest.raises(
        RecordingError, match=r"joints\.csv: rows 2 and 3: both are of picture 0 \(16 such pairs\)"
    ):
        open_recording(tmp_path, mapped(joints={**BY_FRAME, "columns": ["q1"]}))


def test_rows_between_the_pictures_may_name_none(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", ((f"frame_{n}.png", n) for n in range(4)))
    rows = [(row / 100, "" if row % 5 else f"{row // 5}.0", row // 5) for row in range(20)]
    write_rows(tmp_path / "joints.csv", rows, ("t", "frame", "q1"))
    recording = open_recording(tmp_path, mapped(joints={**BY_FRAME, "time_column": "t"}))
    assert pairs(recording) == same(range(4))
    assert len(recording.capture_times(recording.episodes[0])["joints"]) == 20
    assert "lacking" not in recording.metadata
    with pytest.raises(RecordingError, match=r"row 3: no picture's number \(16 such rows\)"):
        open_recording(tmp_path, mapped(joints={**BY_FRAME, "columns": ["q1"]}))


@pytest.mark.parametrize("size", [(255, 255), (253, 127), (64, 300)])
def test_the_alpha_channel_is_no_part_of_a_picture(tmp_path: Path, size: tuple[int, int]) -> None:
    write_set(tmp_path, height=size[0], width=size[1], channels=4)
    recording = open_recording(tmp_path, mapped(joints=BY_FRAME))
    assert recording.modalities["camera"].size_px == size
    for record in recording.records():
        if isinstance(record.reading, Frame):
            assert record.reading.pixels is not None
            assert record.reading.pixels.shape == (*size, 3)
            assert len(np.unique(record.reading.pixels)) == 1


def write_sequences(root: Path, names: Sequence[str]) -> Path:
    for at, name in enumerate(names):
        write_set(root / name, range(10 * at, 10 * at + COUNT))
    return root


IN_FOLDERS = mapped(
    {"files": "{sequence}/images/frame_{frame}.png"}, {**BY_FRAME, "files": "{sequence}/joints.csv"}
)


def test_each_folder_is_a_sequence_and_its_number_the_episodes(tmp_path: Path) -> None:
    write_sequences(tmp_path, ["1", "02", "10"])
    recording = open_recording(tmp_path, IN_FOLDERS)
    assert [one.number for one in recording.episodes] == [1, 2, 10]
    assert pairs(recording) == [
        *same(range(COUNT), 1),
        *same(range(10, 10 + COUNT), 2),
        *same(range(20, 20 + COUNT), 10),
    ]
    assert all(a.end_ns + 3 * 10**9 == b.start_ns for a, b in pairwise(recording.episodes))
    assert recording.metadata["sequences"] == "1, 2, 10"


def test_sequences_with_names_are_counted_in_their_natural_order(tmp_path: Path) -> None:
    write_sequences(tmp_path, ["weld_10", "weld_2"])
    recording = open_recording(tmp_path, IN_FOLDERS)
    assert [one.number for one in recording.episodes] == [0, 1]
    assert recording.metadata["sequences"] == "weld_2, weld_10"


def test_one_episode_lies_where_it_lies_among_all(tmp_path: Path) -> None:
    write_sequences(tmp_path, ["1", "2", "3"])
    every, one = (open_recording(f"{tmp_path}{spec}", IN_FOLDERS) for spec in ("", "#2"))
    assert one.episodes == every.episodes[1:2]
    assert pairs(one) == [pair for pair in pairs(every) if pair[0] == 2]
    assert one.modalities == every.modalities


def test_capture_times_agree_with_the_records_of_every_episode(tmp_path: Path) -> None:
    recording = open_recording(write_sequences(tmp_path, ["1", "2"]), IN_FOLDERS)
    for episode in recording.episodes:
        read = times_of(r for r in recording.records() if r.episode == episode.number)
        for name, times_ns in recording.capture_times(episode).items():
            np.testing.assert_array_equal(read[name], times_ns)


def test_one_csv_may_hold_every_sequence(tmp_path: Path) -> None:
    for name in ("007", "8"):
        write_pictures(tmp_path / "images" / name, ((f"{n}.png", n) for n in range(COUNT)))
    rows = [(one, n, n) for one in (7, 8) for n in range(COUNT)]
    write_rows(tmp_path / "joints.csv", rows, ("run", "frame", "q1"))
    camera = {"files": "images/{sequence}/{frame}.png"}
    for joints in (BY_FRAME, {**JOINTS, "columns": ["q1"]}):
        recording = open_recording(tmp_path, mapped(camera, {**joints, "sequence_column": "run"}))
        assert pairs(recording) == [*same(range(COUNT), 7), *same(range(COUNT), 8)]


def test_pictures_numbered_through_fall_into_the_sequences_of_their_rows(tmp_path: Path) -> None:
    write_set(tmp_path)
    rows = [(f"weld {n // 3}", n, n) for n in range(COUNT)]
    write_rows(tmp_path / "joints.csv", rows, ("run", "frame", "q1"))
    for joints in (BY_FRAME, {**JOINTS, "columns": ["q1"]}):
        recording = open_recording(tmp_path, mapped(CAMERA, {**joints, "sequence_column": "run"}))
        assert pairs(recording) == [*same(range(3), 0), *same(range(3, 6), 1)]
    write_rows(tmp_path / "joints.csv", [(0, 0, 0), ("", 1, 1)], ("run", "frame", "q1"))
    with pytest.raises(RecordingError, match="row 3, column 'run': empty, the row belongs to no"):
        open_recording(tmp_path, mapped(CAMERA, {**BY_FRAME, "sequence_column": "run"}))
    rows = [(n // 3, n % 3, n) for n in range(COUNT)]
    write_rows(tmp_path / "joints.csv", rows, ("run", "frame", "q1"))
    with pytest.raises(RecordingError, match=r"row 5: picture 0 belongs to sequence '0' by row 2"):
        open_recording(tmp_path, mapped(CAMERA, {**BY_FRAME, "sequence_column": "run"}))


def test_two_robots_may_share_a_csv(tmp_path: Path) -> None:
    write_set(tmp_path, [0, 1, 3])
    rows = [(n, n, n, n / 2) for n in range(4)]
    write_rows(tmp_path / "joints.csv", rows, ("frame", "left_q1", "right_q1", "right_q2"))
    for joints in (BY_FRAME, JOINTS):
        left = {**joints, "columns": ["left_q1"]}
        right = {**joints, "columns": ["right_q1", "right_q2"]}
        content = {"camera": CAMERA, "left": left, "right": right}
        both = parse({"kind": "recording", "modalities": content}, RecordingMap, "map.yaml")
        recording = open_recording(tmp_path, both)
        assert recording.modalities["right"].names == ("right_q1", "right_q2")
        assert pairs(recording) == same([0, 1, 3])
        times = recording.capture_times(recording.episodes[0])
        np.testing.assert_array_equal(times["left"], times["right"])


def test_pictures_may_lie_beside_the_csv_and_name_their_sequence(tmp_path: Path) -> None:
    for name in "ab":
        write_pictures(tmp_path, ((f"{name}_{n}.png", n) for n in range(COUNT)))
        write_rows(tmp_path / f"{name}.csv", rows_of(range(COUNT)))
    camera, joints = {"files": "{sequence}_{frame}.png"}, {**BY_FRAME, "files": "{sequence}.csv"}
    recording = open_recording(tmp_path, mapped(camera, joints))
    assert pairs(recording) == [*same(range(COUNT), 0), *same(range(COUNT), 1)]


def test_a_long_sequence_is_cut_into_equal_episodes(tmp_path: Path) -> None:
    cut = mapped(joints=BY_FRAME, episode_s=0.5)
    recording = open_recording(write_set(tmp_path, range(40), height=16, width=16), cut)
    assert [one.number for one in recording.episodes] == [0, 1, 2, 3]
    assert [pair[1:] for pair in pairs(recording)] == [(n, n) for n in range(40)]
    counts = np.bincount([pair[0] for pair in pairs(recording)])
    assert counts.min() >= 9
    second = open_recording(f"{tmp_path}#1", cut)
    assert pairs(second) == [pair for pair in pairs(recording) if pair[0] == 1]


def test_pictures_alone_are_a_recording(tmp_path: Path) -> None:
    write_set(tmp_path)
    content = {"kind": "recording", "modalities": {"camera": {**CAMERA, "rate_hz": HZ}}}
    recording = open_recording(tmp_path, parse(content, RecordingMap, "map.yaml"))
    assert len(list(recording.records())) == COUNT
    assert "1 other file left out" in recording.metadata["lacking"]


def test_the_shipped_example_reads_what_its_comments_describe(tmp_path: Path) -> None:
    shipped = read_map(Path(__file__).parents[1] / "configs" / "recording-paper-dataset.yaml")
    write_pictures(tmp_path / "images", ((f"frame_{n:06d}.png", n) for n in range(COUNT)))
    header = ("frame", *(f"q{joint}" for joint in range(1, 7)), "torque")
    write_rows(tmp_path / "kinematics.csv", [(n, *[n] * 6, "x") for n in range(COUNT)], header, ";")
    recording = open_recording(tmp_path, shipped)
    assert recording.modalities["kinematics"].names == header[1:7]
    assert set(recording.modalities["kinematics"].units) == {"rad"}
    assert pairs(recording) == same(range(COUNT))
