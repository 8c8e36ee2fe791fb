"""A data set of numbered RGBA pictures and a CSV, from its map to windows and a checkpoint."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from model.checkpoint import load
from simulators.datasets import clean_windows, open_dataset
from simulators.training import TrainSettings
from stream.images import fit
from tests.test_model_synthetic import HURRIED
from tests.test_recordings_sequences import write_rows
from weldfusion import app

pytestmark = pytest.mark.usefixtures("one_thread")

HZ, SECONDS, JOINTS, SAMPLES = 12, 10, 7, 16
COUNT = HZ * SECONDS
LOST = (20, 21, 50)  # pictures
TRAIN = {
    "kind": "train",
    "name": "small",
    "modalities": {
        "camera": {"kind": "image", "size_px": [64, 64], "widths": [8, 16, 32]},
        "kinematics": {"kind": "vector", "samples": SAMPLES, "widths": [32, 32, 32]},
    },
    "training": HURRIED.model_dump(mode="json") | {"seed": 3},
}
MAP = {
    "kind": "recording",
    "episode_s": 5,
    "modalities": {
        "camera": {"files": "images/frame_{frame}.png"},
        "kinematics": {"files": "joints.csv", "frame_column": "frame", "rate_hz": HZ},
    },
}


def angles(number: int) -> list[float]:
    return [math.sin((1 + joint / 4) * number / HZ) for joint in range(JOINTS)]


def picture(number: int) -> np.ndarray:
    """An arm's tip as a disc that only the alpha channel hides."""
    pixels = np.full((255, 255, 4), 60, np.uint8)
    x, y, *_ = angles(number)
    cv2.circle(pixels, (round(127 + 80 * x), round(127 + 80 * y)), 20, (40, 120, 220, 0), -1)
    return pixels


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ur5")
    (root / "images").mkdir()
    for number in range(COUNT):
        if number not in LOST:
            assert cv2.imwrite(str(root / f"images/frame_{number:06d}.png"), picture(number))
    rows = [(number, *angles(number)) for number in range(COUNT)]
    write_rows(root / "joints.csv", rows, ("frame", *(f"q{one}" for one in range(JOINTS))), ";")
    (root / "map.yaml").write_text(yaml.safe_dump(MAP))
    (root / "train.yaml").write_text(yaml.safe_dump(TRAIN))
    return root


def test_every_picture_anchors_a_window_of_the_models_size_without_its_alpha(root: Path) -> None:
    model_for = TrainSettings.model_validate(TRAIN).model_for
    dataset = open_dataset([str(root)], model_for, map_path=root / "map.yaml")
    windows = clean_windows(dataset, lambda *_: None)
    numbers = [number for number in range(COUNT) if number not in LOST]
    assert windows.images["camera"].shape == (len(numbers), 64, 64, 3)
    assert np.bincount(windows.episode).tolist() == [COUNT // 2 - len(LOST), COUNT // 2]
    for at in (0, 30, -1):
        wanted = fit(np.ascontiguousarray(picture(numbers[at])[..., 2::-1]), (64, 64)).astype(int)
        # every frame is coded once more as a JPEG, with or without a fault
        np.testing.assert_allclose(windows.images["camera"][at], wanted, atol=25)
        if windows.present["kinematics"][at]:
            newest = windows.vectors["kinematics"][at, -1]
            np.testing.assert_allclose(newest, angles(numbers[at]), atol=1e-6)
    assert windows.vectors["kinematics"].shape[1:] == (SAMPLES, JOINTS)
    assert windows.present["kinematics"].sum() == len(numbers) - 2 * (SAMPLES - 1)


def test_a_checkpoint_is_trained_on_it_and_what_it_lacks_is_told(root: Path) -> None:
    data = ["--data", str(root), "--map", str(root / "map.yaml"), "--out", str(root / "out")]
    result = CliRunner().invoke(app, ["train", str(root / "train.yaml"), *data])
    assert result.exit_code == 0, result.output
    card = load(root / "out" / "small.safetensors").card
    assert card.model.modalities["kinematics"].channels == JOINTS
    assert card.model.modalities["camera"].size_px == (64, 64)
    assert card.model.window_hz == HZ
    assert "camera: no picture for 3 rows, the first row 22" in result.stderr
