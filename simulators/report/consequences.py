"""Sections on what follows from detection: alarms, corrections, and what both cost."""

from collections.abc import Sequence
from typing import Any

from simulators.report.blocks import Bar, Block, Facts, Section, bars, table
from simulators.report.systems import Report, protocols, systems, tone
from simulators.report.wording import brief, count, dig, joined, known, labelled

MEAN = "constant mean"


def alarms(report: Report) -> Section:
    """Events as an operator would have seen them."""
    events = [one.get("events") for one in systems(report).values()]
    rows = [
        ("faults found", *(_of(one, "found", "of") for one in events)),
        ("strong faults found", *(_of(one, "found_strong", "of_strong") for one in events)),
        ("median delay of those found, s", *_each(events, "delay_p50_s")),
        ("95 % of those found within, s", *_each(events, "delay_p95_s")),
        ("false alarms", *(count(dig(one, "false_alarms")) for one in events)),
        ("clean hours", *_each(events, "clean_hours")),
        ("false alarms an hour", *_each(events, "false_alarms_per_hour")),
        ("false alarms an hour, at most", *_each(events, "false_alarms_per_hour_upper")),
        ("alarms on a wrong modality", *(count(dig(one, "wrong_modality")) for one in events)),
    ]
    return Section(
        title="Alarms",
        reading=(
            "An alarm needs its score to hold for the on-delay, as in a plant; strong faults have "
            "an effect of at least 8 noise standard deviations, and the highest rate of false "
            "alarms is the one that their count does not contradict (Poisson, 95 %)."
        ),
        blocks=tuple(table("", ("", *systems(report)), rows)),
    )


def _of(events: Any, found: str, all_of: str) -> str:
    return joined(count(dig(events, found)), count(dig(events, all_of)), by=" of ")


def _each(events: Sequence[Any], key: str) -> list[str]:
    return [brief(dig(one, key), 2) for one in events]


def corrections(report: Report) -> Section:
    """Error of the faulty modality, between the floor and the constant mean."""
    blocks: list[Block] = []
    for protocol in protocols(report):
        errors = {
            name: dig(one, "protocols", protocol, "error") or {}
            for name, one in systems(report).items()
        }
        for modality in dict.fromkeys(key for one in errors.values() for key in one):
            rows = _error_rows({name: one.get(modality) for name, one in errors.items()})
            blocks += bars(f"{modality}, protocol {protocol}", _on_one_scale(rows))
    return Section(
        title="Correction",
        reading=(
            "Mean square error of what the faulty sensor's latent decodes to, shorter is better: "
            "the floor is what the true input itself decodes to, uncorrected is what comes of "
            "doing nothing, and the constant mean knows nothing of the moment."
        ),
        blocks=tuple(blocks),
    )


def _error_rows(errors: dict[str, Any]) -> list[tuple[str, float, int | None]]:
    """Label, error and the system's place: bounds are the first system's, and have no place."""
    first = next(iter(errors.values()))
    rows = [
        ("floor (oracle)", known(dig(first, "floor")), None),
        *(
            (f"corrected, {name}", known(dig(one, "corrected")), at)
            for at, (name, one) in enumerate(errors.items())
        ),
        ("uncorrected", known(dig(first, "uncorrected")), None),
        (MEAN, known(dig(first, "mean")), None),
    ]
    return [(label, error, at) for label, error, at in rows if error is not None]


def _on_one_scale(rows: list[tuple[str, float, int | None]]) -> list[Bar]:
    """The constant mean may run off the scale, lest the others vanish beside it."""
    longest = max((error for label, error, _ in rows if label != MEAN), default=0.0)
    scale = longest or max((error for _, error, _ in rows), default=0.0) or 1.0
    return [
        Bar(
            label=label,
            length=error / scale,
            text=brief(error),
            note="beyond the scale" if error > scale else "",
            tone=None if at is None else tone(at),
        )
        for label, error, at in rows
    ]


def costs(report: Report) -> Section:
    """Milliseconds of each part."""
    costs_ms = {name: one.get("cost_ms") or {} for name, one in systems(report).items()}
    parts = dict.fromkeys(part for one in costs_ms.values() for part in one)
    rows = [(part, *(brief(one.get(part)) for one in costs_ms.values())) for part in parts]
    machine = labelled(", on ", str(report.get("machine") or ""))
    return Section(
        title="Cost",
        reading=f"Milliseconds that each part takes for one window{machine}.",
        blocks=tuple(table("", ("part", *(f"{name}, ms" for name in costs_ms)), rows)),
    )


def making(report: Report) -> Section:
    """Everything needed to make these figures again."""
    model, windows = report.get("model") or {}, report.get("counts") or {}
    counted = (
        labelled("", count(windows.get(key)), f" {key.replace('_', ' ')}")
        for key in ("clean", "faulty", "left_out")
    )
    facts = (
        ("model", str(model.get("name") or "")),
        ("hash", str(model.get("hash") or "")),
        ("data", joined(*report.get("data") or ())),
        ("trajectories", count(report.get("episodes"))),
        ("windows", joined(*counted)),
        ("seed", "" if report.get("seed") is None else str(report["seed"])),
        ("machine", str(report.get("machine") or "")),
    )
    told = tuple((name, value) for name, value in facts if value)
    command = str(report.get("command") or "")
    return Section(
        title="How this was made",
        reading="The same command on the same data with the same seed gives the same figures.",
        blocks=(Facts(facts=told, command=command),) if told or command else (),
    )
