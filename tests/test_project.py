"""Facts about the project that a reader or a package index relies on."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
ROOMS = ("model", "stream", "simulators")
PYPROJECT = (ROOT / "pyproject.toml").read_text()


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(PYPROJECT)["project"]
    return found


def requirements() -> list[str]:
    extras = [one for group in project()["optional-dependencies"].values() for one in group]
    return [*project()["dependencies"], *extras]


@pytest.mark.parametrize("requirement", requirements())
def test_every_dependency_is_bounded_on_both_sides(requirement: str) -> None:
    operators = {one.operator for one in Requirement(requirement).specifier}
    assert operators == {">=", "<"}


@pytest.mark.parametrize("requirement", requirements())
def test_every_dependency_has_a_reason_beside_it(requirement: str) -> None:
    (line,) = [line for line in PYPROJECT.splitlines() if f'"{requirement}"' in line]
    assert re.search(r"#\s+\w+", line), line


def test_the_extras_are_those_that_the_make_file_installs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (installed,) = re.findall(r"-e '\.\[([^\]]+)\]'", makefile)
    assert set(installed.split(",")) == set(project()["optional-dependencies"])


def imported_by(path: Path) -> set[str]:
    """The top-level packages that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("room", ROOMS)
def test_no_room_imports_a_later_room_or_the_front_door(room: str) -> None:
    later = {*ROOMS[ROOMS.index(room) + 1 :], "weldfusion", "tests"}
    wrong = {path.name for path in (ROOT / room).rglob("*.py") if imported_by(path) & later}
    assert wrong == set()


def test_every_import_of_the_rooms_is_declared() -> None:
    """By the names that are imported, which are not always the packages' own."""
    modules = {
        "cv2": "opencv-python-headless",
        "google": "protobuf",
        "paho": "paho-mqtt",
        "yaml": "pyyaml",
        "prometheus_client": "prometheus-client",
        "pydantic_core": "pydantic",
    }
    declared = {Requirement(one).name.lower() for one in requirements()}
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    imported = set().union(*map(imported_by, [*files, ROOT / "weldfusion.py"]))
    foreign = imported - sys.stdlib_module_names - {*ROOMS, "weldfusion"}
    assert {modules.get(name, name) for name in foreign} <= declared


def test_the_hooks_run_the_commands_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in hooks] == ["local"]
    entries = {hook["entry"] for hook in hooks[0]["hooks"]}
    _, _, lint = (ROOT / "Makefile").read_text().partition("lint:")
    commands = re.findall(r"\$\(BIN\)/(\S+(?: check)?)", lint.partition("\n\n")[0])
    assert len(commands) == 3
    assert {f".venv/bin/{command}" for command in commands} <= entries


def test_the_changelog_tells_of_this_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "## [Unreleased]" in text or f"## [{project()['version']}]" in text
    assert project()["version"] in text
    assert Version(project()["version"]) >= Version("0.1.0")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in a wheel, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        return archive.namelist()


def tracked(*folders: str, suffixes: tuple[str, ...]) -> set[str]:
    found = {path for folder in folders for path in (ROOT / folder).rglob("*")}
    return {
        path.relative_to(ROOT).as_posix()
        for path in found
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_code_and_everything_that_lies_beside_it(wheel: list[str]) -> None:
    suffixes = (
        *(".py", ".pyi", ".proto", ".json", ".yaml", ".safetensors", ".md", ".mcap", ".xml"),
        *(".html", ".css"),
    )
    wanted = {"weldfusion.py"} | tracked(*ROOMS, suffixes=suffixes)
    assert wanted - set(wheel) == set()
    assert any(name.startswith("stream/schemas/") for name in wheel)
    assert "stream/schemas/asyncapi.yaml" in wheel
    assert {"simulators/report/page.html", "simulators/report/page.css"} <= set(wheel)
    assert {name for name in wheel if name.endswith(".proto")} >= {
        "stream/proto/weldfusion.proto",
        "stream/proto/compressed_image.proto",
    }


@pytest.mark.parametrize(
    "path", ["model/pretrained/welding-single.safetensors", "simulators/data/welding-single.mcap"]
)
def test_the_wheel_brings_what_the_demo_needs(wheel: list[str], path: str) -> None:
    assert path in wheel


def test_the_wheel_brings_the_licence_and_the_command(wheel: list[str]) -> None:
    metadata = f"weldfusion-{project()['version']}.dist-info"
    assert f"{metadata}/licenses/LICENSE" in wheel
    assert f"{metadata}/entry_points.txt" in wheel


def test_the_wheel_brings_nothing_else(wheel: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert tops == {*ROOMS, "weldfusion.py", f"weldfusion-{project()['version']}.dist-info"}
    assert not [name for name in wheel if "__pycache__" in name or name.endswith(".pyc")]
