from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from simulators.recordings.command import info
from tests.test_recordings_layouts import write_folder, write_lerobot, write_mcap, write_video


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(info)
    environment = {"COLUMNS": "120", "NO_COLOR": "1"}
    return CliRunner().invoke(app, [str(one) for one in arguments], env=environment)


def row(result: Result, modality: str) -> list[str]:
    line = next(line for line in result.output.splitlines() if line.split()[:1] == [modality])
    return line.split()


def test_a_data_set_is_shown_with_its_own_episode_numbers(tmp_path: Path) -> None:
    result = run(f"{write_lerobot(tmp_path / 'set')}#2-9")
    assert result.exit_code == 0, result.output
    assert "episodes  1 (4)" in result.output
    assert "duration  0.17 s" in result.output
    assert row(result, "state") == [
        "state",
        "vector",
        "3",
        "ch",
        "30",
        "30.000",
        "6",
        "33.3",
        "0.0",
    ]
    assert row(result, "cam_high") == [
        "cam_high",
        "image",
        "80x64",
        "px",
        "30",
        "30.000",
        "6",
        "33.3",
        "0.0",
    ]
    assert "state: q1, q2, q3" in result.output


def test_the_skew_between_clocks_shows_in_the_starts(tmp_path: Path) -> None:
    video = write_video(tmp_path / "weld")
    (tmp_path / "map.yaml").write_text(
        "kind: recording\nnote: dark is normal\nmodalities:\n"
        "  signals: {rate_hz: 10, offset_ms: 1360, units: {Current: A}}\n"
    )
    result = run(video, "--map", tmp_path / "map.yaml")
    assert result.exit_code == 0, result.output
    assert row(result, "signals") == [
        "signals",
        "vector",
        "2",
        "ch",
        "10",
        "10.000",
        "4",
        "100.0",
        "1360.0",
    ]
    assert "note: dark is normal" in result.output
    assert "signals: Current (A), Voltage" in result.output


def test_a_recording_without_times_is_shown_with_a_warning(tmp_path: Path) -> None:
    result = run(write_video(tmp_path / "weld"))
    assert result.exit_code == 0, result.output
    assert "as if its rows spanned the whole video" in result.output
    assert row(result, "signals")[4] == "11.11"  # 4 rows over 9 frames at 25 Hz


def test_an_mcap_shows_what_was_written_into_it(tmp_path: Path) -> None:
    result = run(write_mcap(tmp_path / "a.mcap"))
    assert "station   a/b/c/d/e" in result.output
    assert row(result, "joints")[4:7] == ["100", "100.000", "40"]


def test_a_gap_is_shown(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "folder")
    (root / "joints.csv").write_text("t_ns,q\n0,0\n10000000,1\n95000000,2\n105000000,3\n")
    assert row(run(root), "joints")[-2] == "85.0"


@pytest.mark.parametrize(
    ("name", "message"), [("nothing.mcap", "no such file"), ("folder#3", "no episode 3")]
)
def test_a_wrong_recording_is_one_line_and_a_failure(
    tmp_path: Path, name: str, message: str
) -> None:
    write_folder(tmp_path / "folder")
    result = run(tmp_path / name)
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_wrong_map_names_its_keys(tmp_path: Path) -> None:
    (tmp_path / "map.yaml").write_text("kind: recording\nmodalitys: {}\n")
    result = run(write_folder(tmp_path / "folder"), "--map", tmp_path / "map.yaml")
    assert result.exit_code == 2
    assert "modalitys" in result.output
