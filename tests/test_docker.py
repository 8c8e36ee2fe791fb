"""The container files: checked as far as that is possible without a container runtime."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from simulators.brokers.broker import free_port
from stream.metrics import Metrics
from stream.worker import read_worker

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
STATION = "weldfusion/demo/hall/line/cell"


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
    return document


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined and comments left out."""
    text = (DOCKER / "Dockerfile").read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name, rest) for name, rest in pairs]


def of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def check_compose(path: Path) -> subprocess.CompletedProcess[str]:
    """Hold a file against the compose specification's own JSON schema."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)


# compose.yaml


@pytest.mark.parametrize("name", ["compose.yaml", "compose.cuda.yaml"])
def test_the_compose_files_follow_the_compose_specification(name: str) -> None:
    checked = check_compose(DOCKER / name)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_typing_error_in_a_compose_file_would_be_seen(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text((DOCKER / "compose.yaml").read_text().replace("read_only:", "readonly:", 1))
    assert check_compose(wrong).returncode != 0


def test_whatever_a_service_names_is_defined_and_the_files_are_there() -> None:
    document = compose()
    for name, service in document["services"].items():
        assert {one["source"] for one in service.get("configs", [])} <= set(document["configs"])
        assert set(service.get("secrets", [])) <= set(document["secrets"]), name
        assert set(service.get("depends_on", {})) <= set(document["services"]), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in document["volumes"] or (DOCKER / source).is_file(), volume
    assert all((DOCKER / one["file"]).is_file() for one in document["configs"].values())


def test_every_service_that_is_waited_for_has_a_health_check() -> None:
    services = compose()["services"]
    waited = {name for one in services.values() for name in one.get("depends_on", {})}
    assert waited == {"mosquitto", "kafka"}
    assert all("healthcheck" in services[name] for name in waited)


def test_nothing_runs_with_privileges_and_kafka_is_not_offered_beyond_this_machine() -> None:
    services = compose()["services"]
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        # Kafka's image writes its final configuration beside its program.
        assert service.get("read_only") is (None if name == "kafka" else True), name
    assert all(port.startswith("127.0.0.1:") for port in services["kafka"]["ports"])


def test_the_build_arguments_are_those_of_the_dockerfile() -> None:
    known = {argument.split("=")[0] for argument in of("ARG")}
    cuda = yaml.safe_load((DOCKER / "compose.cuda.yaml").read_text())
    for service in [compose()["services"]["worker"], cuda["services"]["worker"]]:
        assert set(service["build"]["args"]) <= known
    build = compose()["services"]["worker"]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).resolve() == DOCKER / "Dockerfile"


@pytest.mark.parametrize("service", ["worker", "worker-kafka"])
def test_the_workers_configuration_fits_its_service(service: str) -> None:
    document = compose()
    described = document["services"][service]
    (config,) = described["configs"]
    assert config["target"] == shlex.split(of("CMD")[0].strip("[]").replace(",", " "))[-1]
    settings = read_worker(DOCKER / document["configs"][config["source"]]["file"])
    ((host, port),) = settings.broker.address.servers
    assert set(described["depends_on"]) == {host}
    secrets = [settings.broker.ca_file, settings.broker.password_file]
    assert {path.name for path in secrets if path} == set(described["secrets"])
    file, offered = {
        "mosquitto": ("mosquitto.conf", "listener 8883"),
        "kafka": ("kafka.properties", "INTERNAL://kafka:9092"),
    }[host]
    assert offered in (DOCKER / file).read_text()
    assert offered.endswith(str(port))


# Dockerfile


def copied() -> list[str]:
    """What the build stage takes from the repository."""
    return [
        source
        for rest in of("COPY")
        if not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]


def run_with_a_recording_pip(command: str, folder: Path, **build: str) -> list[str]:
    """Run a RUN line with a pip that only writes its arguments down; give them."""
    pip = folder / "pip"
    pip.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    pip.chmod(0o755)
    environment = {**os.environ, **build, "PATH": f"{folder}:{os.environ['PATH']}"}
    ran = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, check=True
    )
    return ran.stdout.splitlines()


def test_torch_is_installed_as_the_project_asks_for_it_in_both_flavours(tmp_path: Path) -> None:
    (command,) = [line for line in of("RUN") if "torch" in line]
    required = re.search(r'"(torch[^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert required is not None
    cuda = run_with_a_recording_pip(command, tmp_path, FLAVOUR="cuda")
    assert cuda == ["install", required[1]]
    cpu = run_with_a_recording_pip(command, tmp_path, FLAVOUR="cpu")
    assert cpu[-1] == required[1]
    assert cpu[cpu.index("--index-url") + 1].endswith("whl/cpu")
    with pytest.raises(subprocess.CalledProcessError):
        run_with_a_recording_pip(command, tmp_path, FLAVOUR="rocm")


def test_the_project_installs_from_the_copied_files_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "src", tmp_path / "installed"
    source.mkdir()
    for name in copied():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name)
        else:
            shutil.copy(ROOT / name, source / name)
    (command,) = [line for line in of("RUN") if "EXTRAS" in line]
    (_, wanted) = run_with_a_recording_pip(command, tmp_path, EXTRAS="[lerobot]")
    assert wanted == ".[lerobot]"
    # Dependencies were resolved when this environment was made; here only the project is new.
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "-q"]
    subprocess.run([*pip, "--target", str(target), wanted], cwd=source, check=True)
    metadata = next(target.glob("weldfusion-*.dist-info/METADATA")).read_text()
    assert "Provides-Extra: lerobot\n" in metadata
    program = "import weldfusion; print(weldfusion.__file__); weldfusion.main()"
    checked = subprocess.run(
        [sys.executable, "-c", program, "check", str(DOCKER / "worker.yaml")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr
    assert str(target) in checked.stdout
    assert (target / "bin" / "weldfusion").is_file()


def test_the_ignore_file_lets_through_what_is_copied_and_nothing_else() -> None:
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == set(copied())


def test_the_image_runs_as_an_ordinary_user_from_a_slim_base() -> None:
    stages = of("FROM")
    assert all(stage.startswith("python:${PYTHON}-slim") for stage in stages)
    last = [name for name, _ in instructions()][-8:]
    assert "USER" in last
    assert of("USER") == ["10001:10001"]
    assert any("--uid 10001" in line for line in of("RUN"))


def test_the_health_check_asks_the_port_that_the_workers_serve(tmp_path: Path) -> None:
    (check,) = of("HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    (served,) = of("EXPOSE")
    for name in ("worker.yaml", "worker-kafka.yaml"):
        assert read_worker(DOCKER / name).metrics_port == int(served)
    port = free_port()
    asked = [sys.executable, *(part.replace(f":{served}/", f":{port}/") for part in command[1:])]
    assert asked[-1] != command[-1]
    assert subprocess.run(asked, capture_output=True, check=False).returncode != 0
    Metrics().serve(port)
    assert subprocess.run(asked, capture_output=True, check=False).returncode == 0
