"""Small recordings of every layout, and what holds for all of them."""

import csv
import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from simulators.recordings.mapping import ModalityMap, RecordingMap
from simulators.recordings.mcap import McapWriter
from simulators.recordings.open import open_recording
from simulators.recordings.recording import Modality, Record
from simulators.recordings.timeline import TimedRecording, times_of
from stream.images import decode, encode_jpeg
from stream.messages import Frame, Kind, Samples

START_NS = 1_700_000_000_123_456_789
FRAMES = 9
RATED = RecordingMap(kind="recording", modalities={"signals": ModalityMap(rate_hz=10)})


def picture(index: int, height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """Grey levels that tell the frames apart after any lossy coding."""
    pixels = np.full((height, width, 3), 20 + 20 * (index % 11), np.uint8)
    pixels[: height // 2, : width // 2] = (200, 40, 40)
    return pixels


def grey_level(data: bytes) -> float:
    return float(decode(data)[-8:, -8:].mean())


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_av1(path: Path, frames: int, fps: int = 30, height: int = 48, width: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libsvtav1", rate=fps, options={"preset": "12", "crf": "20"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            shown = av.VideoFrame.from_ndarray(picture(index, height, width), format="rgb24")
            container.mux(stream.encode(shown))
        container.mux(stream.encode())


def write_lerobot(root: Path, lengths: dict[int, int] | None = None) -> Path:
    """Episodes 1 and 4 of a data set whose others are gone."""
    lengths = lengths or {1: FRAMES, 4: 6}
    features = {
        "observation.state": {"dtype": "float32", "shape": [3], "names": [["q1", "q2", "q3"]]},
        "action": {"dtype": "float32", "shape": [3], "names": [["q1", "q2", "q3"]]},
        "observation.images.cam_high": {
            "dtype": "video",
            "shape": [64, 80, 3],
            "names": ["height", "width", "channel"],
        },
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    info = {
        "codebase_version": "v2.1",
        "fps": 30,
        "chunks_size": 1000,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}"
        "/episode_{episode_index:06d}.mp4",
        "features": features,
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    lines = [json.dumps({"episode_index": n, "length": length}) for n, length in lengths.items()]
    (root / "meta" / "episodes.jsonl").write_text("\n".join(lines) + "\n")
    for number, length in lengths.items():
        write_lerobot_episode(root, number, length)
    return root


def write_lerobot_episode(root: Path, number: int, length: int) -> None:
    state = [[number, row / 8, -row / 8] for row in range(length)]
    table = pa.table(
        {
            "observation.state": pa.array(state, pa.list_(pa.float32(), 3)),
            "action": pa.array(state, pa.list_(pa.float32(), 3)),
            "timestamp": pa.array([row / 30 for row in range(length)], pa.float32()),
        }
    )
    file = root / f"data/chunk-000/episode_{number:06d}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)
    video = root / f"videos/chunk-000/observation.images.cam_high/episode_{number:06d}.mp4"
    write_av1(video, length, height=64, width=80)


def write_folder(root: Path) -> Path:
    """Joints at 100 Hz, and three cameras: odd-sized JPEG, RGBA PNG and 16-bit grey PNG."""
    root.mkdir()
    rows = [(START_NS + i * 10_000_000, i / 4, -i) for i in range(12)]
    write_csv(root / "joints.csv", ["t_ns", "q1", "q2"], rows)
    rgba = np.dstack([picture(1), np.full((48, 64), 128, np.uint8)])
    deep = np.linspace(0, 65535, 255 * 253).astype(np.uint16).reshape(255, 253)
    images = {"front": picture(2, 255, 253), "alpha": rgba, "depth": deep}
    for name, pixels in images.items():
        (root / name).mkdir()
        for step in range(3):
            suffix = "jpg" if name == "front" else "png"
            path = root / name / f"{START_NS + 1 + step * 40_000_000}.{suffix}"
            assert cv2.imwrite(str(path), pixels)
    (root / "README.md").write_text("not a modality")
    return root


def write_avi(path: Path, frames: int = FRAMES, fps: int = 25) -> None:
    size = (64, 48)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, size)
    assert video.isOpened()
    for index in range(frames):
        video.write(np.ascontiguousarray(picture(index)[:, :, ::-1]))
    video.release()


def write_video(root: Path) -> Path:
    """A 25 Hz AVI and a CSV that has no times."""
    root.mkdir()
    write_avi(root / "weld.avi")
    rows = [(100 + i, 20.5 - i) for i in range(4)]
    write_csv(root / "weld.csv", ["Current", "Voltage"], rows)
    return root / "weld.avi"


def write_mcap(path: Path) -> Path:
    """A camera at 20 Hz and micro-batches of five samples, in two episodes."""
    modalities = {
        "camera": Modality(name="camera", kind=Kind.IMAGE, rate_hz=20, size_px=(48, 64)),
        "joints": Modality(name="joints", kind=Kind.VECTOR, rate_hz=100, names=("q",)),
    }
    with McapWriter(path, modalities, {"station": "a/b/c/d/e"}) as writer:
        for step in range(8):
            at = START_NS + step * 50_000_000
            data = encode_jpeg(picture(step))
            frame = Frame(modality="camera", time_ns=at, data=data, format="jpeg")
            writer.write(Record(log_time_ns=at + 10, episode=step // 4, reading=frame))
            times = at + np.arange(5, dtype=np.int64) * 10_000_000
            samples = Samples(
                modality="joints", times_ns=times, values=np.full((5, 1), step, np.float64)
            )
            log_ns = int(times[-1]) + 1
            writer.write(Record(log_time_ns=log_ns, episode=step // 4, reading=samples))
    return path


def open_lerobot(tmp: Path) -> TimedRecording:
    return open_recording(write_lerobot(tmp / "set"))


def open_folder(tmp: Path) -> TimedRecording:
    return open_recording(write_folder(tmp / "folder"))


def open_video(tmp: Path) -> TimedRecording:
    return open_recording(write_video(tmp / "weld"), RATED)


def open_mcap(tmp: Path) -> TimedRecording:
    return open_recording(write_mcap(tmp / "station.mcap"))


EVERY_LAYOUT = pytest.mark.parametrize(
    "open_layout", [open_lerobot, open_folder, open_video, open_mcap]
)
Opener = Callable[[Path], TimedRecording]


@EVERY_LAYOUT
def test_log_times_never_run_backwards(open_layout: Opener, tmp_path: Path) -> None:
    log_times = [record.log_time_ns for record in open_layout(tmp_path).records()]
    assert len(log_times) > 10
    assert all(before <= after for before, after in pairwise(log_times))


@EVERY_LAYOUT
def test_every_reading_is_one_that_its_modality_describes(
    open_layout: Opener, tmp_path: Path
) -> None:
    recording = open_layout(tmp_path)
    for record in recording.records():
        modality = recording.modalities[record.reading.modality]
        if isinstance(record.reading, Frame):
            assert modality.kind is Kind.IMAGE
            assert decode(record.reading.data).shape == (*(modality.size_px or ()), 3)
        else:
            assert modality.kind is Kind.VECTOR
            assert record.reading.values.shape[1] == len(modality.names)
            assert np.isfinite(record.reading.values).all()


@EVERY_LAYOUT
def test_records_lie_inside_their_episodes_and_those_follow_one_another(
    open_layout: Opener, tmp_path: Path
) -> None:
    recording = open_layout(tmp_path)
    bounds = {episode.number: episode for episode in recording.episodes}
    seen: dict[int, None] = {}
    for record in recording.records():
        seen[record.episode] = None
        episode = bounds[record.episode]
        assert episode.start_ns <= record.reading.time_ns <= episode.end_ns
    assert list(seen) == [episode.number for episode in recording.episodes]
    assert all(a.end_ns < b.start_ns for a, b in pairwise(recording.episodes))


@EVERY_LAYOUT
def test_capture_times_agree_with_the_records(open_layout: Opener, tmp_path: Path) -> None:
    recording = open_layout(tmp_path)
    for episode in recording.episodes:
        read = times_of(r for r in recording.records() if r.episode == episode.number)
        promised = recording.capture_times(episode)
        assert read.keys() == promised.keys() == recording.modalities.keys()
        for name, times_ns in read.items():
            np.testing.assert_array_equal(times_ns, promised[name])


@EVERY_LAYOUT
def test_the_nominal_rate_is_the_one_that_was_recorded(open_layout: Opener, tmp_path: Path) -> None:
    recording = open_layout(tmp_path)
    for name, times_ns in recording.capture_times(recording.episodes[0]).items():
        measured_hz = (len(times_ns) - 1) * 1e9 / (times_ns[-1] - times_ns[0])
        assert recording.modalities[name].rate_hz == pytest.approx(measured_hz, rel=0.01)


@EVERY_LAYOUT
def test_any_recording_becomes_an_mcap_without_loss(open_layout: Opener, tmp_path: Path) -> None:
    recording = open_layout(tmp_path)
    with McapWriter(tmp_path / "copy.mcap", recording.modalities) as writer:
        for episode in recording.episodes:
            writer.episode(episode)
        for record in recording.records():
            writer.write(record)
    copy = open_recording(tmp_path / "copy.mcap")
    assert copy.episodes == recording.episodes
    assert copy.modalities == recording.modalities
    for ours, theirs in zip(copy.records(), recording.records(), strict=True):
        assert (ours.log_time_ns, ours.episode) == (theirs.log_time_ns, theirs.episode)
        if isinstance(ours.reading, Frame) and isinstance(theirs.reading, Frame):
            assert ours.reading.data == theirs.reading.data
        elif isinstance(ours.reading, Samples) and isinstance(theirs.reading, Samples):
            np.testing.assert_array_equal(ours.reading.values, theirs.reading.values)
        assert ours.reading.modality == theirs.reading.modality
