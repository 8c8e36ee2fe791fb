"""``make crashes SEEDS=10000``: every story with and without crashes, compared; all processors.

Interrupted, it goes on where it stopped, as long as the code is the same.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from rich.progress import track

import stream
import tests.simulation
from tests.simulation import run, run_post
from tests.simulation.told import WRONG, compared

REPORT = Path("build/crashes.json")
PLAYED = Path("build/crashes.jsonl")
Found: TypeAlias = Mapping[str, Mapping[str, int]]


def on_kafka(seed: int) -> Mapping[str, int]:
    """One seed's figures on a log with transactions."""
    wanted, found = (run.play(seed, crashing=crashing) for crashing in (False, True))
    return {**compared(wanted, found), "crashes": found.crashes, "zombies": found.zombies}


def on_mqtt(seed: int) -> Mapping[str, int]:
    """One seed's figures beside MQTT."""
    wanted, found = (run_post.play(seed, crashing=crashing) for crashing in (False, True))
    return {**run_post.compared(wanted, found), "crashes": found.crashes, "frozen": found.frozen}


BROKERS: Mapping[str, Callable[[int], Mapping[str, int]]] = {"kafka": on_kafka, "mqtt": on_mqtt}


def both(seed: int) -> tuple[int, Found]:
    """One seed's figures by broker."""
    return seed, {name: play(seed) for name, play in BROKERS.items()}


def main(seeds: int) -> int:
    """Tell all stories; write the report; 1 if anything was lost or told twice."""
    played = dict(_played_before(code()))
    todo = [seed for seed in range(seeds) if seed not in played]
    PLAYED.parent.mkdir(exist_ok=True)
    with PLAYED.open("a", buffering=1) as file, ProcessPoolExecutor() as pool:
        runs = as_completed([pool.submit(both, seed) for seed in todo])
        for run_of_one in track(runs, "crashes", total=len(todo)):
            seed, found = run_of_one.result()
            played[seed] = found
            file.write(json.dumps({"code": code(), "seed": seed, "found": found}) + "\n")
    report = reported({seed: played[seed] for seed in range(seeds)})
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    return int(bool(report["failing_seeds"]))


def reported(played: Mapping[int, Found]) -> dict[str, Any]:
    """The figures of all seeds together, and which of them failed."""
    figures = {name: Counter[str]() for name in BROKERS}
    failing = []
    for seed, found in played.items():
        for name, one in found.items():
            figures[name].update(one)
            if any(one.get(key, 0) for key in WRONG):
                failing.append(f"{name}/{seed}")
    total = sum(figures.values(), Counter[str]())
    kept = {key: total[key] for key in ("crashes", "windows", "events", *WRONG)}
    return {"seeds": len(played), **kept, **figures, "failing_seeds": failing, "code": code()}


@cache
def code() -> str:
    """What tells this code from any other that would play the seeds differently."""
    digest = hashlib.sha256()
    for package in (stream, tests.simulation):
        folder = Path(package.__path__[0])
        for path in sorted(folder.rglob("*.py")):
            digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _played_before(same: str) -> Iterator[tuple[int, Found]]:
    lines = PLAYED.read_text().splitlines() if PLAYED.exists() else []
    for line in lines:
        try:
            one = json.loads(line)
        except ValueError:
            continue  # it was being written when it was interrupted
        if one["code"] == same:
            yield one["seed"], one["found"]


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
