"""From what systems said of a test set to the figures of a report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model.alarm_figures import alarm_figures
from model.correction_errors import mean_errors
from model.costs import cost_ms
from model.detection import (
    aurocs,
    clean_false_alarms,
    clean_shares,
    judged_macro_f1,
    macro_f1_from_effects,
    recall_at_rate,
    recall_at_threshold,
)
from model.evaluation import class_figures, classify, confusion
from model.judged import Judged
from model.over_windows import over_windows
from model.recall import (
    recall_by_effect,
    recall_by_fault,
    recall_by_modality,
    recall_by_origin,
    recall_by_severity,
)
from simulators.evaluating import PROTOCOLS, Evaluated
from simulators.faults.registry import catalogue
from simulators.judging import Gathered, System
from simulators.report.page import render
from simulators.report.pictures import pictures_of
from stream.messages import Kind

RATES = {"1e-2": "0.01", "1e-3": "0.001"}
FALSE_ALARMS = ("false_alarms", "false_alarms_per_hour", "false_alarms_per_hour_upper")
ROOT_FIGURES = ("classes", "macro_f1", "macro_f1_interval", "recall_at_far", "error")


def report_of(evaluated: Evaluated, data: Sequence[str], seed: int, command: str) -> dict[str, Any]:
    """Return all figures as one object for JSON.

    Those of protocol A of the first system are also at its root.
    """
    first = evaluated.systems[0]
    systems = {
        system.name: system_figures(system, evaluated.gathered[system.name], origins(evaluated))
        for system in evaluated.systems
    }
    for system in evaluated.systems:
        further = evaluated.clean[system.name]
        if further and system.engine is not None:
            systems[system.name]["clean"] = {
                name: clean_figures(one, thresholds_of(system)) for name, one in further.items()
            }
    own = systems[first.name]
    clean = evaluated.gathered[first.name]["clean"]
    some = evaluated.gathered[first.name][PROTOCOLS[0]]
    return {
        "title": f"{first.loaded.card.model.name} on recordings that it never saw",
        "command": command,
        "model": {"name": first.loaded.card.model.name, "hash": first.loaded.hash},
        "data": [Path(one).name for one in data],
        "seed": seed,
        "episodes": len(evaluated.dataset.episodes),
        "windows": sum(len(one) for one in clean.truth),
        "counts": {
            "clean": sum(len(one) for one in clean.truth),
            "faulty": int(sum((one >= 0).sum() for one in some.truth)),
            "left_out": some.left_out,
        },
        "clean_false_alarms": own.get("clean_false_alarms", {}).get("0.01", {}).get("share"),
        **{key: own["protocols"]["A"][key] for key in ROOT_FIGURES if key in own["protocols"]["A"]},
        "systems": systems,
        "protocols": own["protocols"],
    }


def with_costs(report: Mapping[str, Any], evaluated: Evaluated) -> dict[str, Any]:
    """Return the report with what a window costs each system here and now, part by part."""
    systems = {
        system.name: {
            **report["systems"][system.name],
            "cost_ms": cost_ms(system.loaded.fusion, evaluated.one_window()),
        }
        for system in evaluated.systems
    }
    return {**report, "systems": systems}


def origins(evaluated: Evaluated) -> dict[str, str]:
    """Where each fault of the catalogue arises, by modality and name."""
    modalities = evaluated.dataset.settings.modalities
    return {
        f"{modality}.{name}": str(fault.origin)
        for modality, settings in modalities.items()
        for (kind, name), fault in catalogue().items()
        if kind == Kind(settings.kind)
    }


def system_figures(
    system: System, gathered: Mapping[str, Gathered], origin_of: Mapping[str, str]
) -> dict[str, Any]:
    """Return one system's figures; those of detection only where it detects."""
    names = system.loaded.card.model.names
    protocols: dict[str, Any] = {
        protocol: {"error": mean_errors(gathered[protocol].errors, names)} for protocol in PROTOCOLS
    }
    if system.engine is None:
        return {"protocols": protocols}
    clean = gathered["clean"].judged()
    thresholds = thresholds_of(system)
    for protocol in PROTOCOLS:
        judged = gathered[protocol].judged()
        protocols[protocol] |= detection_figures(judged, clean, thresholds, origin_of)
        places = gathered[protocol].places(), gathered["clean"].places()
        protocols[protocol]["over_5_windows"] = over_windows(judged, places[0], clean, places[1])
    everything = [gathered[key] for key in ("clean", *PROTOCOLS)]
    return {
        "clean_false_alarms": {
            rate: clean_false_alarms(clean, dict.fromkeys(names, limit))
            for rate, limit in thresholds.items()
        },
        "protocols": protocols,
        "events": _alarms(gathered["clean"], gathered["B"]),
        "events_by_protocol": {key: _alarms(gathered[key]) for key in PROTOCOLS},
        "left_out": sum(one.left_out for one in everything),
    }


def clean_figures(gathered: Gathered, thresholds: Mapping[str, float]) -> dict[str, Any]:
    """Return what one recording without faults raised: shares of windows, and alarms."""
    judged, alarms = gathered.judged(), _alarms(gathered)
    return {
        "windows": len(judged),
        "episodes": len(np.unique(judged.episode)),
        "hours": alarms["clean_hours"],
        "raised": {rate: clean_shares(judged, limit) for rate, limit in thresholds.items()},
        **{key: alarms[key] for key in FALSE_ALARMS},
    }


def thresholds_of(system: System) -> dict[str, float]:
    """The frozen threshold on the score for each false alarm rate."""
    calibration = system.loaded.card.calibration
    assert calibration is not None
    precision = system.loaded.fusion.precision
    return {rate: limits[precision] for rate, limits in calibration.thresholds.items()}


def detection_figures(
    judged: Judged, clean: Judged, thresholds: Mapping[str, float], origin_of: Mapping[str, str]
) -> dict[str, Any]:
    """Return the figures of one protocol.

    ``clean`` are whole episodes without a fault, on which false alarms are measured.
    """
    predicted = classify(judged.scores)
    whole, visible = judged_macro_f1(judged), judged_macro_f1(judged.visible())
    return {
        "classes": class_figures(judged.truth, predicted, judged.names),
        "confusion": confusion(judged.truth, predicted, len(judged.names)).tolist(),
        "macro_f1": whole["macro_f1"],
        "macro_f1_interval": whole["interval"],
        "macro_f1_visible": visible["macro_f1"],
        "macro_f1_from_effects": macro_f1_from_effects(judged),
        "faulty_windows": whole["faulty_windows"],
        "auroc": aurocs(judged),
        "recall_at_far": {
            label: {
                name: recall_at_threshold(_beside(judged, clean), name, thresholds[rate])
                for name in judged.names
            }
            for label, rate in RATES.items()
            if rate in thresholds
        },
        "recall_at_measured_far": {
            label: {
                name: recall_at_rate(_beside(judged, clean), name, float(rate))
                for name in judged.names
            }
            for label, rate in RATES.items()
        },
        "recall_by": {
            "modality": recall_by_modality(judged),
            "fault": recall_by_fault(judged, origin_of),
            "origin": recall_by_origin(judged, origin_of),
            "severity": recall_by_severity(judged),
            "effect": recall_by_effect(judged),
        },
    }


def _beside(judged: Judged, clean: Judged) -> Judged:
    """The faulty windows, beside whole episodes that nothing was done to."""
    faulty = np.flatnonzero(~judged.clean)
    return Judged(
        scores={
            name: np.concatenate([clean.scores[name], values[faulty]])
            for name, values in judged.scores.items()
        },
        truth=np.concatenate([clean.truth, judged.truth[faulty]]),
        episode=np.concatenate([clean.episode, judged.episode[faulty]]),
        fault=(*clean.fault, *(judged.fault[at] for at in faulty)),
        severity=np.concatenate([clean.severity, judged.severity[faulty]]),
        effect=np.concatenate([clean.effect, judged.effect[faulty]]),
    )


def _alarms(*parts: Gathered) -> dict[str, Any]:
    """The figures of alarms over several runs, each of which has episodes of its own."""
    injected, raised, observed = [], [], []
    for run, part in enumerate(parts):
        offset = 1_000_000 * run  # the same episode number in another run is another episode
        injected += [_moved(one, offset) for one in part.injected]
        raised += [_moved(one, offset) for one in part.raised]
        observed += [_moved(one, offset) for one in part.observed]
    return dict(alarm_figures(injected, raised, observed))


def _moved(one: Any, offset: int) -> Any:
    return replace(one, episode=one.episode + offset)


def write_page(report: Mapping[str, Any], evaluated: Evaluated, path: Path) -> None:
    """Write the report as one page, with pictures of the first episode."""
    fusion = evaluated.systems[0].loaded.fusion
    pictures = [one for sample in evaluated.samples.values() for one in pictures_of(fusion, sample)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(_without_nan(report), pictures))


def write_report(report: Mapping[str, Any], path: Path) -> None:
    """Write it as JSON; what could not be measured is null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_without_nan(report), indent=2, allow_nan=False) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
