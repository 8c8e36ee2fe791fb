from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from mcap.reader import make_reader
from mcap.writer import Writer

from simulators.recordings.episodes import parse_episodes
from simulators.recordings.mcap import McapRecording, McapWriter
from simulators.recordings.recording import Episode, Modality, Record, RecordingError
from stream.images import encode_jpeg
from stream.messages import Frame, Kind, Samples
from stream.proto.compressed_image_pb2 import CompressedImage

START = 1_700_000_000 * 10**9
CAMERA = Modality(name="camera", kind=Kind.IMAGE, rate_hz=15.0, size_px=(24, 33))
JOINTS = Modality(
    name="kinematics",
    kind=Kind.VECTOR,
    rate_hz=125.0,
    names=("q1", "q2"),
    units=("rad", "rad"),
    noise_sd=(0.001, 0.0025),
    quantum=(1e-6, 0.1),
)
MODALITIES = {"camera": CAMERA, "kinematics": JOINTS}


def jpeg(seed: int = 0) -> bytes:
    return encode_jpeg(np.random.default_rng(seed).integers(0, 255, (24, 33, 3), np.uint8))


def frame(time_ns: int, seed: int = 0) -> Frame:
    return Frame(modality="camera", time_ns=time_ns, data=jpeg(seed), format="jpeg")


def samples(time_ns: int, value: float) -> Samples:
    return Samples(
        modality="kinematics",
        times_ns=np.array([time_ns - 8_000_000, time_ns], np.int64),
        values=np.array([[value, -value], [value + 0.1, 1 / 3]]),
        names=JOINTS.names,
        units=JOINTS.units,
    )


def an_episode(number: int, start_ns: int) -> list[Record]:
    """Frames without a twin and samples with one, logged 3 ms after their capture."""
    records = []
    for step in range(4):
        at = start_ns + step * 66_000_000
        records.append(
            Record(
                log_time_ns=at + 3_000_000,
                episode=number,
                reading=samples(at, 0.5 + step),
                clean=samples(at, 0.0 + step),
            )
        )
        records.append(Record(log_time_ns=at + 4_000_000, episode=number, reading=frame(at, step)))
    return records


def write_two_episodes(path: Path) -> list[Record]:
    records = an_episode(3, START) + an_episode(7, START + 10**9)
    with McapWriter(path, MODALITIES, {"station": "acme/x/y/z/cell", "version": "9"}) as writer:
        writer.episode(Episode(number=3, start_ns=START - 5, end_ns=START + 300_000_000))
        for record in records:
            writer.write(record)
    return records


def same(one: Frame | Samples | None, other: Frame | Samples | None) -> bool:
    if isinstance(one, Frame) and isinstance(other, Frame):
        return (one.modality, one.time_ns, one.data) == (other.modality, other.time_ns, other.data)
    if isinstance(one, Samples) and isinstance(other, Samples):
        return bool(
            np.array_equal(one.values, other.values)
            and np.array_equal(one.times_ns, other.times_ns)
            and (one.modality, one.names, one.units) == (other.modality, other.names, other.units)
        )
    return one is None and other is None


def test_what_was_written_is_read_back_bit_for_bit_with_its_twins(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    written = write_two_episodes(path)
    read = list(McapRecording(path).records())
    assert [(r.log_time_ns, r.episode) for r in read] == [
        (r.log_time_ns, r.episode) for r in written
    ]
    assert all(same(a.reading, b.reading) for a, b in zip(read, written, strict=True))
    assert all(same(a.clean, b.clean) for a, b in zip(read, written, strict=True))


def test_modalities_episodes_and_metadata_survive(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    write_two_episodes(path)
    recording = McapRecording(path)
    assert recording.modalities == MODALITIES
    assert recording.metadata == {"station": "acme/x/y/z/cell", "version": "9"}
    assert recording.episodes == (
        Episode(number=3, start_ns=START - 5, end_ns=START + 300_000_000),
        Episode(number=7, start_ns=START + 10**9 - 8_000_000, end_ns=START + 10**9 + 198_000_000),
    )


def test_a_chosen_episode_is_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    written = write_two_episodes(path)
    recording = McapRecording(path, parse_episodes("4-9"))
    assert [episode.number for episode in recording.episodes] == [7]
    assert len(list(recording.records())) == len([r for r in written if r.episode == 7])


def test_records_come_in_log_time_even_where_they_were_written_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    records = an_episode(0, START)
    with McapWriter(path, MODALITIES) as writer:
        for record in reversed(records):
            writer.write(record)
    read = list(McapRecording(path).records())
    assert [r.log_time_ns for r in read] == [r.log_time_ns for r in records]
    assert all(same(a.clean, b.clean) for a, b in zip(read, records, strict=True))


def test_any_reader_can_decode_it_with_the_schemas_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    write_two_episodes(path)
    seen = set()
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file, validate_crcs=True).iter_messages():
            assert schema is not None
            assert (schema.encoding, channel.message_encoding) == ("protobuf", "protobuf")
            pool = descriptor_pool.DescriptorPool()
            for described in descriptor_pb2.FileDescriptorSet.FromString(schema.data).file:
                pool.Add(described)
            kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))
            decoded = kind.FromString(message.data)
            if channel.topic == "/camera":
                stamp = decoded.timestamp
                assert stamp.seconds * 10**9 + stamp.nanos == message.publish_time
                assert decoded.frame_id == "camera"
                assert decoded.format == "jpeg"
            seen.add((channel.topic, schema.name))
    assert seen == {
        ("/camera", "foxglove.CompressedImage"),
        ("/kinematics", "weldfusion.v1.VectorBatch"),
        ("/kinematics/clean", "weldfusion.v1.VectorBatch"),
    }


def test_nothing_bears_the_final_name_before_the_end(tmp_path: Path) -> None:
    path, part = tmp_path / "a.mcap", tmp_path / "a.mcap.part"
    records = an_episode(0, START)
    failure = ZeroDivisionError()
    writer = McapWriter(path, MODALITIES).__enter__()
    writer.write(records[0])
    writer.__exit__(ZeroDivisionError, failure, None)
    assert not path.exists()
    assert str(part) in failure.__notes__[0]
    assert len(list(McapRecording(part).records())) == 1


def test_an_undescribed_recording_is_judged_by_its_messages(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with McapWriter(path, {}) as writer:
        for record in an_episode(0, START):
            writer.write(record)
    modalities = McapRecording(path).modalities
    assert modalities["camera"].size_px == (24, 33)
    assert modalities["kinematics"].names == ("q1", "q2")
    assert modalities["camera"].rate_hz == pytest.approx(15.0, rel=0.01)


def write_foreign(path: Path, encoding: str = "protobuf") -> None:
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(profile="ros2")
        odd = writer.register_schema("std_msgs/String", "ros2msg", b"string data")
        schema = writer.register_schema("foxglove.CompressedImage", "protobuf", b"")
        chatter = writer.register_channel("/chatter", "cdr", odd)
        camera = writer.register_channel("/cell 3/front/image", encoding, schema)
        for step in range(3):
            at = START + step * 100_000_000
            image = CompressedImage(frame_id="optical_frame", data=jpeg(step), format="jpeg")
            image.timestamp.seconds, image.timestamp.nanos = divmod(at - 1, 10**9)
            writer.add_message(chatter, at, b"hello", at)
            writer.add_message(camera, at, image.SerializeToString(), at)
        writer.finish()


def test_a_foreign_recording_gives_its_images_under_the_topics_name(tmp_path: Path) -> None:
    write_foreign(tmp_path / "foreign.mcap")
    recording = McapRecording(tmp_path / "foreign.mcap")
    records = list(recording.records())
    assert set(recording.modalities) == {"cell_3_front_image"}
    assert recording.modalities["cell_3_front_image"].rate_hz == pytest.approx(10.0)
    assert [r.reading.time_ns for r in records] == [START + s * 100_000_000 - 1 for s in range(3)]
    assert recording.episodes == (Episode(number=0, start_ns=START, end_ns=START + 200_000_000),)


def test_a_recording_without_a_channel_for_us_lists_what_it_has(tmp_path: Path) -> None:
    write_foreign(tmp_path / "foreign.mcap", encoding="json")
    with pytest.raises(RecordingError, match=r"foreign\.mcap.*/chatter \(cdr std_msgs/String\)"):
        McapRecording(tmp_path / "foreign.mcap")


@pytest.mark.parametrize("keep", [0, 5, 8, 100, -1, -8, -200])
def test_a_truncated_file_says_so(tmp_path: Path, keep: int) -> None:
    write_two_episodes(tmp_path / "a.mcap")
    data = (tmp_path / "a.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[:keep])
    with pytest.raises(RecordingError, match=r"cut\.mcap: (truncated|not an MCAP)"):
        McapRecording(tmp_path / "cut.mcap")


def test_every_damaged_byte_is_survived_or_told(tmp_path: Path) -> None:
    write_two_episodes(tmp_path / "a.mcap")
    data = (tmp_path / "a.mcap").read_bytes()
    told = []
    for at in range(8, len(data), 101):
        (tmp_path / "bad.mcap").write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            list(McapRecording(tmp_path / "bad.mcap").records())
        except RecordingError as error:
            told.append(str(error))
    assert told
    assert all("bad.mcap" in message for message in told)


def test_a_garbled_payload_names_the_message(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    bad = Frame(modality="camera", time_ns=START, data=b"GIF89a", format="gif")
    with McapWriter(path, {"camera": CAMERA}) as writer:
        writer.write(Record(log_time_ns=START, episode=0, reading=bad))
    with pytest.raises(RecordingError, match=r"a\.mcap: message 1 of camera .* not_an_image"):
        list(McapRecording(path).records())


def test_episodes_may_not_overlap_in_log_time(tmp_path: Path) -> None:
    first, second = an_episode(0, START), an_episode(1, START + 50_000_000)
    with McapWriter(tmp_path / "a.mcap", MODALITIES) as writer:
        for record in first:
            writer.write(record)
        with pytest.raises(RecordingError, match="episode 1 begins"):
            writer.write(second[0])


def test_capture_times_are_those_of_the_records(tmp_path: Path) -> None:
    write_two_episodes(tmp_path / "a.mcap")
    recording = McapRecording(tmp_path / "a.mcap")
    times = recording.capture_times(recording.episodes[0])
    assert times["camera"].tolist() == [START + s * 66_000_000 for s in range(4)]
    assert len(times["kinematics"]) == 8
