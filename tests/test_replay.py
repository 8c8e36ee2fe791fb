"""A replay, its time, its faults and its truth, on a broker in memory."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.recordings.open import open_recording
from simulators.recordings.recording import Record, Recording, RecordingError
from simulators.replay import (
    STATE_INTERVAL_S,
    Replay,
    ReplayError,
    last_will,
    refuse_busy,
)
from simulators.replaying import play
from simulators.scenario import Planned
from stream.messages import Frame, Kind
from stream.transports.broker import BrokerConfig
from stream.transports.memory import MemoryTransport
from stream.transports.transport import Message, TransportError
from stream.wire import decode_frame, parse_rfc3339, rfc3339
from tests.hearing import (
    ARM,
    BASE,
    CAMERA,
    CELL,
    START_NS,
    TOPICS,
    TRUTH,
    Heard,
    brightness,
    fault,
    listening,
    new_broker,
    options,
    replayed,
)
from tests.recorded import CAMERA_HZ, RECORDED_NS, SECOND, write_recording

NAMES = [("camera", "image"), ("arm", "vector")]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recorded") / "one.mcap", seconds=2.0)


async def test_every_recorded_reading_is_sent_in_order_on_its_own_topic(recorded: Path) -> None:
    heard = await replayed(recorded)
    records = [record.reading for record in open_recording(recorded).records()]
    for name, topic in (("camera", CAMERA), ("arm", ARM)):
        shift = {
            sent.time_ns - was.time_ns
            for sent, was in zip(
                heard.readings(topic),
                [one for one in records if one.modality == name],
                strict=True,
            )
        }
        assert len(shift) == 1
    assert len(heard.frames) == 2 * CAMERA_HZ
    assert heard.truth == []


async def test_a_replay_ends_after_the_seconds_asked_for_and_loops_till_then(
    recorded: Path,
) -> None:
    heard = await replayed(recorded, loop=True, seconds=6.0)
    times = [one.time_ns for one in heard.frames]
    assert times == sorted(set(times))
    assert START_NS + 5 * SECOND < times[-1] < START_NS + 6 * SECOND
    assert len(times) > 2 * CAMERA_HZ, "the second loop begins 3 s after the first ends"


async def test_kept_times_are_the_recorded_ones(recorded: Path) -> None:
    heard = await replayed(recorded, keep_times=True)
    assert heard.frames[0].time_ns == heard.samples[0].times_ns[0] == RECORDED_NS


async def test_every_frame_is_decoded_and_encoded_again_not_only_the_faulty_ones(
    recorded: Path,
) -> None:
    heard = await replayed(recorded, fault(0.5))
    originals = [record.reading for record in open_recording(recorded).records(Kind.IMAGE)]
    for sent, original in zip(heard.frames, originals, strict=True):
        assert isinstance(original, Frame)
        assert jpeg_tables(sent.data) == jpeg_tables(heard.frames[0].data)
        assert jpeg_tables(sent.data) != jpeg_tables(original.data)


def jpeg_tables(data: bytes) -> bytes:
    """The quantisation tables, by which one quality is told from another."""
    at = data.index(b"\xff\xdb")
    return data[at : data.index(b"\xff\xc0")]


async def test_a_fault_changes_its_own_modality_between_onset_and_end_only(recorded: Path) -> None:
    clean, faulty = await replayed(recorded), await replayed(recorded, fault(0.5, 0.5))
    onset_ns, end_ns = START_NS + SECOND // 2, START_NS + SECOND
    for one, other in zip(clean.frames, faulty.frames, strict=True):
        hit = onset_ns <= other.time_ns < end_ns
        assert (one.data != other.data) == hit
        assert (brightness(other) < brightness(one) - 20) == hit
    assert [one.payload for one in clean.under(ARM)] == [one.payload for one in faulty.under(ARM)]


async def test_the_truth_is_told_on_its_own_topic_and_nowhere_else(recorded: Path) -> None:
    heard = await replayed(recorded, fault(0.5), fault(1.0, 0.4, "arm.drift"))
    assert [(one["type"], one["subject"]) for one in heard.truth] == [
        ("weldfusion.truth.started.v1", "camera/black"),
        ("weldfusion.truth.ended.v1", "camera/black"),
        ("weldfusion.truth.started.v1", "arm/drift"),
        ("weldfusion.truth.ended.v1", "arm/drift"),
    ]
    first = heard.truth[0]["data"]
    assert parse_rfc3339(first["onsetTime"]) == START_NS + SECOND // 2
    assert heard.truth[1]["data"]["effect"] > 1
    for other in heard.deliveries:
        if other.topic != TRUTH:
            assert b"truth" not in other.payload
            assert set(other.headers) <= {"modality", "content-type"}
    assert {one.topic for one in heard.deliveries} == {
        CAMERA,
        ARM,
        TRUTH,
        f"{BASE}/state/simulation",
    }


async def test_the_beginning_of_a_fault_is_told_before_its_first_frame(recorded: Path) -> None:
    heard = await replayed(recorded, fault(0.5))
    told = [one.topic for one in heard.deliveries].index(TRUTH)
    later = [decode_frame(one.payload) for one in heard.deliveries[told:] if one.topic == CAMERA]
    faulty = [one.time_ns for one in heard.frames if one.time_ns >= START_NS + SECOND // 2]
    assert [one.time_ns for one in later[-len(faulty) :]] == faulty


async def test_a_fault_that_outlives_the_replay_is_ended_and_one_beyond_it_never_told(
    recorded: Path,
) -> None:
    heard = await replayed(recorded, fault(1.5, 9), fault(5, 1, "arm.drift"))
    told = [(one["subject"], one["type"].split(".")[2]) for one in heard.truth]
    assert told == [("camera/black", "started"), ("camera/black", "ended")]


async def test_the_same_seed_gives_the_same_bytes_and_another_does_not(recorded: Path) -> None:
    def seeded(seed: int) -> Planned:
        return Planned(
            at_s=0.2, modality="arm", fault="noise", severity=0.8, seconds=1.0, seed=seed
        )

    first, again, other = [await replayed(recorded, seeded(seed)) for seed in (5, 5, 6)]
    assert payloads(first) == payloads(again)
    assert payloads(first) != payloads(other)


def payloads(heard: Heard) -> list[bytes]:
    return [one.payload for one in heard.deliveries if one.topic in (CAMERA, ARM, TRUTH)]


async def test_a_station_is_announced_as_simulated_and_no_longer_once_the_replay_ends(
    recorded: Path,
) -> None:
    heard = await replayed(recorded)
    states = heard.under(f"{BASE}/state/simulation")
    said = json.loads(states[0].payload)
    assert said["source"] == "one.mcap"
    assert said["since"] == rfc3339(START_NS)
    assert parse_rfc3339(said["validUntil"]) > START_NS
    assert states[-1].payload == b"" == last_will(TOPICS, CELL).payload
    assert last_will(TOPICS, CELL).retain


@pytest.mark.parametrize("speed", [0.5, 1.0, 4.0])
async def test_the_pace_follows_the_speed(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    now_ns, sleep = START_NS, asyncio.sleep
    sent: list[tuple[float, float]] = []

    async def advance(seconds: float) -> None:
        nonlocal now_ns
        if seconds == STATE_INTERVAL_S:
            await sleep(seconds)  # its announcements do not move the replay's clock
        now_ns += round(seconds * 1e9)

    monkeypatch.setattr(asyncio, "sleep", advance)
    async with MemoryTransport(new_broker()) as transport:
        opened = open_recording(recorded)
        replay = Replay(opened, transport, TOPICS, options(speed=speed), lambda: now_ns)
        await replay.run(START_NS, lambda done_s: sent.append((done_s, now_ns)))
    assert len(sent) > 2 * CAMERA_HZ
    for done_s, at_ns in sent:
        assert (at_ns - START_NS) / 1e9 == pytest.approx(done_s / speed, abs=1e-5)


class Interrupted:
    """A recording that is damaged after its first frames."""

    def __init__(self, recording: Recording) -> None:
        self.path, self.modalities = recording.path, recording.modalities
        self.episodes, self.metadata = recording.episodes, recording.metadata
        self._recording = recording

    def records(self, only: Kind | None = None) -> Iterator[Record]:
        for at, record in enumerate(self._recording.records(only)):
            if only is None and at == 20:
                raise RecordingError("frame 7: cut short")
            yield record


async def test_a_damaged_recording_ends_the_replay_with_its_own_reason(recorded: Path) -> None:
    async with MemoryTransport(new_broker()) as transport:
        broken = Interrupted(open_recording(recorded))
        with pytest.raises(RecordingError, match="frame 7: cut short"):
            await Replay(broken, transport, TOPICS, options()).run(START_NS)


async def test_a_reading_over_the_brokers_limit_ends_the_replay_with_that_reason(
    recorded: Path,
) -> None:
    async with MemoryTransport(new_broker(), max_message_bytes=500) as transport:
        replay = Replay(open_recording(recorded), transport, TOPICS, options())
        with pytest.raises(TransportError, match="too large"):
            await replay.run(START_NS)


async def test_a_station_that_already_gets_data_is_refused(recorded: Path) -> None:
    broker = new_broker()
    async with MemoryTransport(broker) as transport, MemoryTransport(broker) as listener:

        async def somebody_else() -> None:
            while True:
                await transport.publish(Message(topic=ARM, payload=b"1"))
                await asyncio.sleep(0.05)

        task = asyncio.create_task(somebody_else())
        with pytest.raises(ReplayError, match=r"d is busy: data arrived on .*/arm.*--force"):
            await refuse_busy(listener, TOPICS, CELL, NAMES)
        task.cancel()


async def test_a_quiet_station_beside_a_busy_one_is_not_refused(recorded: Path) -> None:
    broker = new_broker()
    async with MemoryTransport(broker) as transport, MemoryTransport(broker) as listener:
        task = asyncio.create_task(refuse_busy(listener, TOPICS, CELL, NAMES))
        await asyncio.sleep(0.05)
        await transport.publish(Message(topic=ARM.replace("/d/", "/e/"), payload=b"1"))
        await task


SCENARIO = """
kind: scenario
injections:
  - {at_s: 0.5, modality: camera, fault: black, severity: 0.8, seconds: 0.5}
"""


@pytest.mark.parametrize("keep_times", [False, True])
async def test_a_scenario_counts_from_the_first_reading_also_where_times_are_kept(
    recorded: Path, tmp_path: Path, keep_times: bool
) -> None:
    scenario = tmp_path / "black.yaml"
    scenario.write_text(SCENARIO)
    broker = new_broker()
    config = BrokerConfig(url=f"memory://{broker}")
    async with listening(broker) as heard:
        await play(str(recorded), None, config, options(keep_times=keep_times), scenario, 1, True)
    dark = [brightness(one) < 50 for one in heard.frames]
    assert sum(dark) == pytest.approx(CAMERA_HZ / 2, abs=1)
    assert dark.index(True) == pytest.approx(CAMERA_HZ / 2, abs=1)
    assert len(heard.truth) == 2
