"""Encoders, decoders, corrector and the choice of precision."""

import pytest
import torch

from model.config import ModalityConfig
from model.corrector import Corrector, constrain, release
from model.decoders import build_decoder
from model.encoders import Standardiser, build_encoder, feature_sizes
from model.lipschitz import spectral_norms
from model.precision import choose, choose_device


def test_256_pixels_leave_a_3x3_map_after_six_layers():
    sides = [height for height, _ in feature_sizes((256, 256), 6)]
    assert sides == [256, 127, 63, 31, 15, 7, 3]


@pytest.mark.parametrize("size_px", [(256, 256), (128, 127), (240, 321), (511, 160)])
def test_any_image_size_is_encoded_to_the_latent_and_back_to_its_size(size_px):
    config = ModalityConfig(kind="image", size_px=size_px, widths=(4, 4, 4, 4, 4, 32))
    latent = build_encoder(config, 288)(torch.rand(2, 3, *size_px))
    assert latent.shape == (2, 288)
    assert build_decoder(config, 288)(latent).shape == (2, 3, *size_px)


@pytest.mark.parametrize(("samples", "width"), [(1, 288), (32, 288), (32, 96), (5, 32), (33, 72)])
def test_any_window_length_is_encoded_to_the_latent_and_back_to_its_length(samples, width):
    config = ModalityConfig(kind="vector", channels=7, samples=samples, widths=(16, width))
    latent = build_encoder(config, 288)(torch.rand(3, samples, 7))
    assert latent.shape == (3, 288)
    assert build_decoder(config, 288)(latent).shape == (3, samples, 7)


def test_a_fresh_encoder_neither_kills_nor_blows_up_the_signal():
    torch.manual_seed(0)
    config = ModalityConfig(kind="image")
    latent = build_encoder(config, 288)(torch.randn(4, 3, 256, 256)).detach()
    assert 0.1 < float(latent.std()) < 10


def test_a_channel_that_never_moved_keeps_its_own_unit():
    scale = Standardiser((2,))
    scale.fit(torch.tensor([5.0, 1.0]), torch.tensor([0.0, 2.0]))
    assert scale(torch.tensor([[6.0, 5.0]])).tolist() == [[1.0, 2.0]]
    assert scale.inverse(torch.tensor([[1.0, 2.0]])).tolist() == [[6.0, 5.0]]


def test_a_constrained_corrector_is_released_with_all_singular_values_at_most_one():
    torch.manual_seed(0)
    corrector = Corrector(24, depth=4)
    with torch.no_grad():
        for weight in corrector.parameters():
            weight.mul_(5)
    assert max(spectral_norms(corrector)) > 2
    constrain(corrector)
    for _ in range(50):  # power iterations run while training
        corrector(torch.randn(8, 24))
    release(corrector)
    assert max(spectral_norms(corrector)) == pytest.approx(1.0, abs=0.02)
    assert sorted(corrector.state_dict()) == sorted(Corrector(24, depth=4).state_dict())


def test_bf16_is_chosen_where_the_processor_multiplies_it():
    cpu = torch.device("cpu")
    assert choose("auto", cpu, "flags : avx2 amx_bf16 amx_tile") == "bf16"
    assert choose("auto", cpu, "flags : avx2 avx512_bf16") == "fp32"
    assert choose("auto", torch.device("cuda"), "") == "bf16"
    assert choose("fp32", torch.device("cuda"), "") == "fp32"
    assert choose("auto", cpu) in ("fp32", "bf16")


def test_a_named_device_is_taken_as_it_is():
    assert choose_device("cpu").type == "cpu"
