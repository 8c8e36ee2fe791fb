"""What the shipped checkpoint reaches on the shipped recording, which it was never trained on.

The bounds lie well below the figures in its card, so that only a real loss of quality fails.
"""

import numpy as np
import pytest

from model.checkpoint import load
from model.evaluation import classify
from model.judging import correction_errors, score_pairs, score_windows
from model.windows import Pairs
from simulators.datasets import Dataset, clean_windows, faulty_pairs, open_dataset
from simulators.demo import RECORDING
from stream.engine import checkpoint_path

pytestmark = pytest.mark.usefixtures("one_thread")

LOADED = load(checkpoint_path("welding-single"), device="cpu")
CAMERA, KINEMATICS = 0, 1


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    spreads = {name: np.array(values) for name, values in LOADED.card.spreads.items()}
    return open_dataset([str(RECORDING)], lambda _: LOADED.card.model, spreads=spreads)


@pytest.fixture(scope="module")
def pairs(dataset: Dataset) -> Pairs:
    return faulty_pairs(dataset, "A", 1, silent)


def test_few_clean_windows_are_taken_for_faulty(dataset: Dataset) -> None:
    scores = score_windows(LOADED.fusion, clean_windows(dataset, silent))
    assert (classify(scores) >= 0).mean() < 0.05


def test_most_faulty_windows_are_laid_at_the_right_door(pairs: Pairs) -> None:
    found, truth = classify(score_pairs(LOADED.fusion, pairs)), pairs.faulty_modality
    assert (found[truth == CAMERA] == CAMERA).mean() > 0.85
    assert (found[truth == KINEMATICS] == KINEMATICS).mean() > 0.7


def test_the_corrector_makes_faulty_latents_better_on_the_whole(
    dataset: Dataset, pairs: Pairs
) -> None:
    """Not each of them: what a mild blur does to a latent is less than what the corrector does."""
    both = [pairs, faulty_pairs(dataset, "B", 1, silent)]
    errors = [correction_errors(LOADED.fusion, one) for one in both]
    for name in errors[0]:
        uncorrected, corrected = (
            np.mean([error[name][key] for error in errors]) for key in ("uncorrected", "corrected")
        )
        assert corrected < uncorrected, name
