"""``weldfusion simulate``: what is planned, split, refused and written."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from simulators.recordings.mcap import McapRecording
from simulators.stations import opengl
from simulators.stations.command import simulate
from simulators.stations.opengl import OpenGLError, prepare_opengl
from simulators.stations.sensors import NS_PER_S
from simulators.stations.simulate import (
    SPLITS,
    Request,
    plan_trajectories,
    simulate_recording,
    split_trajectories,
)
from simulators.stations.station import STATIONS
from tests.simulated import readings


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(30.0, [30.0]), (62.0, [62.0]), (120.0, [60.0, 60.0]), (150.0, [60.0, 60.0, 30.0])],
)
def test_minutes_are_cut_into_trajectories_three_seconds_apart(
    seconds: float, expected: list[float]
) -> None:
    planned = plan_trajectories(STATIONS["welding-single"], Request(seconds=seconds, seed=0))
    assert [trajectory.seconds for trajectory in planned] == pytest.approx(expected)
    for before, after in pairwise(planned):
        assert after.episode.start_ns - before.episode.end_ns == 3 * NS_PER_S


@pytest.mark.parametrize("minutes", [4, 5, 10, 80])
def test_splits_share_out_whole_trajectories_and_no_two_hold_the_same(minutes: int) -> None:
    request = Request(seconds=60.0 * minutes, seed=0)
    planned = plan_trajectories(STATIONS["welding-single"], request)
    splits = split_trajectories(planned)
    assert list(splits) == list(SPLITS)
    assert [one for split in splits.values() for one in split] == planned
    for name, split in splits.items():
        assert len(split) >= 1
        assert abs(len(split) - SPLITS[name] * minutes) < 1.5


def test_one_job_and_two_write_the_same_file(tmp_path: Path) -> None:
    station = replace(STATIONS["welding-single"], trajectory_s=1.0)
    heard: list[float] = []
    files = [tmp_path / "one.mcap", tmp_path / "two.mcap"]
    for jobs, path in enumerate(files, start=1):
        planned = plan_trajectories(station, Request(seconds=2.0, seed=1))
        simulate_recording(station, planned, path=path, jobs=jobs, progress=heard.append)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert max(heard) <= 2.1
    recording = McapRecording(files[0])
    assert [episode.number for episode in recording.episodes] == [0, 1]
    assert recording.modalities["kinematics"] == station.modalities["kinematics"]
    read = list(recording.records())
    assert all(r.clean is not None for r in readings(tuple(read), "kinematics"))
    assert recording.metadata["station"] == "welding-single"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["welding-double", "--out", "new.mcap"], "there is ur5, welding-dual, welding-single"),
        (["welding-single"], "--splits DIRECTORY"),
        (["welding-single", "--out", "new.mcap", "--splits", "new"], "either --out"),
        (["welding-single", "--splits", "new", "--minutes", "3"], "4 minutes"),
        (["welding-single", "--out", "new.mcap", "--with", "sound"], "optional modality 'sound'"),
        (["welding-single", "--out", "new.mcap", "--minutes", "0"], "--minutes 0"),
        (["welding-single", "--out", "new.mcap", "--minutes", "nan"], "--minutes nan"),
        (["welding-single", "--out", "old.mcap"], "--force"),
        (["welding-single", "--out", "nowhere/new.mcap"], "no directory nowhere"),
    ],
)
def test_the_command_refuses_bad_input_with_its_reason(
    arguments: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.mcap").write_bytes(b"kept")
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(simulate)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert reason in " ".join(result.output.split())
    assert [path.name for path in tmp_path.iterdir()] == ["old.mcap"]
    assert (tmp_path / "old.mcap").read_bytes() == b"kept"


def test_without_egl_and_without_apt_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opengl, "_is_there", lambda library: False)
    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(OpenGLError, match="apt-get install libegl1") as caught:
        prepare_opengl()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
