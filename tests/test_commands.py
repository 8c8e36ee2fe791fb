"""Every command teaches itself, and says in one line what is wrong."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from simulators.broker_commands import checked_station, speed_factor
from simulators.demo import default_scenario, worker_configuration
from simulators.demo_command import summary, table
from simulators.recordings.open import open_recording
from simulators.scenario import Scenario, plan
from stream.config import WorkerSettings, parse
from stream.transports.broker import BrokerConfig
from tests.recorded import ARM_HZ, CAMERA_HZ, write_recording
from weldfusion import app

TAUGHT = {
    "demo": ["--broker", "--seconds", "--seed", "--scenario", "--json", "--model"],
    "worker": ["CONFIG", "--broker", "--set", "--shadow", "--insecure"],
    "bridge": ["CONFIG", "--from", "--to", "--set", "--insecure"],
    "replay": [
        *("RECORDING", "--to", "--station", "--speed", "--loop", "--keep-times"),
        *("--scenario", "--seed", "--seconds", "--force", "--insecure"),
    ],
    "record": ["URL", "--out", "--station", "--seconds", "--force", "--insecure"],
    "info": ["RECORDING"],
    "simulate": ["--minutes", "--seed", "--out"],
    "faults": ["--sheet", "--frame"],
    "inject": ["URL", "--station", "--fault", "--severity", "--seconds", "--insecure"],
    "watch": ["URL", "--station", "--json", "--insecure"],
    "dlq": ["show", "replay"],
    "train": ["CONFIG", "--data", "--out"],
    "evaluate": ["CHECKPOINT", "--data", "--clean", "--seed", "--json"],
    "check": ["FILE"],
}
SHIPPED = Path(__file__).parents[1] / "configs"
NOBODY = "mqtt://127.0.0.1:1"  # never reached: what is wrong is said before


def run(*arguments: str | Path) -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, [str(one) for one in arguments], env=environment)


def refused(*arguments: str | Path) -> str:
    """The one line that an impossible command ends with."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert lines[0].startswith(f"{arguments[0]}: "), result.output
    return "\n".join(lines)


def one_line(*arguments: str | Path) -> str:
    said = refused(*arguments)
    assert "\n" not in said
    return said


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return write_recording(tmp_path / "small.mcap")


@pytest.mark.parametrize("command", TAUGHT)
def test_help_teaches_every_option(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    for word in TAUGHT[command]:
        assert re.search(rf"(?<![\w-]){word}(?![\w-])", result.output, re.IGNORECASE), word


def test_the_front_door_lists_every_command() -> None:
    result = run("--help")
    assert result.exit_code == 0
    listed = re.findall(r"^[│\s]+([a-z]+)\s{2,}\S", result.output, re.MULTILINE)
    assert set(TAUGHT) <= set(listed)


@pytest.mark.parametrize("speed", ["fast", "0", "-1", "nan", "inf", "1e9", ""])
def test_a_speed_that_is_none_is_refused(recorded: Path, speed: str) -> None:
    said = one_line("replay", recorded, "--to", NOBODY, f"--speed={speed}")
    assert said == f"replay: --speed {speed}: give a factor such as 0.5 or 4, or max"


@pytest.mark.parametrize(("text", "factor"), [("max", 0.0), ("1", 1.0), ("0.5", 0.5)])
def test_a_speed_is_a_factor_or_max(text: str, factor: float) -> None:
    assert speed_factor(text) == factor


@pytest.mark.parametrize("station", ["cell", "a/b/c/d", "a/b/c/d/e/f", "a/b/c/d/e f", "a/b/c/d/+"])
@pytest.mark.parametrize("command", ["replay", "record", "inject"])
def test_a_station_that_is_no_path_of_five_is_refused(
    tmp_path: Path, recorded: Path, command: str, station: str
) -> None:
    rest = {
        "replay": [recorded, "--to", NOBODY],
        "record": [NOBODY, "--out", tmp_path / "new.mcap"],
        "inject": [NOBODY, "--fault", "camera.blur"],
    }
    said = one_line(command, *rest[command], "--station", station)
    assert repr(station) in said
    assert "five segments" in said


def test_a_station_of_five_segments_is_taken_as_it_is() -> None:
    assert checked_station("acme/plant-1/hall_2/line3/cell4") == "acme/plant-1/hall_2/line3/cell4"


def test_a_fault_without_its_modality_is_refused() -> None:
    said = one_line("inject", NOBODY, "--fault", "occlusion")
    assert "MODALITY.FAULT" in said


def test_a_fault_that_nobody_knows_is_refused_with_those_there_are() -> None:
    said = one_line("inject", NOBODY, "--fault", "camera.spilt-coffee")
    assert "'spilt-coffee'" in said
    assert "occlusion" in said
    assert "drift" in said


@pytest.mark.parametrize("severity", ["-0.1", "1.5", "much"])
def test_a_severity_outside_0_to_1_is_refused(severity: str) -> None:
    result = run("inject", NOBODY, "--fault", "camera.blur", f"--severity={severity}")
    assert result.exit_code == 2
    assert "--severity" in result.stderr


def test_an_existing_file_is_not_overwritten_unasked(tmp_path: Path) -> None:
    out = tmp_path / "there.mcap"
    out.write_bytes(b"precious")
    said = one_line("record", NOBODY, "--out", out)
    assert str(out) in said
    assert "--force" in said
    assert out.read_bytes() == b"precious"


@pytest.mark.parametrize("command", ["replay", "record", "inject", "watch"])
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://localhost", "unknown scheme"),
        ("localhost:1883", "unknown scheme"),
        ("mqtt://localhost:99999", "99999"),
        ("mqtt://me:hunter2@localhost", "credentials do not belong into a URL"),
    ],
)
def test_a_wrong_broker_url_is_refused_without_repeating_its_secrets(
    tmp_path: Path, recorded: Path, command: str, url: str, reason: str
) -> None:
    rest = {
        "replay": [recorded, "--to", url],
        "record": [url, "--out", tmp_path / "new.mcap"],
        "inject": [url, "--fault", "camera.blur"],
        "watch": [url],
    }
    said = refused(command, *rest[command])
    assert "url" in said
    assert reason in said
    assert "hunter2" not in said


BEYOND = "mqtt://broker.example"


def to_broker(command: str, broker: str | Path, tmp_path: Path, recorded: Path) -> list[str | Path]:
    """The arguments with which a command would use a broker."""
    worker = tmp_path / "worker.yaml"
    worker.write_text(
        worker_configuration(open_recording(recorded), "none", BrokerConfig(url=NOBODY), tmp_path)
    )
    return {
        "replay": [recorded, "--to", broker],
        "record": [broker, "--out", tmp_path / "new.mcap"],
        "inject": [broker, "--fault", "camera.blur"],
        "watch": [broker],
        "demo": ["--broker", broker, "--recording", recorded, "--model", "none"],
        "worker": [worker, "--broker", broker],
        "bridge": [SHIPPED / "bridge-welding-single.yaml", "--from", broker],
    }[command]


@pytest.mark.parametrize(
    "command", ["replay", "record", "inject", "watch", "demo", "worker", "bridge"]
)
def test_plaintext_beyond_this_machine_is_refused_unless_asked_for(
    tmp_path: Path, recorded: Path, command: str
) -> None:
    said = refused(command, *to_broker(command, BEYOND, tmp_path, recorded))
    assert f"plaintext and anonymous access to {BEYOND} is refused; use TLS and credentials" in said
    assert "insecure: true (--insecure)" in said


@pytest.mark.parametrize("command", ["replay", "record", "inject", "watch", "demo"])
def test_a_file_instead_of_a_url_says_as_whom(tmp_path: Path, recorded: Path, command: str) -> None:
    broker = tmp_path / "plant.yaml"
    broker.write_text(
        "kind: broker\nurl: mqtts://broker.example\nusername: mes\npassword_env: NOT_THERE\n"
    )
    said = refused(command, *to_broker(command, broker, tmp_path, recorded))
    assert "the environment has no NOT_THERE (password_env)" in said
    broker.write_text("kind: broker\nurl: mqtts://broker.example\npassword: hunter2\n")
    said = refused(command, *to_broker(command, broker, tmp_path, recorded))
    assert "give password_file or password_env" in said
    assert "hunter2" not in said


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone.mcap"
    configuration = tmp_path / "train.yaml"
    configuration.write_text("kind: train\nname: small\n")
    for arguments in (
        ("replay", gone, "--to", NOBODY),
        ("info", gone),
        ("train", configuration, "--data", gone, "--out", tmp_path),
        ("demo", "--broker", "memory://demo", "--recording", gone, "--seed", "1"),
    ):
        assert str(gone) in one_line(*arguments)


def test_a_missing_checkpoint_is_named(tmp_path: Path, recorded: Path) -> None:
    said = one_line("evaluate", tmp_path / "gone.safetensors", "--data", recorded)
    assert "gone" in said


def test_a_recording_map_or_scenario_that_is_not_there_is_named(
    tmp_path: Path, recorded: Path
) -> None:
    said = refused("replay", recorded, "--to", NOBODY, "--scenario", tmp_path / "gone.yaml")
    assert "gone.yaml" in said


def test_a_scenario_for_another_station_is_refused_with_the_path_of_each_mistake(
    tmp_path: Path, recorded: Path
) -> None:
    scenario = tmp_path / "other.yaml"
    scenario.write_text(
        "kind: scenario\ninjections:\n"
        "  - {at_s: 0.1, modality: lidar, fault: blur, severity: 0.5, seconds: 0.2}\n"
        "  - {at_s: 0.1, modality: arm, fault: blur, severity: 0.5, seconds: 0.2}\n"
    )
    said = refused("replay", recorded, "--to", NOBODY, "--scenario", scenario, "--seed", "1")
    assert "injections.0.modality" in said
    assert "injections.1.fault" in said


def test_a_demo_shorter_than_its_first_fault_is_refused() -> None:
    result = run("demo", "--seconds", "11.9")
    assert result.exit_code == 2
    assert "--seconds" in result.stderr


@pytest.mark.parametrize(("seconds", "faults"), [(12, 1), (14.9, 1), (24, 2), (60, 6), (300, 32)])
def test_the_demos_own_scenario_fits_into_any_length_with_any_seed(
    recorded: Path, seconds: float, faults: int
) -> None:
    opened = open_recording(recorded)
    scenario = Scenario.model_validate(default_scenario(opened, seconds))
    for seed in range(5):
        planned = plan(scenario, seed, seconds, opened.modalities)
        assert len(planned) == faults
        assert all(0.3 <= one.severity <= 0.8 for one in planned)
        assert planned == plan(scenario, seed, seconds, opened.modalities)


def test_the_demos_worker_hears_every_modality_of_the_recording(
    recorded: Path, tmp_path: Path
) -> None:
    broker = BrokerConfig(url="mqtt://127.0.0.1:1883", protocol="3.1.1")
    content = yaml.safe_load(
        worker_configuration(open_recording(recorded), "none", broker, tmp_path)
    )
    settings = parse(content, WorkerSettings, "demo")
    (station,) = settings.stations
    assert {name: one.rate_hz for name, one in station.modalities.items()} == {
        "camera": CAMERA_HZ,
        "arm": ARM_HZ,
    }
    assert (settings.broker.url, settings.broker.protocol) == (broker.url, broker.protocol)


def test_the_demo_ends_with_found_and_missed_faults_and_what_was_dropped() -> None:
    fault = {"modality": "camera", "severity": 0.5, "condition": "signal", "cleared": True}
    result = {
        "injected": [
            {**fault, "fault": "blur", "detected": True, "delay_ms": 312.4},
            {**fault, "fault": "black", "detected": False, "delay_ms": None, "condition": None},
        ],
        "false_alarms": 2,
        "events": 9,
        "windows": 700,
        "windows_per_s": 14.9,
        "latency_ms": {"p50": 21.0, "p95": 40.0, "p99": 55.0},
        "dropped": {"late": 3},
        "model": "",
        "seed": 4,
    }
    said = summary(result)
    for part in ("found 1 of 2", "false alarms 2", "windows 700", "21 / 55 ms", "3 late", "seed 4"):
        assert part in said
    shown = table(result)
    cells = [list(column.cells) for column in shown.columns]
    assert cells[0] == ["camera.blur", "camera.black"]
    assert ["found" in cells[2][0], "missed" in cells[2][1]] == [True, True]
    assert cells[4] == ["312 ms", ""]
    unheard = {"p50": None, "p95": None, "p99": None}
    assert "p50 / p99 –;" in summary({**result, "latency_ms": unheard}).replace("\n", ";")
