"""``make chaos``: workers beside real brokers, and everything happens to them.

Writes build/chaos.json. ``--only kafka/kills --seed 7`` plays one story, ``--only mqtt`` those of a
broker. What workers and brokers said lies below build/chaos.
"""

import argparse
import asyncio
import json
import logging
import shutil
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from tests.chaos.mes import Mes
from tests.chaos.mqtt import shipped_limits
from tests.chaos.run import STORIES, Outcome, played, wanted_of
from tests.simulation.told import WRONG

FOLDER = Path("build/chaos").resolve()
ALWAYS = ("kills", "zombies", "restarts", "windows", "events", *WRONG)


def main() -> int:
    """Play the stories; 1 where anything is lost, told twice or told in another order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", metavar="STORY", help=", ".join(STORIES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/chaos.json"))
    arguments = parser.parse_args()
    names = [name for name in STORIES if name.startswith(arguments.only)]
    if not names:
        parser.error(f"no such story: {arguments.only}")
    begun_s = time.monotonic()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    with Console(stderr=True).status("what has to be told"):
        wanted_of(arguments.seed)
    outcomes = asyncio.run(all_told(names, arguments.seed))
    report = {"seed": arguments.seed, **reported(outcomes)}
    report["seconds"] = round(time.monotonic() - begun_s)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    wrong = [line for name in names for line in complaints(name, outcomes[name])]
    print("\n".join(wrong))
    return int(bool(wrong))


async def all_told(names: list[str], seed: int) -> dict[str, Outcome]:
    """Play the stories of both brokers at the same time, each broker's one after another."""
    # what clients say of broken connections would tear the bars
    logging.basicConfig(filename=FOLDER / "clients.log", force=True)
    structlog.configure(logger_factory=structlog.stdlib.LoggerFactory())
    outcomes: dict[str, Outcome] = {}
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        async with asyncio.TaskGroup() as tasks:
            for broker in brokers(names):
                mine = [name for name in names if name.startswith(broker)]
                tasks.create_task(_one_by_one(mine, seed, progress, outcomes))
    return {name: outcomes[name] for name in names}


async def _one_by_one(
    names: list[str], seed: int, progress: Progress, outcomes: dict[str, Outcome]
) -> None:
    for name in names:
        task = progress.add_task(name, total=len(wanted_of(seed).windows))

        def show(what: str, mes: Mes, name: str = name, task: TaskID = task) -> None:
            progress.update(task, description=f"{name}: {what}", completed=len(mes.windows))

        one = outcomes[name] = await played(name, seed, FOLDER / name.replace("/", "-"), show)
        progress.remove_task(task)
        print(f"{name} (seed {seed}): {in_words(one)}", flush=True)


def brokers(names: Iterable[str]) -> list[str]:
    """Whose stories these are."""
    return list(dict.fromkeys(name.partition("/")[0] for name in names))


def in_words(one: Outcome) -> str:
    """A story's figures in a line."""
    figures = {**one.counts, **one.verdict.figures}
    told = ", ".join(f"{kind} {many}" for kind, many in figures.items() if many or kind in WRONG)
    if one.recoveries_s:
        told += f", {statistics.median(one.recoveries_s):.1f} s to the first window (median)"
    return f"{told}; {one.seconds:.0f} s"


def complaints(name: str, outcome: Outcome) -> list[str]:
    """What fails a run."""
    if not STORIES[name].judged:
        return []
    stuck = [outcome.stuck] if outcome.stuck else []
    return [f"{name}: {line}" for line in [*stuck, *outcome.verdict.lines()]]


def reported(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """All figures, by broker; what is not judged has a place of its own."""
    report: dict[str, Any] = {}
    for broker in brokers(outcomes):
        mine = {name: one for name, one in outcomes.items() if name.startswith(broker)}
        judged = [one for name, one in mine.items() if STORIES[name].judged]
        report[broker] = summed(judged)
        for name, one in mine.items():
            if not STORIES[name].judged:
                facts = {"autosave_interval_s": int(shipped_limits()["autosave_interval"])}
                report[broker][name.partition("/")[2]] = {**facts, **summed([one])}
        if broker == "mqtt":
            report[broker]["redelivered"] = sum(one.verdict.redelivered for one in judged)
    return report


def summed(outcomes: list[Outcome]) -> dict[str, Any]:
    """The figures of some stories together."""
    figures = Counter[str](dict.fromkeys(ALWAYS, 0))
    for one in outcomes:
        figures.update({**one.counts, **one.verdict.figures})
    report: dict[str, Any] = dict(figures)
    if recoveries_s := [second for one in outcomes for second in one.recoveries_s]:
        report["seconds_to_first_window_p50"] = round(statistics.median(recoveries_s), 2)
        report["seconds_to_first_window_max"] = round(max(recoveries_s), 2)
    return report


if __name__ == "__main__":
    sys.exit(main())
