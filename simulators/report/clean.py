"""The section on recordings that nothing was injected into: false alarms alone."""

from typing import Any

from simulators.report.blocks import Section, table
from simulators.report.systems import Report, systems
from simulators.report.wording import brief, count, dig, percent, percent_span

ANY = "any"


def clean_recordings(report: Report) -> Section:
    """Shares of windows and alarms, recording by recording."""
    found = {name: one.get("clean") or {} for name, one in systems(report).items()}
    rates = list(
        dict.fromkeys(
            rate for one in found.values() for each in one.values() for rate in each["raised"]
        )
    )
    rows = [
        (name, recording, modality, *_cells(figures, modality, rates))
        for name, one in found.items()
        for recording, figures in one.items()
        for modality in _modalities(figures)
    ]
    measured = (cell for rate in rates for cell in (f"at {percent(float(rate))}", "95 %"))
    alarms = ("false alarms", "an hour", "at most")
    header = ("system", "recording", "modality", "hours", "trajectories", *measured, *alarms)
    return Section(
        title="Clean recordings",
        reading=(
            "Nothing was injected here, so everything raised is wrong: the share of windows above "
            "each threshold frozen before, by modality and in any, and the alarms that a plant "
            "would have heard, with the highest hourly rate that their count does not contradict "
            "(Poisson, 95 %)."
        ),
        blocks=tuple(table("windows raised and false alarms", header, rows, labels=3)),
    )


def _modalities(figures: Any) -> list[str]:
    """What is raised of any modality first, for the alarms stand beside it."""
    names = dict.fromkeys(name for shares in figures["raised"].values() for name in shares)
    return [ANY, *(name for name in names if name != ANY)]


def _cells(figures: Any, modality: str, rates: list[str]) -> list[str]:
    shares = [dig(figures, "raised", rate, modality) for rate in rates]
    raised = [
        cell
        for one in shares
        for cell in (percent(dig(one, "share")), percent_span(dig(one, "interval")))
    ]
    if modality != ANY:
        return ["", "", *raised, "", "", ""]
    return [
        brief(figures.get("hours"), 2),
        count(figures.get("episodes")),
        *raised,
        count(figures.get("false_alarms")),
        brief(figures.get("false_alarms_per_hour"), 2),
        brief(figures.get("false_alarms_per_hour_upper"), 2),
    ]
