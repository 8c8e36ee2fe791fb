"""The figures to be seen first."""

from typing import Any

from simulators.report.blocks import Bar, Block, Section, Tile, Tiles, bars
from simulators.report.systems import Report, judged_system, protocols, systems, tone
from simulators.report.wording import (
    bounds,
    brief,
    count,
    dig,
    known,
    labelled,
    percent,
    share,
    span,
)


def in_short(report: Report) -> Section:
    """The figures to be seen first, and the systems beside each other."""
    own = judged_system(report)
    tiles = [*_f1_tiles(report), *_alarm_tiles(dig(own, "events")), *_raised_tiles(own)]
    blocks: list[Block] = [Tiles(tiles=tuple(tiles))] if tiles else []
    for protocol in protocols(report):
        rows = [
            _f1_bar(name, dig(one, "protocols", protocol), at)
            for at, (name, one) in enumerate(systems(report).items())
        ]
        blocks += bars(f"macro F1, protocol {protocol}", [row for row in rows if row])
    return Section(
        title="In short",
        reading=(
            "Macro F1 is 1 for a detector that names every window rightly, with clean windows and "
            "the faults of each sensor weighed alike; a thin line is its 95 % interval over "
            "trajectories. Protocol A draws severities over the published ranges, B evenly from "
            "0.02 to 1."
        ),
        blocks=tuple(blocks),
    )


def _f1_tiles(report: Report) -> list[Tile]:
    own = judged_system(report).get("protocols") or {}
    return [
        Tile(
            label=f"macro F1, protocol {protocol}",
            value=share(figures.get("macro_f1")),
            note=labelled("95 %: ", span(figures.get("macro_f1_interval"))),
        )
        for protocol, figures in own.items()
        if known(figures.get("macro_f1")) is not None
    ]


def _alarm_tiles(events: Any) -> list[Tile]:
    tiles = []
    if known(dig(events, "of")):
        delay = labelled("half of them within ", brief(events.get("delay_p50_s"), 2), " s")
        found = f"{count(events.get('found'))} of {count(events['of'])}"
        tiles.append(Tile(label="faults that raised an alarm", value=found, note=delay))
    if known(dig(events, "clean_hours")):
        upper = brief(events.get("false_alarms_per_hour_upper"), 2)
        tiles.append(
            Tile(
                label=f"false alarms in {brief(events['clean_hours'], 2)} clean hours",
                value=count(events.get("false_alarms")),
                note=labelled("95 %: at most ", upper, " an hour"),
            )
        )
    return tiles


def _raised_tiles(own: dict[str, Any]) -> list[Tile]:
    return [
        Tile(
            label="clean windows raised",
            value=percent(dig(found, "share")),
            note=f"where {percent(float(rate))} was asked for",
        )
        for rate, found in list((own.get("clean_false_alarms") or {}).items())[:1]
        if known(dig(found, "share")) is not None
    ]


def _f1_bar(name: str, figures: Any, at: int) -> Bar | None:
    length = known(dig(figures, "macro_f1"))
    if length is None:
        return None
    low, high = bounds(figures.get("macro_f1_interval"))
    note = span((low, high))
    return Bar(
        label=name, length=length, text=share(length), note=note, low=low, high=high, tone=tone(at)
    )
