"""A system's main figures as tables for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from simulators.report.wording import (
    brief,
    dig,
    joined,
    labelled,
    percent,
    percent_span,
    share,
    span,
)

ERRORS = ("floor", "restored", "corrected", "uncorrected", "mean")


def tables(name: str, system: Mapping[str, Any]) -> Iterator[Table]:
    """Yield what was found, by protocol, then alarms, clean recordings and corrections."""
    for protocol, figures in system["protocols"].items():
        if "classes" in figures:
            yield _classes(f"{name}, protocol {protocol}", figures)
    if "events" in system:
        yield _alarms(name, system)
    if "clean" in system:
        yield _clean(name, system["clean"])
    yield _errors(name, system["protocols"])


def _classes(title: str, figures: Mapping[str, Any]) -> Table:
    low, high = figures["macro_f1_interval"]
    shown = Table(
        title=f"{title}: macro F1 {figures['macro_f1']:.4f} ({low:.3f}-{high:.3f}), "
        f"visible {figures['macro_f1_visible']:.4f}{_over_5(figures)}"
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


def _over_5(figures: Mapping[str, Any]) -> str:
    found = figures.get("over_5_windows")
    interval = labelled(" (", span(dig(found, "interval")), ")")
    whole = labelled("over 5 windows ", share(dig(found, "macro_f1")), interval)
    visible = labelled("visible ", share(dig(found, "visible")))
    return labelled("\n", joined(whole, visible))


def _clean(name: str, recordings: Mapping[str, Any]) -> Table:
    """Windows raised at each threshold, in any modality and by modality, and alarms."""
    shown = Table(title=f"{name}: recordings that nothing was injected into")
    rates = list(next(iter(recordings.values()))["raised"])
    raised = (f"raised at {percent(float(rate))}" for rate in rates)
    for column in ("recording", "hours", "windows", *raised, "false", "an hour", "at most"):
        shown.add_column(column)
    for recording, figures in recordings.items():
        shown.add_row(
            escape(recording),
            brief(figures["hours"], 2),
            str(figures["windows"]),
            *(_raised(figures["raised"][rate]) for rate in rates),
            str(figures["false_alarms"]),
            brief(figures["false_alarms_per_hour"], 2),
            brief(figures["false_alarms_per_hour_upper"], 2),
        )
    return shown


def _raised(shares: Mapping[str, Any]) -> str:
    return "\n".join(
        joined(
            f"{name} {percent(one['share'])}",
            labelled("(", percent_span(one["interval"]), ")"),
            by=" ",
        )
        for name, one in shares.items()
    )


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
