"""How long healthy signals stand still, for the defaults of the observed conditions."""

import numpy as np
from numpy.typing import NDArray

from model.checkpoint import Conditions
from model.config import ModelConfig
from model.windows import Windows, chunks

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

MARGIN = 1.5
LEAST_FROZEN_MS = 500.0


def find_conditions(config: ModelConfig, windows: Windows) -> dict[str, Conditions]:
    """Return defaults for each modality from clean windows.

    Without ``config.window_hz`` no time is known, and ``frozen_after_ms`` stays None.
    """
    found = {
        name: _image_changes(windows, name) if name in windows.images else _motion(windows, name)
        for name in config.names
    }
    still = {name: flags for name, (flags, _) in found.items()}
    return {
        name: Conditions(
            frozen_after_ms=_frozen_after_ms(config, windows, still[name]),
            motion_threshold=_threshold(
                motion[windows.present[name]],
                _any([still[other] for other in still if other != name], len(windows))[
                    windows.present[name]
                ],
            ),
        )
        for name, (_, motion) in found.items()
    }


def _image_changes(windows: Windows, name: str) -> tuple[Flags, Floats]:
    """Return whether a frame equals the one before, and the mean change in grey levels; (N,)."""
    same = np.zeros(len(windows), dtype=np.bool_)
    change = np.zeros(len(windows))
    frames, previous = windows.images[name], windows.previous[name]
    for part in chunks(len(windows), 64):
        before = frames[np.maximum(previous[part], 0)].astype(np.int16)
        difference = np.abs(frames[part].astype(np.int16) - before)
        change[part] = difference.mean((1, 2, 3))
        same[part] = (change[part] == 0) & (previous[part] >= 0) & windows.present[name][part]
    return same, change


def _motion(windows: Windows, name: str) -> tuple[Flags, Floats]:
    """Return whether no channel moves (N,), and the largest range of any, standardised (N,)."""
    values = windows.vectors[name].astype(np.float64)
    spread = values.reshape(-1, values.shape[2]).std(0)
    ranges = np.ptp(values, axis=1) / np.where(spread > 0, spread, 1.0)
    return (ranges == 0).all(1) & windows.present[name], ranges.max(1)


def _frozen_after_ms(config: ModelConfig, windows: Windows, still: Flags) -> float | None:
    if config.window_hz is None:
        return None
    longest = longest_run(still, windows.episode)
    return max(LEAST_FROZEN_MS, MARGIN * (longest + 1) * 1000 / config.window_hz)


def longest_run(flags: Flags, episode: NDArray[np.int64]) -> int:
    """Return the most windows in a row, within one episode, that are flagged."""
    longest = run = 0
    for at, flag in enumerate(flags):
        same_episode = at > 0 and episode[at] == episode[at - 1]
        run = (run + 1 if same_episode else 1) if flag else 0
        longest = max(longest, run)
    return longest


def _threshold(motion: Floats, other_still: Flags) -> float | None:
    """Return what this modality moves by at most while another stands still for good reasons.

    Where none ever stands still, its median motion.
    """
    if not len(motion):
        return None
    if other_still.any():
        return MARGIN * float(motion[other_still].max())
    return float(np.median(motion))


def _any(flags: list[Flags], size: int) -> Flags:
    return np.logical_or.reduce(flags) if flags else np.zeros(size, dtype=np.bool_)
