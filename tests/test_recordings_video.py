from pathlib import Path

import av
import numpy as np
import pytest

from simulators.recordings.mapping import ModalityMap, RecordingMap, read_map
from simulators.recordings.open import open_recording
from simulators.recordings.pictures import probe, probe_with_av
from simulators.recordings.recording import RecordingError
from simulators.recordings.video import UnknownRate
from stream.config import ConfigError
from stream.messages import Frame, Samples
from tests.test_recordings_layouts import (
    FRAMES,
    RATED,
    grey_level,
    write_av1,
    write_avi,
    write_csv,
    write_video,
)

CONFIGS = Path(__file__).parents[1] / "configs"


def mapped(**modalities: ModalityMap) -> RecordingMap:
    return RecordingMap(kind="recording", modalities=modalities)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "weld")


def test_a_csv_without_times_runs_at_the_maps_rate(video: Path) -> None:
    recording = open_recording(video, RATED)
    times = recording.capture_times(recording.episodes[0])
    assert (times["signals"] - times["signals"][0]).tolist() == [0, 10**8, 2 * 10**8, 3 * 10**8]
    assert (times["camera"][:3] - times["camera"][0]).tolist() == [0, 40_000_000, 80_000_000]
    assert recording.modalities["camera"].rate_hz == 25.0


def test_a_csv_without_times_and_rate_says_what_to_give(video: Path) -> None:
    with pytest.raises(UnknownRate, match=r"weld\.csv: no time column: give modalities\.signals"):
        open_recording(video)


def test_frames_are_jpeg_and_in_order(video: Path) -> None:
    records = open_recording(video, RATED).records()
    frames = [r.reading for r in records if isinstance(r.reading, Frame)]
    assert len(frames) == FRAMES
    for index, frame in enumerate(frames):
        assert frame.format == "jpeg"
        assert grey_level(frame.data) == pytest.approx(20 + 20 * index, abs=4)


def test_the_offset_between_the_clocks_moves_the_rows(video: Path) -> None:
    late = ModalityMap(rename="process", rate_hz=10, offset_ms=1360)
    recording = open_recording(video, mapped(signals=late))
    times = recording.capture_times(recording.episodes[0])
    assert times["process"][0] - times["camera"][0] == 1_360_000_000


def test_times_of_the_csv_count_from_the_videos_start(video: Path) -> None:
    rows = [(0.25, 1.0), (0.5, 2.0), (0.75, 3.0)]
    write_csv(video.with_suffix(".csv"), ["clock", "I"], rows)
    recording = open_recording(video, mapped(signals=ModalityMap(time_column="clock")))
    times = recording.capture_times(recording.episodes[0])
    assert times["signals"][0] - times["camera"][0] == 250_000_000
    assert recording.modalities["signals"].rate_hz == 4.0
    assert recording.modalities["signals"].names == ("I",)


def test_times_since_the_epoch_give_the_video_its_day(video: Path) -> None:
    start_ns = 1_700_000_000_000_000_007
    rows = [(start_ns + i * 10_000_000, i) for i in range(5)]
    write_csv(video.with_suffix(".csv"), ["t_ns", "I"], rows)
    recording = open_recording(video, mapped(camera=ModalityMap(offset_ms=20)))
    times = recording.capture_times(recording.episodes[0])
    assert times["signals"][0] == start_ns
    assert times["camera"][0] == start_ns + 20_000_000


def test_a_video_alone_is_a_recording_too(tmp_path: Path) -> None:
    write_avi(tmp_path / "alone.avi")
    recording = open_recording(tmp_path / "alone.avi")
    assert recording.modalities.keys() == {"camera"}
    assert len(list(recording.records())) == FRAMES


def test_a_folder_of_pairs_has_an_episode_for_each(video: Path) -> None:
    write_avi(video.with_name("second.avi"), frames=5)
    write_csv(video.with_name("second.csv"), ["Current", "Voltage"], [(1, 2), (3, 4)])
    write_avi(video.with_name("without.avi"), frames=5)
    recording = open_recording(f"{video.parent}#0-5", RATED)
    assert [episode.number for episode in recording.episodes] == [0, 1]
    counts = [sum(r.episode == number for r in recording.records()) for number in (0, 1)]
    assert counts == [5 + 2, FRAMES + 4]


def test_pairs_with_other_columns_do_not_mix(video: Path) -> None:
    write_avi(video.with_name("second.avi"), frames=5)
    write_csv(video.with_name("second.csv"), ["Pressure"], [(1,), (3,)])
    with pytest.raises(RecordingError, match=r"weld\.csv: row 1: other columns than second\.csv"):
        open_recording(video.parent, RATED)


def test_what_opencv_cannot_decode_goes_through_pyav(tmp_path: Path) -> None:
    write_av1(tmp_path / "clip.mp4", 7, height=64, width=80)
    assert probe(tmp_path / "clip.mp4") == probe_with_av(tmp_path / "clip.mp4")
    frames = list(open_recording(tmp_path / "clip.mp4").records())
    assert len(frames) == 7
    assert isinstance(frames[3].reading, Frame)
    assert grey_level(frames[3].reading.data) == pytest.approx(80, abs=4)


@pytest.mark.parametrize(
    ("layout", "shape", "scale", "kind"),
    [
        ("gray", (255, 253), 1, np.uint8),
        ("gray16le", (255, 253), 257, np.uint16),
        ("bgra", (255, 253, 4), 1, np.uint8),
    ],
)
def test_grey_deep_and_transparent_videos_of_odd_size_become_rgb(
    tmp_path: Path, layout: str, shape: tuple[int, ...], scale: int, kind: type
) -> None:
    file = tmp_path / "odd.avi"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("ffv1", rate=15)
        stream.height, stream.width, stream.pix_fmt = 255, 253, layout
        for level in (10, 90, 170):
            pixels = np.full(shape, level * scale, kind)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format=layout)))
        container.mux(stream.encode())
    recording = open_recording(file)
    frames = [r.reading for r in recording.records() if isinstance(r.reading, Frame)]
    assert recording.modalities["camera"].size_px == (255, 253)
    assert [grey_level(frame.data) for frame in frames] == pytest.approx([10, 90, 170], abs=3)


def test_a_truncated_video_tells_the_frame(tmp_path: Path) -> None:
    file = tmp_path / "cut.avi"
    write_avi(file, frames=60)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(RecordingError, match=r"cut\.avi"):
        list(open_recording(file).records())


@pytest.mark.parametrize("content", [b"", b"RIFF and nothing more", bytes(5000)])
def test_a_file_that_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "no_01.avi").write_bytes(content)
    with pytest.raises(RecordingError, match=r"no_01\.avi: cannot be decoded"):
        open_recording(tmp_path / "no_01.avi")


def test_a_wrong_cell_beside_a_video_is_named(video: Path) -> None:
    video.with_suffix(".csv").write_text("Current\n1\ntwo\n")
    with pytest.raises(RecordingError, match=r"weld\.csv: row 3, column 'Current': 'two'"):
        open_recording(video, RATED)


def test_only_picked_columns_must_be_numbers(video: Path) -> None:
    video.with_suffix(".csv").write_text("Remark,I\nfine,1\nworse,2\n")
    chosen = ModalityMap(columns=("I",), rate_hz=10)
    records = open_recording(video, mapped(signals=chosen)).records()
    rows = [r.reading.values.tolist() for r in records if isinstance(r.reading, Samples)]
    assert rows == [[[1.0]], [[2.0]]]


def test_the_shipped_map_fits_a_weld_of_that_layout(tmp_path: Path) -> None:
    names = [
        "Pressure",
        "CO2 Weld Flow",
        "Feed",
        "Primary Weld Current",
        "Wire Consumed",
        "Secondary Weld Voltage",
    ]
    write_avi(tmp_path / "weld.avi", fps=31)
    write_csv(tmp_path / "weld.csv", names, [[i] * 6 for i in range(3)])
    recording = open_recording(tmp_path / "weld.avi", CONFIGS / "recording-weld-intel.yaml")
    assert recording.modalities["process"].names == tuple(names)
    assert recording.modalities["process"].units == ("", "", "", "A", "", "V")
    times = recording.capture_times(recording.episodes[0])
    assert times["process"][0] - times["camera"][0] == 1_360_000_000
    assert np.diff(times["process"]).tolist() == [round(1e9 / 9.73), round(2e9 / 9.73) - 102774923]


def test_every_mistake_of_a_map_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "map.yaml"
    file.write_text(
        "kind: recordng\n"
        "modalities:\n"
        "  camera: {rate_hz: -3, offset: 4}\n"
        "  signals: {time_unit: days, rename: a b}\n"
    )
    with pytest.raises(ConfigError) as caught:
        read_map(file)
    paths = {problem.split(":")[0] for problem in caught.value.problems}
    assert paths == {
        "kind",
        "modalities.camera.rate_hz",
        "modalities.camera.offset",
        "modalities.signals.time_unit",
        "modalities.signals.rename",
    }
