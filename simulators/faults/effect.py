"""How much an injected fault changed, in units of the sensor's own noise, and how much moves.

Severity misleads, for a stuck joint at rest leaves no trace: recall is reported by effect too. What
happens to messages on their way is measured in periods of their modality.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from simulators.faults.parts import Signal
from simulators.faults.registry import Outgoing
from stream.messages import Floats, Pixels, Reading, Samples

IMAGE_NOISE_LEVELS = 2.0
SPREAD_SHARE = 0.01
BLOCK_PX = 16


def signal_noise(signal: Signal) -> Floats:
    """The unit of each channel's effect, shape (channels,).

    The sensor's noise where it is known, else a hundredth of the channel's spread, else 1 for a
    channel that never moves.
    """
    assumed = SPREAD_SHARE * signal.spread
    unit = np.where(signal.noise_sd > 0, signal.noise_sd, assumed)
    return np.where(unit > 0, unit, 1.0)


def vector_effect(before: Floats, after: Floats, noise: Floats) -> float:
    """Largest change of any sample and channel (n, channels), in sensor noises.

    Samples that are not finite count for nothing.
    """
    change = np.abs(after - before) / noise
    return float(np.max(change, initial=0.0, where=np.isfinite(change)))


def image_effect(before: Pixels, after: Pixels, noise_sd: tuple[float, ...] = ()) -> float:
    """RMS change of the worst block of 16x16 pixels, in sensor noises.

    The noise is the mean of ``noise_sd`` in grey levels, 2 where it is unknown. Rows and columns
    that fill no block belong to the last one.
    """
    change = after.astype(np.float32) - before
    squared = np.einsum("hwc,hwc->hw", change, change) / change.shape[2]
    rows, columns = (_block_starts(extent) for extent in squared.shape)
    energy = np.add.reduceat(np.add.reduceat(squared, rows, axis=0), columns, axis=1)
    height, width = squared.shape
    area = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))
    noise = float(np.mean(noise_sd)) if noise_sd else 0.0
    return float(np.sqrt((energy / area).max())) / (noise or IMAGE_NOISE_LEVELS)


def _block_starts(extent_px: int) -> np.ndarray:
    return np.arange(0, max(extent_px - BLOCK_PX + 1, 1), BLOCK_PX)


def stream_effect(before: Outgoing, after: Sequence[Outgoing], rate_hz: float) -> float:
    """How far a message or its stamp was moved, in periods of its modality; (1 / rate_hz) s each.

    A message lost, sent again or made unreadable is one period at least.
    """
    moved_ns = [
        max(one.due_ns - before.due_ns, abs(one.reading.time_ns - before.reading.time_ns))
        for one in after
    ]
    broken = [one for one in after if one.payload != before.payload]
    whole = 1.0 if len(after) != 1 or broken else 0.0
    return max(whole, max(moved_ns, default=0) * rate_hz / 1e9)


def measure_spread(readings: Iterable[Reading]) -> dict[str, Floats]:
    """Standard deviation of each channel, by vector modality, over readings in one pass.

    Values that are not finite are left out, and so are samples whose number of channels is not
    the first one's.
    """
    sums: dict[str, Floats] = {}
    for reading in readings:
        if isinstance(reading, Samples):
            known = sums.get(reading.modality)
            if known is None:
                # Deviations from a first value keep the squares small where the mean is large.
                first = np.nan_to_num(reading.values[0], posinf=0.0, neginf=0.0)
                known = np.stack([first, *np.zeros((3, len(first)))])
                sums[reading.modality] = known
            if reading.values.shape[1] == known.shape[1]:
                finite = np.isfinite(reading.values)
                away = np.where(finite, reading.values - known[0], 0.0)
                known[1:] += [finite.sum(0), away.sum(0), (away**2).sum(0)]
    return {name: _deviation(*known[1:]) for name, known in sums.items()}


def _deviation(count: Floats, total: Floats, squares: Floats) -> Floats:
    many = np.maximum(count, 1)
    return np.asarray(np.sqrt(np.maximum(squares / many - (total / many) ** 2, 0)), np.float64)
