from pathlib import Path

import numpy as np
import pytest

from simulators.recordings.mapping import ModalityMap, RecordingMap
from simulators.recordings.open import open_recording
from simulators.recordings.recording import RecordingError
from stream.images import decode, encode_jpeg
from stream.messages import Frame, Samples
from tests.test_recordings_layouts import START_NS, picture, write_csv, write_folder


def mapped(**modalities: ModalityMap) -> RecordingMap:
    return RecordingMap(kind="recording", modalities=modalities)


def folder_of(tmp_path: Path, text: str) -> Path:
    (tmp_path / "joints.csv").write_text(text)
    return tmp_path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "folder")


def test_rows_and_images_come_under_the_names_of_their_files(root: Path) -> None:
    recording = open_recording(root)
    assert recording.modalities.keys() == {"joints", "front", "alpha", "depth"}
    assert recording.modalities["joints"].rate_hz == 100.0
    assert recording.modalities["front"].rate_hz == 25.0
    assert recording.modalities["front"].size_px == (255, 253)


def test_nanoseconds_survive_the_csv(root: Path) -> None:
    joints = [r.reading for r in open_recording(root).records() if r.reading.modality == "joints"]
    assert [one.time_ns for one in joints] == [START_NS + i * 10_000_000 for i in range(12)]
    assert isinstance(joints[3], Samples)
    assert joints[3].values.tolist() == [[0.75, -3.0]]


def test_stored_images_are_handed_on_as_they_are_and_already_decoded(root: Path) -> None:
    for record in open_recording(root).records():
        frame = record.reading
        if isinstance(frame, Frame):
            suffix = "jpg" if frame.format == "jpeg" else "png"
            assert frame.data == (root / frame.modality / f"{frame.time_ns}.{suffix}").read_bytes()
            assert frame.pixels is not None
            np.testing.assert_array_equal(frame.pixels, decode(frame.data))


def test_sixteen_bit_grey_keeps_its_range_in_eight(root: Path) -> None:
    frames = [r.reading for r in open_recording(root).records() if r.reading.modality == "depth"]
    assert isinstance(frames[0], Frame)
    pixels = decode(frames[0].data)
    assert pixels.shape == (255, 253, 3)
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_a_map_picks_columns_units_time_and_offset(tmp_path: Path) -> None:
    text = "Date,seconds,a,b\nmonday,1700000000.000000001,1,2\ntuesday,1700000000.5,3,4\n"
    chosen = ModalityMap(
        rename="process",
        columns=("b", "a"),
        units={"a": "A"},
        time_column="seconds",
        offset_ms=1.5,
    )
    recording = open_recording(folder_of(tmp_path, text), mapped(joints=chosen))
    records = list(recording.records())
    assert recording.modalities["process"].names == ("b", "a")
    assert recording.modalities["process"].units == ("", "A")
    assert records[0].reading.time_ns == 1_700_000_000 * 10**9 + 1 + 1_500_000
    assert isinstance(records[1].reading, Samples)
    assert records[1].reading.values.tolist() == [[4.0, 3.0]]


def test_a_map_shrinks_images(root: Path) -> None:
    recording = open_recording(root, mapped(front=ModalityMap(max_size_px=128)))
    assert recording.modalities["front"].size_px == (128, 127)
    frame = next(r.reading for r in recording.records() if r.reading.modality == "front")
    assert isinstance(frame, Frame)
    assert decode(frame.data).shape == (128, 127, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "joints.csv: empty"),
        ("t_ns,q1\n", "joints.csv: empty, no row"),
        ("\n\n", "joints.csv: empty"),
        ("q1,q2\n1,2\n", "joints.csv: row 1: the first column is 'q1', not 't_ns'"),
        ("t_ns\n1\n", "row 1: no column besides 't_ns'"),
        ("1,2\n3,4\n", "row 1: holds numbers"),
        ("t_ns,q,q\n1,2,3\n", "row 1: column 'q' comes twice"),
        ("t_ns,q1\n1,2\n2,abc\n", "row 3, column 'q1': 'abc' is not a number"),
        ("t_ns,q1\n1,2\n2,\n", "row 3, column 'q1': '' is not a number"),
        ("t_ns,q1\n1,nan\n", "row 2, column 'q1': 'nan' is not a finite number"),
        ("t_ns,q1\n1,2\nsoon,3\n", "row 3, column 't_ns': 'soon' is not a time"),
        ("t_ns,q1\n-5,3\n", "row 2, column 't_ns': '-5' lies outside"),
        ("t_ns,q1\nNaN,3\n", "row 2, column 't_ns': 'NaN' is not a time"),
        ("t_ns,q1\n1e40,3\n", "row 2, column 't_ns': '1e40' lies outside"),
        ("t_ns,q1\n5,1\n3,2\n", "row 3: time runs backwards by 2 ns"),
        ("t_ns,q1\n5,1\n6,2,3\n", "row 3: 3 cells, the header has 2"),
        ("t_ns,q1\n5,1\n", "one time only, no rate to be seen"),
    ],
)
def test_a_wrong_csv_is_told_with_file_row_and_reason(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(RecordingError) as caught:
        open_recording(folder_of(tmp_path, text))
    assert "joints" in str(caught.value)
    assert message in str(caught.value)


def test_blank_lines_do_not_shift_the_row_that_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="row 5"):
        open_recording(folder_of(tmp_path, "t_ns,q\n1,1\n\n\n2,x\n"))


def test_a_csv_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "joints.csv").write_bytes(b"t_ns,q1\n1,\xff\xfe\n")
    with pytest.raises(RecordingError, match=r"joints\.csv: is not a CSV in UTF-8"):
        open_recording(tmp_path)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "joints.csv").write_text("t_ns,q1\n1,2\n2,3\n", encoding="utf-8-sig")
    assert open_recording(tmp_path).modalities["joints"].names == ("q1",)


def write_images(root: Path, *named: tuple[str, bytes]) -> Path:
    (root / "front").mkdir()
    for name, data in named:
        (root / "front" / name).write_bytes(data)
    return root


def test_an_undecodable_image_is_named_when_it_is_reached(tmp_path: Path) -> None:
    whole = encode_jpeg(picture(0))
    write_images(tmp_path, ("1000.jpg", whole), ("3000.jpg", whole[:-300]), ("5000.jpg", whole))
    records = open_recording(tmp_path).records()
    assert next(records).reading.time_ns == 1000
    with pytest.raises(RecordingError, match=r"front/3000\.jpg: truncated_image"):
        next(records)


def test_an_image_named_by_no_time_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path, ("frame_1.jpg", encode_jpeg(picture(0))))
    with pytest.raises(RecordingError, match=r"frame_1\.jpg: is not named by its capture time"):
        open_recording(tmp_path)


def test_images_come_in_the_order_of_time_not_of_letters(tmp_path: Path) -> None:
    data = encode_jpeg(picture(0))
    write_images(tmp_path, *((f"{name}.jpg", data) for name in (90000, 99, 50000)))
    times = [record.reading.time_ns for record in open_recording(tmp_path).records()]
    assert times == [99, 50000, 90000]


def test_a_map_that_names_what_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(RecordingError, match=r"modalities\.frnt is not in the recording"):
        open_recording(root, mapped(frnt=ModalityMap()))


def test_two_modalities_may_not_share_a_name(root: Path) -> None:
    with pytest.raises(RecordingError, match="'alpha' and 'front' would both be modality 'front'"):
        open_recording(root, mapped(alpha=ModalityMap(rename="front")))


@pytest.mark.parametrize("chosen", [ModalityMap(columns=("z",)), ModalityMap(units={"z": "m"})])
def test_a_column_that_the_map_invents_is_named(tmp_path: Path, chosen: ModalityMap) -> None:
    write_csv(tmp_path / "joints.csv", ["t_ns", "q"], [(1, 2), (2, 3)])
    with pytest.raises(RecordingError, match=r"joints\.csv: row 1: no column 'z', there are .*q"):
        open_recording(tmp_path, mapped(joints=chosen))


def test_an_offset_may_not_lead_before_1970(tmp_path: Path) -> None:
    write_csv(tmp_path / "joints.csv", ["t_ns", "q"], [(1, 2), (2, 3)])
    with pytest.raises(RecordingError, match="before 1970"):
        open_recording(tmp_path, mapped(joints=ModalityMap(offset_ms=-1)))


def test_an_empty_folder_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"no <modality>\.csv"):
        open_recording(tmp_path)
