"""Thresholds from clean hours, of training or of a plant's own, without any training."""

from model.calibration import Calibration, calibrate
from model.checkpoint import Card
from model.fusion import Fusion
from model.judging import crossed, session_dependent, weigh_windows
from model.stillness import find_conditions
from model.windows import Index, Windows


def calibrated(
    fusion: Fusion, windows: Windows, index: Index | None, rates: tuple[float, ...]
) -> Calibration:
    """Return the calibration on clean windows in order, at ``index`` or all.

    Raises ValueError where a modality is in none of them.
    """
    chosen = slice(None) if index is None else index
    return calibrate(
        weigh_windows(fusion, windows, index),
        {name: flags[chosen] for name, flags in windows.present.items()},
        windows.episode[chosen],
        rates,
        session_dependent(fusion),
        crossed(fusion),
    )


def recalibrated(fusion: Fusion, card: Card, windows: Windows, data: tuple[str, ...]) -> Card:
    """Return ``card`` with thresholds and conditions from a plant's clean ``windows``.

    ``data`` names the recordings. Raises ValueError where the model detects nothing.
    """
    if card.calibration is None:
        raise ValueError(f"{card.model.name} ({card.model.method}) has no thresholds to set")
    rates = sorted((float(rate) for rate in card.calibration.thresholds), reverse=True)
    return card.model_copy(
        update={
            "calibration": calibrated(fusion, windows, None, tuple(rates)),
            "conditions": find_conditions(fusion.config, windows),
            "calibrated_on": data,
        }
    )
