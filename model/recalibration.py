"""Thresholds from clean hours, of training or of a plant's own, without any training."""

from collections.abc import Collection, Mapping

from model.calibrating import calibrate
from model.calibration import NO_NAMES, Calibration
from model.checkpoint import Card
from model.fusion import Fusion
from model.judging import crossed, session_dependent, weigh_windows
from model.stillness import find_conditions
from model.windows import Index, Windows


def calibrated(
    fusion: Fusion,
    windows: Windows,
    index: Index | None,
    rates: tuple[float, ...],
    left_out: Mapping[str, Collection[str]] = NO_NAMES,
) -> Calibration:
    """Return the calibration on clean windows in order, at ``index`` or all.

    ``left_out[modality]`` are evidences that shall not count. Raises ValueError where a modality
    is in none of the windows or none of its evidences is left.
    """
    chosen = slice(None) if index is None else index
    return calibrate(
        weigh_windows(fusion, windows, index),
        {name: flags[chosen] for name, flags in windows.present.items()},
        windows.episode[chosen],
        rates,
        session_dependent(fusion),
        crossed(fusion),
        left_out,
    )


def recalibrated(
    fusion: Fusion,
    card: Card,
    windows: Windows,
    data: tuple[str, ...],
    without: Collection[str] = (),
) -> Card:
    """Return ``card`` with thresholds and conditions from a plant's clean ``windows``.

    ``data`` names the recordings; evidences ``without``, such as "camera.tone", no longer count.
    Raises ValueError where the model detects nothing or has no such evidence.
    """
    if card.calibration is None:
        raise ValueError(f"{card.model.name} ({card.model.method}) has no thresholds to set")
    rates = sorted((float(rate) for rate in card.calibration.thresholds), reverse=True)
    left_out = _by_modality(fusion, without)
    return card.model_copy(
        update={
            "calibration": calibrated(fusion, windows, None, tuple(rates), left_out),
            "conditions": find_conditions(fusion.config, windows),
            "calibrated_on": data,
        }
    )


def _by_modality(fusion: Fusion, without: Collection[str]) -> dict[str, list[str]]:
    """Return the names after the dot by those before it."""
    names = {
        f"{modality}.{name}": (modality, name)
        for modality in fusion.config.names
        for module in fusion.evidence_modules(modality)
        for name in module.names
    }
    if unknown := [one for one in without if one not in names]:
        raise ValueError(f"no evidence {', '.join(unknown)}; there are {', '.join(names)}")
    left_out: dict[str, list[str]] = {}
    for modality, name in map(names.__getitem__, without):
        left_out.setdefault(modality, []).append(name)
    return left_out
