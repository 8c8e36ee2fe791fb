"""The shipped checkpoint on CUDA against the processor; training; run with ``pytest -m gpu``."""

from pathlib import Path

import numpy as np
import pytest
import torch

from model.checkpoint import load
from model.fusion import Inference
from model.training import train
from model.windows import Batch
from stream.checkpoints import blank_batch, checkpoint_path
from tests.test_model_synthetic import TRAINING, corrupt, model_config, station

pytestmark = pytest.mark.gpu

PATH = checkpoint_path("welding-single")


def noise(windows: int) -> Batch:
    """Windows of noise in the shape that the model takes, everything present."""
    batch, random = blank_batch(load(PATH, device="cpu").card), np.random.default_rng(0)
    shape = {name: (windows, *x.shape[1:]) for name, x in batch.images.items()}
    frames = {n: torch.from_numpy(random.integers(0, 256, s, np.uint8)) for n, s in shape.items()}
    return Batch(
        images=frames,
        previous=frames,
        has_previous={name: torch.ones(windows, dtype=torch.bool) for name in frames},
        vectors={
            name: torch.from_numpy(random.normal(size=(windows, *x.shape[1:])).astype(np.float32))
            for name, x in batch.vectors.items()
        },
        present={name: torch.ones(windows, dtype=torch.bool) for name in batch.present},
    )


def said(device: str, precision: str) -> Inference:
    return load(PATH, device=device, precision=precision).fusion.infer(noise(8))


def test_cuda_says_what_the_processor_says() -> None:
    here, there = said("cpu", "fp32"), said("cuda", "fp32")
    for name, latent in here.latents.items():
        torch.testing.assert_close(there.latents[name].cpu(), latent, rtol=1e-2, atol=1e-2)
        for kind, values in here.evidence[name].items():
            torch.testing.assert_close(
                there.evidence[name][kind].cpu(), values, rtol=1e-2, atol=1e-2
            )


def test_half_precision_leaves_the_evidence_as_it_is() -> None:
    """Thresholds are shared because evidence is computed in single precision always."""
    full, half = said("cuda", "fp32"), said("cuda", "bf16")
    for name, kinds in full.evidence.items():
        for kind, values in kinds.items():
            torch.testing.assert_close(half.evidence[name][kind], values, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("method", ["evidence", "mmssl", "mmae"])
def test_every_method_is_trained_on_cuda(method: str, tmp_path: Path) -> None:
    model = model_config().model_copy(update={"method": method})
    windows = station(10, 48, seed=1)
    fusion, card = train(model, TRAINING, windows, corrupt, directory=tmp_path, device="cuda")
    assert fusion.device.type == "cuda"
    assert all(np.isfinite(figure) for figure in card.training.figures.values())
