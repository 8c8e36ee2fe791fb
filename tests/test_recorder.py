"""What is written of a station that is only known by what it sends."""

from pathlib import Path

import numpy as np
import pytest

from simulators.recorder import describe
from simulators.recordings.open import open_recording
from simulators.recordings.recording import Record
from stream.messages import Reading, Samples
from tests.recorded import ARM_HZ, CAMERA_HZ, RECORDED_NS, write_recording


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("recorded") / "one.mcap", seconds=2.0)


def test_a_recorded_station_is_described_by_what_it_sent(recorded: Path) -> None:
    opened = open_recording(recorded)
    found = describe(list(opened.records()))
    assert found["camera"].rate_hz == pytest.approx(CAMERA_HZ, rel=0.001)
    assert found["arm"].rate_hz == pytest.approx(ARM_HZ, rel=0.001), "batches of five count as five"
    for name, modality in found.items():
        wanted = opened.modalities[name]
        assert (modality.kind, modality.size_px) == (wanted.kind, wanted.size_px)
        assert (modality.names, modality.units) == (wanted.names, wanted.units)


def test_channels_without_names_are_numbered() -> None:
    nameless = Samples(modality="arm", times_ns=np.array([RECORDED_NS]), values=np.zeros((1, 2)))
    found = describe([logged(nameless)])
    assert found["arm"].names == ("channel_1", "channel_2")


def logged(reading: Reading) -> Record:
    return Record(log_time_ns=RECORDED_NS, episode=0, reading=reading)
