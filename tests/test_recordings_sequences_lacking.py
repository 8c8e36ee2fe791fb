"""What a data set of numbered pictures lacks is counted and told; what is wrong is named."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from simulators.recordings.mapping import RecordingMap
from simulators.recordings.open import open_recording
from simulators.recordings.recording import RecordingError
from stream.config import ConfigError, parse
from tests.test_recordings_info import run
from tests.test_recordings_sequences import (
    BY_FRAME,
    CAMERA,
    COUNT,
    IN_FOLDERS,
    JOINTS,
    mapped,
    pairs,
    rows_of,
    same,
    write_pictures,
    write_rows,
    write_sequences,
    write_set,
)


def test_pictures_without_a_row_and_rows_without_a_picture_are_counted(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_rows(tmp_path / "joints.csv", rows_of([0, 1, 2, 30, 31, 32]))
    recording = open_recording(tmp_path, mapped(joints=BY_FRAME))
    assert pairs(recording) == same([0, 1, 2])
    assert recording.metadata["lacking"] == (
        f"camera: 3 pictures without a row left out, the first {tmp_path}/images/frame_000003.png; "
        "camera: no picture for 3 rows, the first row 5"
    )
    assert len(recording.capture_times(recording.episodes[0])["joints"]) == COUNT


def test_info_tells_what_is_lacking(tmp_path: Path) -> None:
    write_set(tmp_path / "set", [0, 1, 2, 4])
    write_rows(tmp_path / "set" / "joints.csv", rows_of(range(5)))
    modalities = {"camera": CAMERA, "joints": BY_FRAME}
    map_file = tmp_path / "map.yaml"
    map_file.write_text(yaml.safe_dump({"kind": "recording", "modalities": modalities}))
    result = run(tmp_path / "set", "--map", map_file)
    assert "format    numbered pictures and CSV" in result.output
    assert "lacking   camera: no picture for 1 row, the first row 5" in result.output


def test_a_sequence_without_its_csv_is_left_out_and_told(tmp_path: Path) -> None:
    write_sequences(tmp_path, ["1", "2", "3"])
    (tmp_path / "2" / "joints.csv").unlink()
    recording = open_recording(tmp_path, IN_FOLDERS)
    assert [one.number for one in recording.episodes] == [1, 3]
    assert "camera: 6 pictures without a row left out" in recording.metadata["lacking"]
    for file in (tmp_path / "3" / "images").iterdir():
        file.unlink()
    recording = open_recording(tmp_path, IN_FOLDERS)
    assert "1 sequence without camera left out: 3" in recording.metadata["lacking"]


def test_other_data_in_the_folder_is_counted(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_pictures(tmp_path / "images", [("thumb.png", 1), ("mask_1.png", 1)])
    (tmp_path / "images" / ".hidden.png").write_bytes(b"")
    lacking = open_recording(tmp_path, mapped(joints=BY_FRAME)).metadata["lacking"]
    assert lacking.startswith("2 other files left out, the first ")
    assert lacking.endswith("mask_1.png")


@pytest.mark.parametrize("cell", ["", "nan", "NaN", "  "])
def test_a_row_with_an_empty_cell_stops_unless_the_map_leaves_it_out(
    tmp_path: Path, cell: str
) -> None:
    write_set(tmp_path)
    rows = [(n, n, cell if n in (2, 4) else 0) for n in range(COUNT)]
    file = write_rows(tmp_path / "joints.csv", rows)
    with pytest.raises(RecordingError) as caught:
        open_recording(tmp_path, mapped(joints=BY_FRAME))
    assert "joints.csv: row 4, column 'q2': " in str(caught.value)
    assert "incomplete: leave_out" in str(caught.value)
    for joints in (BY_FRAME, {**JOINTS, "columns": ["q1", "q2"]}):
        lenient = mapped(joints={**joints, "incomplete": "leave_out"})
        recording = open_recording(tmp_path, lenient)
        assert pairs(recording) == [(0, n, n if n not in (2, 4) else n - 1) for n in range(COUNT)]
        assert recording.metadata["lacking"] == (
            f"2 rows with an empty or NaN cell left out, the first {file}: row 4, column 'q2'"
        )


def test_an_unreadable_picture_stops_unless_the_map_leaves_it_out(tmp_path: Path) -> None:
    write_set(tmp_path)
    images = tmp_path / "images"
    whole = (images / "frame_000002.png").read_bytes()
    (images / "frame_000002.png").write_bytes(whole[:-40])
    (images / "frame_000004.png").write_bytes(b"no picture")
    with pytest.raises(
        RecordingError,
        match=r"2 of 6 pictures cannot be read, as .*frame_000002\.png: trunc",
    ):
        open_recording(tmp_path, mapped(joints=BY_FRAME))
    lenient = mapped({**CAMERA, "incomplete": "leave_out"}, BY_FRAME)
    recording = open_recording(tmp_path, lenient)
    assert pairs(recording) == same([0, 1, 3, 5])
    assert "2 of 6 pictures cannot be read" in recording.metadata["lacking"]
    assert len(recording.capture_times(recording.episodes[0])["camera"]) == 4


def test_a_picture_damaged_inside_is_named_when_it_is_reached(tmp_path: Path) -> None:
    write_set(tmp_path)
    damaged = tmp_path / "images" / "frame_000003.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:41] + bytes(20) + whole[61:])
    recording = open_recording(tmp_path, mapped(joints=BY_FRAME))
    with pytest.raises(RecordingError, match=r"frame_000003\.png: undecodable_image"):
        list(recording.records())


def test_a_number_that_two_pictures_have_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_pictures(tmp_path / "images", [("frame_3.png", 3), ("frame_04.png", 4)])
    with pytest.raises(
        RecordingError, match=r"frame_04\.png: picture 4 again, as frame_000004\.png \(2 such files"
    ):
        open_recording(tmp_path, mapped(joints=BY_FRAME))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 1, 2), (0, 1, 2)], "rows 2 and 3: both are of picture 0"),
        ([(" ", 1, 2)], "row 2: no picture's number (1 such row)"),
        ([("one", 1, 2)], "row 2, column 'frame': 'one' is not a picture's number"),
        ([(0.5, 1, 2)], "row 2, column 'frame': '0.5' is not a picture's number"),
        ([(0, 1, "on")], "row 2, column 'q2': 'on' is not a number; a map may list under columns"),
        ([(0, 1, "inf")], "row 2, column 'q2': 'inf' is not a finite number"),
        ([(7, 1, 2)], "no sequence has every modality; 1 sequence without camera left out"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, rows: list[tuple[Any, ...]], message: str) -> None:
    write_set(tmp_path)
    write_rows(tmp_path / "joints.csv", rows)
    with pytest.raises(RecordingError) as caught:
        open_recording(tmp_path, mapped(joints=BY_FRAME))
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"camera": {"files": "{frame}.png"}}, "nothing fits modalities.camera.files, {frame}.png"),
        ({"joints": {"files": "joints.csv", "columns": ["q1"]}}, "joints.csv: no time: name "),
        ({"camera": {**CAMERA, "rate_hz": 5, "first_frame": 3}}, "(3 such files)"),
        ({"joints": {**JOINTS, "columns": ["q9"]}}, "no column 'q9', there are frame, q1, q2"),
    ],
)
def test_a_map_that_does_not_fit_the_folder_says_so(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    write_set(tmp_path)
    with pytest.raises(RecordingError) as caught:
        open_recording(tmp_path, mapped(**changed))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("camera", "joints", "message"),
    [
        ({"files": "images/*.png"}, JOINTS, "must have {frame} once for pictures"),
        ({"files": "{index}.png"}, JOINTS, "knows {sequence} and {frame}, not {index}"),
        ({"files": "{frame}.bmp"}, JOINTS, "must end in .png, .jpg, .jpeg or .csv"),
        (
            CAMERA,
            {"files": "{frame}.csv"},
            "once for pictures, and not for a CSV",
        ),
        (CAMERA, {"rate_hz": 5}, "modalities.joints has no files, others have"),
        ({**CAMERA, "frame_column": "i"}, JOINTS, "frame_column may not stand beside files of pic"),
        (CAMERA, {**JOINTS, "first_frame": 1}, "first_frame may not stand beside files of a CSV"),
        (CAMERA, {"frame_column": "i"}, "frame_column may only stand beside files"),
        ({**CAMERA, "first_frame": 1}, BY_FRAME, "first_frame is not for a CSV's frame_column"),
        ({"files": "{sequence}/{frame}.png"}, JOINTS, "modalities.joints does not tell its sequ"),
        (CAMERA, {**JOINTS, "files": "{sequence}.csv"}, "modalities.camera does not tell its sequ"),
        (
            {"files": "{sequence}/{frame}.png"},
            {"files": "{sequence}.csv", "sequence_column": "run"},
            "has both {sequence} in files and a sequence_column; keep one",
        ),
    ],
)
def test_a_map_that_contradicts_itself_is_refused(
    camera: dict[str, Any], joints: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        mapped(camera, joints)
    assert message in str(caught.value)


def test_pictures_need_a_rate_where_no_csv_or_more_than_one_could_time_them() -> None:
    for others in ({}, {"a": JOINTS, "b": {**JOINTS, "files": "b.csv"}}):
        content = {"kind": "recording", "modalities": {"camera": CAMERA, **others}}
        with pytest.raises(ConfigError, match=r"modalities\.camera needs rate_hz, or a CSV with a"):
            parse(content, RecordingMap, "map.yaml")


def test_numbered_pictures_without_a_map_say_what_reads_them(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images", ((f"{n}.png", n) for n in range(3)))
    with pytest.raises(RecordingError, match="names are no times but numbers; a map with files"):
        open_recording(tmp_path)
