import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulators.recordings.lerobot import LeRobotRecording
from simulators.recordings.mapping import ModalityMap, RecordingMap
from simulators.recordings.open import open_recording
from simulators.recordings.recording import RecordingError
from stream.images import decode
from stream.messages import Frame, Kind, Samples
from tests.test_recordings_layouts import (
    FRAMES,
    grey_level,
    picture,
    write_av1,
    write_lerobot,
)

CAMERA = "observation.images.cam_high"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_lerobot(tmp_path / "set")


def edit_info(root: Path, **changes: object) -> None:
    file = root / "meta" / "info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def edit_parquet(root: Path, column: str, values: pa.Array | None) -> None:
    file = root / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(file)
    at = table.schema.get_field_index(column)
    table = table.remove_column(at)
    pq.write_table(table if values is None else table.append_column(column, values), file)


def test_cameras_and_state_go_by_the_last_part_of_their_keys(root: Path) -> None:
    modalities = open_recording(root).modalities
    assert modalities.keys() == {"state", "cam_high"}
    assert modalities["state"].names == ("q1", "q2", "q3")
    assert modalities["cam_high"].size_px == (64, 80)
    assert {one.rate_hz for one in modalities.values()} == {30.0}


def test_rows_and_frames_of_an_episode_belong_together(root: Path) -> None:
    recording = open_recording(f"{root}#4")
    states = [r.reading for r in recording.records() if isinstance(r.reading, Samples)]
    frames = [r.reading for r in recording.records() if isinstance(r.reading, Frame)]
    assert [s.values.tolist() for s in states] == [[[4, row / 8, -row / 8]] for row in range(6)]
    assert [s.time_ns for s in states] == [f.time_ns for f in frames]
    for row, frame in enumerate(frames):
        assert frame.format == "jpeg"
        assert grey_level(frame.data) == pytest.approx(20 + 20 * row, abs=4)


def test_stamps_lie_on_the_grid_that_float32_lost(root: Path) -> None:
    recording = open_recording(root)
    times = recording.capture_times(recording.episodes[0])["state"]
    assert (times - times[0]).tolist() == [round(row * 1e9 / 30) for row in range(FRAMES)]


def test_an_episode_keeps_its_times_whatever_else_is_chosen(root: Path) -> None:
    everything = {episode.number: episode for episode in open_recording(root).episodes}
    assert list(everything) == [1, 4]
    assert open_recording(f"{root}#2-9").episodes == (everything[4],)


def test_a_map_renames_shrinks_shifts_and_gives_units(root: Path) -> None:
    recording_map = RecordingMap(
        kind="recording",
        modalities={
            "cam_high": ModalityMap(rename="camera", max_size_px=40, offset_ms=-5),
            "state": ModalityMap(rename="kinematics", units={"q1": "rad"}),
        },
    )
    recording = open_recording(root, recording_map)
    assert recording.modalities["camera"].size_px == (32, 40)
    assert recording.modalities["kinematics"].units == ("rad", "", "")
    first = next(recording.records())
    assert isinstance(first.reading, Frame)
    assert decode(first.reading.data).shape == (32, 40, 3)
    times = recording.capture_times(recording.episodes[0])
    assert set((times["kinematics"] - times["camera"]).tolist()) == {5_000_000}


def test_pictures_stored_in_the_parquet_stay_as_they_are(root: Path) -> None:
    from stream.images import encode_jpeg

    stored = [encode_jpeg(picture(row, 64, 80)) for row in range(FRAMES)]
    info = json.loads((root / "meta" / "info.json").read_text())
    info["features"][CAMERA]["dtype"] = "image"
    edit_info(root, features=info["features"])
    column = pa.array([{"bytes": data, "path": None} for data in stored])
    file = root / "data/chunk-000/episode_000001.parquet"
    pq.write_table(pq.read_table(file).append_column(CAMERA, column), file)
    frames = [
        r.reading.data
        for r in open_recording(f"{root}#1").records()
        if isinstance(r.reading, Frame)
    ]
    assert frames == stored


def test_decoding_is_lazy(root: Path) -> None:
    records = open_recording(root).records()
    assert next(records).reading.modality == "state"
    # The second episode's video is looked at when it is reached, not before.
    (root / f"videos/chunk-000/{CAMERA}/episode_000004.mp4").write_bytes(b"garbage")
    with pytest.raises(RecordingError, match=r"episode_000004\.mp4"):
        list(records)


@pytest.mark.parametrize("version", ["v2.0", "v3.0", None])
def test_another_version_is_named(root: Path, version: str | None) -> None:
    edit_info(root, codebase_version=version)
    with pytest.raises(RecordingError, match=rf"info\.json: version {version!r}"):
        open_recording(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fps": "often"}, r"info\.json: missing or wrong: .*often"),
        ({"fps": 0}, r"fps and chunks_size must be above 0"),
        ({"features": {}}, r"info\.json: no feature observation"),
        ({"features": None}, r"info\.json: missing or wrong"),
        ({"data_path": "{nonsense}"}, r"info\.json: missing or wrong: 'nonsense'"),
    ],
)
def test_a_wrong_info_is_told(root: Path, change: dict[str, object], message: str) -> None:
    edit_info(root, **change)
    with pytest.raises(RecordingError, match=message):
        open_recording(root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"episodes\.jsonl: row 2: is not JSON"),
        ("[]", r"row 2: is not a JSON object"),
        ('{"episode_index": 9}', r"row 2: missing or wrong: 'length'"),
        ('{"episode_index": 1, "length": 3}', r"row 2: episode 1 of 3 rows"),
    ],
)
def test_a_wrong_list_of_episodes_names_the_row(root: Path, line: str, message: str) -> None:
    (root / "meta" / "episodes.jsonl").write_text(f'{{"episode_index": 1, "length": 9}}\n{line}\n')
    with pytest.raises(RecordingError, match=message):
        open_recording(root)


def test_a_missing_file_matters_only_to_who_reads_it(root: Path) -> None:
    (root / "data/chunk-000/episode_000004.parquet").unlink()
    with pytest.raises(RecordingError, match=r"episode_000004\.parquet: missing"):
        open_recording(root)
    assert len(list(open_recording(f"{root}#1").records())) == 2 * FRAMES


def test_a_file_that_is_no_parquet_is_named(root: Path) -> None:
    (root / "data/chunk-000/episode_000001.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(RecordingError, match=r"episode_000001\.parquet: is no readable parquet"):
        list(open_recording(root).records())


def test_a_missing_column_is_named_with_those_there_are(root: Path) -> None:
    edit_parquet(root, "observation.state", None)
    with pytest.raises(RecordingError, match=r"no column 'observation\.state', there are action"):
        list(open_recording(root).records())


def test_nan_in_the_state_names_the_row(root: Path) -> None:
    state = np.zeros((FRAMES, 3)).tolist()
    state[5][1] = float("nan")
    edit_parquet(root, "observation.state", pa.array(state))
    with pytest.raises(RecordingError, match=r"row 5, column 'observation\.state': not a finite"):
        list(open_recording(root).records())


@pytest.mark.parametrize("state", [[[0.0, 1.0]] * FRAMES, [[0.0] * 3] * 8 + [[0.0]]])
def test_a_state_of_another_width_is_refused(root: Path, state: list[list[float]]) -> None:
    edit_parquet(root, "observation.state", pa.array(state))
    with pytest.raises(RecordingError, match=r"column 'observation\.state'"):
        list(open_recording(root).records())


def test_time_running_backwards_names_the_row(root: Path) -> None:
    stamps = [row / 30 for row in range(FRAMES)]
    stamps[4] = 0.05
    edit_parquet(root, "timestamp", pa.array(stamps))
    with pytest.raises(RecordingError, match=r"row 4: timestamp 0\.05 runs backwards"):
        list(open_recording(root).records())


def test_a_video_of_another_length_is_refused_before_its_first_frame(root: Path) -> None:
    write_av1(
        root / f"videos/chunk-000/{CAMERA}/episode_000001.mp4", FRAMES - 4, height=64, width=80
    )
    with pytest.raises(RecordingError, match=r"episode_000001\.mp4: 5 frames for the 9 rows"):
        next(open_recording(root).records())


def test_a_truncated_video_is_named(root: Path) -> None:
    file = root / f"videos/chunk-000/{CAMERA}/episode_000001.mp4"
    file.write_bytes(file.read_bytes()[:-400])
    with pytest.raises(RecordingError, match=r"episode_000001\.mp4"):
        list(open_recording(root).records())


def test_commands_are_not_sensors(root: Path) -> None:
    recording = LeRobotRecording(root)
    assert "action" not in recording.modalities
    assert recording.modalities["state"].kind is Kind.VECTOR
