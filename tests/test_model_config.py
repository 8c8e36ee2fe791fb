import pytest
from pydantic import ValidationError

from model.config import (
    PAPER_IMAGE_WIDTHS,
    SLIM_IMAGE_WIDTHS,
    ModalityConfig,
    ModelConfig,
    TrainingConfig,
)


def test_widths_left_out_are_the_slim_ones():
    assert ModalityConfig(kind="image").widths == SLIM_IMAGE_WIDTHS
    assert ModalityConfig(kind="vector", channels=6).widths == (96,) * 5


def test_the_papers_widths_are_accepted():
    camera = ModalityConfig(kind="image", widths=PAPER_IMAGE_WIDTHS)
    arm = ModalityConfig(kind="vector", channels=18, widths=(288,) * 5)
    assert ModelConfig(name="paper", modalities={"camera": camera, "arm": arm}).latent == 288


@pytest.mark.parametrize(
    ("modality", "said"),
    [
        ({"kind": "image", "size_px": (64, 64)}, "too small for 6 layers"),
        ({"kind": "image", "channels": 1}, "RGB"),
        ({"kind": "vector", "channels": 2, "names": ("a",)}, "1 given for 2 channels"),
        ({"kind": "vector", "channels": 2, "width": (8,)}, "Extra inputs"),
    ],
)
def test_an_impossible_modality_says_why(modality, said):
    with pytest.raises(ValidationError, match=said):
        ModalityConfig(**modality)


@pytest.mark.parametrize("widths", [(16, 30), (16, 36)])
def test_a_last_width_that_cannot_fill_the_latent_names_its_path(widths):
    kind = "image" if widths[-1] == 30 else "vector"
    good = widths[-1] == 36  # 36 divides 288
    modalities = {"front": {"kind": kind, "widths": widths}}
    if good:
        assert ModelConfig(name="m", modalities=modalities).names == ("front",)
    else:
        with pytest.raises(ValidationError, match=r"modalities\.front\.widths"):
            ModelConfig(name="m", modalities=modalities)


def test_modality_names_stay_what_a_topic_segment_may_be():
    with pytest.raises(ValidationError, match=r"a/b"):
        ModelConfig(name="m", modalities={"a/b": {"kind": "image"}})


@pytest.mark.parametrize("rates", [(), (0.001, 0.01), (0.0,), (1.5,)])
def test_false_alarm_rates_are_probabilities_largest_first(rates):
    with pytest.raises(ValidationError, match="false_alarm_rates"):
        TrainingConfig(false_alarm_rates=rates)


def test_configuration_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError, match="frozen"):
        TrainingConfig().seed = 4
