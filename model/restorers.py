"""What a faulty modality would have said, from what it last said and what the others say.

Both know the last clean window and how long ago that was. A vector restorer may also keep what is
measured, channel by channel; a frame restorer paints the whole frame, and a mask keeps the rest.
"""

import torch
from torch import Tensor, nn

from model.scene import COMPONENTS

FRAME_WIDTH = 384
VECTOR_WIDTH = 512
VECTOR_WEIGHTS = 1_000_000  # at most, in the first and the last layer: many channels, less width
AGE_UNIT = 30.0  # windows; ages are given as logarithms about it


class FrameRestorer(nn.Module):
    """From the last clean frame, and what vectors foretold then and foretell now, to now's frame.

    All in coefficients of the scene's components (B, components), in units of their spread.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(3 * COMPONENTS + 2, FRAME_WIDTH),
            nn.GELU(),
            nn.Linear(FRAME_WIDTH, FRAME_WIDTH),
            nn.GELU(),
            nn.Linear(FRAME_WIDTH, COMPONENTS),
        )

    def forward(
        self, last: Tensor, expected_then: Tensor, expected: Tensor, age: Tensor, known: Tensor
    ) -> Tensor:
        """Return the coefficients; ``age`` (B,) in windows, ``known`` (B,) if there is a last."""
        return self.restored(self.given(last, expected_then, expected, age, known))

    @staticmethod
    def given(
        last: Tensor, expected_then: Tensor, expected: Tensor, age: Tensor, known: Tensor
    ) -> Tensor:
        """Return all that is given side by side (B, inputs)."""
        there = known[:, None].to(expected)
        given = [there * last, there * expected_then, expected, there, there * logarithm(age)]
        return torch.cat(given, dim=1)

    def restored(self, given: Tensor) -> Tensor:
        """Return the coefficients; the last ones, moved as the vectors foretell, are corrected."""
        last, expected_then, expected = given[:, : 3 * COMPONENTS].chunk(3, dim=1)
        restored: Tensor = last + expected - expected_then + self.layers(given)
        return restored


class VectorRestorer(nn.Module):
    """A prediction of the whole window, and for each channel a gate between it and the measured.

    Given are the window and the last clean one (B, T, C), standardised; which channels look hit
    (B, C), as logits; and ``beside`` (B, inputs), what other modalities say, zeros where they say
    nothing.
    """

    def __init__(self, samples: int, channels: int, beside: int) -> None:
        super().__init__()
        values = samples * channels
        inputs, outputs = 2 * values + channels + beside + 2, values + channels
        width = min(VECTOR_WIDTH, VECTOR_WEIGHTS // (inputs + outputs))
        self.shape = (samples, channels)
        self.layers = nn.Sequential(
            nn.Linear(inputs, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, outputs),
        )

    def forward(
        self, window: Tensor, last: Tensor, hit: Tensor, beside: Tensor, age: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the restored window (B, T, C) and the gates (B, C), 1 where the prediction is."""
        said = self.layers(self.given(window, last, hit, beside, age, known))
        samples, channels = self.shape
        predicted = said[:, : samples * channels].view(-1, samples, channels)
        gates = torch.sigmoid(said[:, samples * channels :])
        return predicted, gates

    @staticmethod
    def given(
        window: Tensor, last: Tensor, hit: Tensor, beside: Tensor, age: Tensor, known: Tensor
    ) -> Tensor:
        """Return all that is given side by side (B, inputs)."""
        there = known[:, None].to(window)
        given = [
            window.flatten(1).clamp(-10, 10),
            there * last.flatten(1),
            hit.clamp(-6, 6),
            beside,
            there,
            there * logarithm(age),
        ]
        return torch.cat(given, dim=1)


def gated(window: Tensor, predicted: Tensor, gates: Tensor) -> Tensor:
    """Return windows (B, T, C) that are predicted where a channel's gate (B, C) is open."""
    return torch.lerp(window, predicted, gates[:, None])


def logarithm(age: Tensor) -> Tensor:
    """Return ages (B,) in windows as (B, 1), about one at a few seconds."""
    return ((age + 1) / AGE_UNIT).log()[:, None] / 3
