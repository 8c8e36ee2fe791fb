"""Sections on what is missed: recall by fault, origin, severity and effect, as bars."""

from typing import Any

from simulators.report.blocks import Bar, Block, Mark, Section, bars
from simulators.report.systems import Report, judged_system, protocols, systems, tone
from simulators.report.wording import brief, count, dig, joined, known, labelled, share

GROUPS = (
    ("origin", "by origin"),
    ("severity", "by severity"),
    ("effect", "by effect, noise standard deviations"),
)


def by_fault(report: Report) -> Section:
    """Recall of each fault, the weakest first."""
    blocks: list[Block] = []
    for protocol in protocols(report):
        rows = _recall_bars(report, protocol, "fault")
        rows.sort(key=lambda row: (row.length, row.label))
        blocks += bars(f"protocol {protocol}", rows)
    return Section(
        title="Recall by fault",
        reading=(
            "The length of a bar is the share of windows in which the fault was laid to the right "
            "sensor, the weakest first; the effect is the median, in standard deviations of the "
            "sensor's noise."
        ),
        blocks=tuple(blocks),
        legend=_other_systems(report),
    )


def by_origin_severity_effect(report: Report) -> Section:
    """Recall by where faults arise and how strong they are."""
    blocks: list[Block] = []
    for group, caption in GROUPS:
        for protocol in protocols(report):
            rows = _recall_bars(report, protocol, group)
            blocks += bars(f"{caption}, protocol {protocol}", rows)
    return Section(
        title="Recall by origin, severity and effect",
        reading=(
            "Severity is how hard a fault was turned up, effect how much it changed what the "
            "sensor says; a severe fault without effect, such as a stuck joint at rest, cannot be "
            "found by anyone."
        ),
        blocks=tuple(blocks),
        legend=_other_systems(report),
    )


def _other_systems(report: Report) -> tuple[tuple[str, int], ...]:
    return tuple((name, tone(at)) for at, name in enumerate(systems(report)) if at)


def _recall_bars(report: Report, protocol: str, group: str) -> list[Bar]:
    path = ("protocols", protocol, "recall_by", group)
    found = []
    for label, row in (dig(judged_system(report), *path) or {}).items():
        recall = known(dig(row, "recall"))
        if recall is None:
            continue
        marks = _marks(report, *path, label, "recall")
        note = _note(row, group)
        found.append(Bar(label=label, length=recall, text=share(recall), note=note, marks=marks))
    return found


def _marks(report: Report, *path: str) -> tuple[Mark, ...]:
    """What the other systems reach at the same path."""
    reached = [
        (name, known(dig(one, *path)), tone(at))
        for at, (name, one) in enumerate(systems(report).items())
        if at
    ]
    return tuple(
        Mark(at=recall, tone=colour, title=f"{name} {share(recall)}")
        for name, recall, colour in reached
        if recall is not None
    )


def _note(row: dict[str, Any], group: str) -> str:
    """Effects say nothing new where they are what the bars are grouped by."""
    effect = "" if group == "effect" else brief(row.get("median_effect"))
    return joined(
        str(row.get("origin") or ""),
        labelled("effect ", effect),
        joined(
            labelled("", count(row.get("windows")), " windows"),
            labelled("of ", count(row.get("episodes")), " trajectories"),
            by=" ",
        ),
    )
