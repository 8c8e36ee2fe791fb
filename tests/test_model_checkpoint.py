import json

import numpy as np
import pytest
import torch

from model.checkpoint import CheckpointError, load, save
from tests.test_model_synthetic import corrected, occluded, station, trained

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def saved(tmp_path):
    return save(tmp_path, "small", *trained())


def test_a_loaded_model_says_bit_for_bit_what_the_saved_one_said(saved):
    loaded = load(saved, device="cpu", precision="fp32")
    batch = occluded(station(1, 6, seed=5)).take(np.arange(6))
    first, again = trained()[0].infer(batch), loaded.fusion.infer(batch)
    mended, too = corrected(trained()[0], batch), corrected(loaded.fusion, batch)
    for name in ("camera", "arm"):
        assert torch.equal(first.latents[name], again.latents[name])
        assert torch.equal(mended[name], too[name])
        for kind, values in first.evidence[name].items():
            there = again.evidence[name][kind]
            assert torch.allclose(values, there, rtol=0, atol=0, equal_nan=True)


def test_every_tensor_survives_unchanged(saved):
    loaded = load(saved, device="cpu").fusion.state_dict()
    for key, tensor in trained()[0].state_dict().items():
        assert torch.equal(tensor, loaded[key]), key


def test_the_card_survives_and_carries_the_hash(saved):
    loaded = load(saved, device="cpu")
    _, card = trained()
    assert loaded.card == card.model_copy(update={"sha256": loaded.hash})
    assert len(loaded.hash) == 64


def test_a_truncated_file_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"small\.safetensors: sha256"):
        load(saved)


def test_a_missing_file_is_named(saved, tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.json: No such file"):
        load(tmp_path / "nowhere.safetensors")
    saved.unlink()
    with pytest.raises(CheckpointError, match=r"small\.safetensors: No such file"):
        load(saved)


def test_weights_of_another_training_are_refused(saved, tmp_path):
    fusion, card = trained()
    other = save(tmp_path / "other", "small", fusion, card)
    data = bytearray(other.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="of another training"):
        load(saved)


def test_weights_that_do_not_fit_the_configuration_say_which(saved):
    path = saved.with_suffix(".json")
    card = json.loads(path.read_text())
    card["model"]["modalities"]["arm"]["widths"] = [48, 32, 32]
    path.write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match=r"has shape .* the configuration asks for"):
        load(saved)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ('{"format": 7}', "format 7, this reads 1"),
        ('{"format": 1}', "model: Field required"),
        ("[]", "Input should be"),
    ],
)
def test_a_bad_card_says_what_is_wrong(saved, text, said):
    saved.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match=said):
        load(saved)
