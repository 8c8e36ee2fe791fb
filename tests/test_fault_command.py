"""``weldfusion faults``: the catalogue as a table and as a contact sheet."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from simulators.contact_sheet import Material, contact_sheet
from simulators.faults.registry import catalogue
from tests.scenes import SIGNAL, motion, scene
from weldfusion import app


def run(*arguments: str) -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    return CliRunner().invoke(app, ["faults", *arguments], env=environment)


def test_every_fault_is_listed_with_its_origin_and_what_severity_scales() -> None:
    lines = run().output.splitlines()
    for (kind, name), entry in catalogue().items():
        (line,) = [one for one in lines if re.match(rf"\W+{kind or 'any'}\W+{name} ", one)]
        assert f" {entry.origin} " in line
        assert entry.parameter in line
        assert f"{entry.published_range[0]:.2g}" in line


@pytest.fixture(scope="module")
def sheet() -> np.ndarray:
    values, _ = motion(400)
    frames = [scene(number) for number in range(8)]
    return contact_sheet(Material(frames=frames, frame_hz=5, values=values, signal=SIGNAL))


def test_the_sheet_has_a_tile_for_every_fault(sheet: np.ndarray) -> None:
    half = sheet.shape[1] // 2
    labels = 0
    for block in (sheet[:, :half], sheet[:, half:]):
        empty = (block == 250).all(axis=(1, 2)).astype(int)
        labels += int((np.diff(empty) == 1).sum())
    assert labels >= len(catalogue())
    assert sheet.dtype == np.uint8


def test_a_sheet_is_written_on_a_picture_of_ones_own(tmp_path: Path) -> None:
    picture, drawn = tmp_path / "own.png", tmp_path / "sheet.png"
    cv2.imwrite(str(picture), np.full((30, 40, 3), (255, 0, 0), np.uint8))
    result = run("--sheet", str(drawn), "--frame", str(picture))
    assert result.exit_code == 0, result.output
    shown = cv2.imread(str(drawn))
    assert shown is not None
    assert (shown == (255, 0, 0)).all(axis=2).mean() > 0.02, (
        "the blue picture, where little changes"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--frame", "x.png"], "give --sheet too"),
        (["--sheet", "sheet.jpg"], "name it *.png"),
        (["--sheet", "/nowhere/sheet.png"], "No such file"),
        (["--sheet", "sheet.png", "--frame", __file__], "not_an_image"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_one_line(arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
