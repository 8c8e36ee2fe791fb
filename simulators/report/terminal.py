"""A system's main figures as tables for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from simulators.report.wording import brief

ERRORS = ("floor", "restored", "corrected", "uncorrected", "mean")


def tables(name: str, system: Mapping[str, Any]) -> Iterator[Table]:
    """Yield what was found, by protocol, then the alarms and the corrections."""
    for protocol, figures in system["protocols"].items():
        if "classes" in figures:
            yield _classes(f"{name}, protocol {protocol}", figures)
    if "events" in system:
        yield _alarms(name, system)
    yield _errors(name, system["protocols"])


def _classes(title: str, figures: Mapping[str, Any]) -> Table:
    low, high = figures["macro_f1_interval"]
    shown = Table(
        title=f"{title}: macro F1 {figures['macro_f1']:.4f} ({low:.3f}-{high:.3f}), "
        f"visible {figures['macro_f1_visible']:.4f}"
    )
    for column in ("class", "precision", "recall", "F1", "1e-2", "measured", "1e-3", "measured"):
        shown.add_column(column)
    for name, found in figures["classes"].items():
        cells = [name, *(f"{found[key]:.3f}" for key in ("precision", "recall", "f1"))]
        for points in figures["recall_at_far"].values():
            point = points.get(name)
            cells += [f"{point['recall']:.3f}", f"{point['measured_far']:.4f}"] if point else []
        shown.add_row(*cells)
    return shown


def _alarms(name: str, system: Mapping[str, Any]) -> Table:
    shown = Table(title=f"{name}: alarms")
    for column in ("protocol", "found", "strong ones", "p50 s", "p95 s", "false", "clean h"):
        shown.add_column(column)
    rows = {**system["events_by_protocol"], "B and clean": system["events"]}
    for protocol, events in rows.items():
        shown.add_row(
            protocol,
            f"{events['found']} of {events['of']}",
            f"{events['found_strong']} of {events['of_strong']}",
            brief(events["delay_p50_s"], 2),
            brief(events["delay_p95_s"], 2),
            str(events["false_alarms"]),
            brief(events["clean_hours"], 2),
        )
    return shown


def _errors(name: str, protocols: Mapping[str, Any]) -> Table:
    """What faulty windows decode to, before and after correction, beside the decoder's own."""
    shown = Table(title=f"{name}: mean square error of the faulty modality")
    for column in ("protocol", "modality", *ERRORS):
        shown.add_column(column)
    for protocol, figures in protocols.items():
        for modality, error in figures["error"].items():
            shown.add_row(protocol, modality, *(brief(error.get(key), 4) for key in ERRORS))
    return shown
