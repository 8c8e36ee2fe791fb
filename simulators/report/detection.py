"""Sections on detection: what is taken for what, and how often wrongly."""

from collections.abc import Mapping
from typing import Any

from simulators.report.blocks import Block, Matrix, Section, table
from simulators.report.systems import Report, judged_by, protocols, systems
from simulators.report.wording import dig, percent, percent_span, share, span


def parts_of_the_test(report: Report) -> Section:
    """Macro F1 of everything, and of parts."""
    blocks: list[Block] = []
    for protocol in protocols(report):
        rows = [
            (
                name,
                share(figures.get("macro_f1")),
                share(figures.get("macro_f1_visible")),
                share(figures.get("macro_f1_held_out")),
                share(dig(figures, "over_5_windows", "macro_f1")),
                span(dig(figures, "over_5_windows", "interval")),
                share(dig(figures, "over_5_windows", "visible")),
            )
            for name, figures in judged_by(report, protocol)
        ]
        over_5 = ("over 5 windows", "95 %", "visible over 5")
        header = ("system", "all faults", "visible", "held out", *over_5)
        blocks += table(f"macro F1, protocol {protocol}", header, rows)
    blocks += _reach(report)
    held_out = report.get("held_out") or ()
    named = f" ({', '.join(held_out)})" if held_out else ""
    return Section(
        title="Parts of the test",
        reading=(
            "Visible faults changed the signal by at least one standard deviation of its noise, "
            f"those held out{named} were kept from whatever learns from faults, and over five "
            "windows means one verdict on the mean score of five in a row, all clean or all of one "
            "fault, at a threshold that 1 % of such clean fives of other trajectories exceed. What "
            "a test can tell is bounded by its faults that drown in the noise, as the last table "
            "has it."
        ),
        blocks=tuple(blocks),
    )


def _reach(report: Report) -> list[Block]:
    """The same of all systems, for it is the windows' own."""
    found = {
        protocol: next((one for _, one in judged_by(report, protocol)), {})
        for protocol in protocols(report)
    }
    found = {key: one.get("macro_f1_from_effects") or {} for key, one in found.items()}
    effects = list(dict.fromkeys(effect for one in found.values() for effect in one))
    rows = [
        (f"protocol {protocol}", *(share(one.get(effect)) for effect in effects))
        for protocol, one in found.items()
    ]
    header = ("every fault from", *(f"{effect} noise sd on" for effect in effects))
    return table("macro F1 of whoever finds them all, and raises nothing else", header, rows)


def confusions(report: Report) -> Section:
    """One small matrix for each system and protocol."""
    blocks: list[Block] = []
    for protocol in protocols(report):
        blocks += [
            _matrix(f"{name}, protocol {protocol}", figures)
            for name, figures in judged_by(report, protocol)
            if figures.get("confusion")
        ]
    return Section(
        title="What is taken for what",
        reading=(
            "Each row is what truly was and adds up to 1; the column is what the system said, so "
            "that everything off the diagonal is a mistake."
        ),
        blocks=tuple(blocks),
    )


def _matrix(caption: str, figures: Mapping[str, Any]) -> Matrix:
    shares = figures["confusion"]
    names = ("clean", *sorted({*(figures.get("classes") or {})} - {"clean"}))
    if len(names) != len(shares):
        names = ("clean", *(f"modality {at}" for at in range(1, len(shares))))
    return Matrix(caption=caption, names=names, shares=tuple(tuple(row) for row in shares))


def by_class(report: Report) -> Section:
    """Precision, recall and F1, protocols beside each other."""
    blocks: list[Block] = []
    for protocol in protocols(report):
        rows = [
            (name, label, *(share(dig(one, key)) for key in ("precision", "recall", "f1")))
            for name, figures in judged_by(report, protocol)
            for label, one in (figures.get("classes") or {}).items()
        ]
        header = ("system", "class", "precision", "recall", "F1")
        blocks += table(f"protocol {protocol}", header, rows, labels=2)
    return Section(
        title="By class",
        reading=(
            "Precision is how often the system is right when it names a class, recall how many "
            "windows of that class it names; F1 is high only where both are."
        ),
        blocks=tuple(blocks),
    )


def recall_tables(report: Report) -> Section:
    """Recall at given rates, ranking, and false alarms at frozen thresholds."""
    blocks: list[Block] = []
    for part in (_recall_at_far, _aurocs):
        for protocol in protocols(report):
            blocks += part(report, protocol)
    blocks += _clean_false_alarms(report)
    return Section(
        title="Recall at a false alarm rate",
        reading=(
            "A threshold trades missed faults for false alarms, so each recall stands beside the "
            "share of clean windows measured above the same threshold; AUROC is the chance that a "
            "faulty window scores above a clean one, whatever the threshold."
        ),
        blocks=tuple(blocks),
    )


def _recall_at_far(report: Report, protocol: str) -> list[Block]:
    found = judged_by(report, protocol)
    rates = dict.fromkeys(rate for _, one in found for rate in one.get("recall_at_far") or {})
    blocks: list[Block] = []
    for rate in rates:
        rows = [
            (
                name,
                modality,
                share(dig(point, "recall")),
                span(dig(point, "interval")),
                percent(dig(point, "measured_far")),
            )
            for name, figures in found
            for modality, point in (dig(figures, "recall_at_far", rate) or {}).items()
        ]
        header = ("system", "modality", "recall", "95 %", "measured")
        blocks += table(f"recall at {rate}, protocol {protocol}", header, rows, labels=2)
    return blocks


def _clean_false_alarms(report: Report) -> list[Block]:
    rows = [
        (
            name,
            percent(float(rate)),
            percent(dig(found, "share")),
            percent_span(dig(found, "interval")),
        )
        for name, one in systems(report).items()
        for rate, found in (one.get("clean_false_alarms") or {}).items()
    ]
    header = ("system", "asked for, each", "measured, any", "95 %")
    return table("clean windows raised, thresholds frozen before", header, rows, labels=2)


def _aurocs(report: Report, protocol: str) -> list[Block]:
    found = judged_by(report, protocol)
    names = list(dict.fromkeys(name for _, one in found for name in one.get("auroc") or {}))
    rows = [
        (system, *(share(dig(figures, "auroc", name)) for name in names))
        for system, figures in found
    ]
    return table(f"AUROC, protocol {protocol}", ("system", *names), rows)
