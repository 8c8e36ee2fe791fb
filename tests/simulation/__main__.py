"""``make crashes SEEDS=10000``: every story with and without crashes, compared; all processors."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.progress import track

from tests.simulation import run, run_post
from tests.simulation.told import WRONG, compared

REPORT = Path("build/crashes.json")


def on_kafka(seed: int) -> Mapping[str, int]:
    """One seed's figures on a log with transactions."""
    wanted, found = (run.play(seed, crashing=crashing) for crashing in (False, True))
    return {**compared(wanted, found), "crashes": found.crashes, "zombies": found.zombies}


def on_mqtt(seed: int) -> Mapping[str, int]:
    """One seed's figures beside MQTT."""
    wanted, found = (run_post.play(seed, crashing=crashing) for crashing in (False, True))
    return {**run_post.compared(wanted, found), "crashes": found.crashes, "frozen": found.frozen}


BROKERS: Mapping[str, Callable[[int], Mapping[str, int]]] = {"kafka": on_kafka, "mqtt": on_mqtt}


def both(seed: int) -> dict[str, Mapping[str, int]]:
    """One seed's figures by broker."""
    return {name: play(seed) for name, play in BROKERS.items()}


def main(seeds: int) -> int:
    """Tell all stories; write the report; 1 if anything was lost or told twice."""
    begun_s, failing = time.monotonic(), []
    figures = {name: Counter[str]() for name in BROKERS}
    with ProcessPoolExecutor() as pool:
        runs = pool.map(both, range(seeds), chunksize=4)
        for seed, found in enumerate(track(runs, "crashes", total=seeds)):
            for name, one in found.items():
                figures[name].update(one)
                if any(one.get(key, 0) for key in WRONG):
                    failing.append(f"{name}/{seed}")
    total = sum(figures.values(), Counter[str]())
    kept = {key: total[key] for key in ("crashes", "windows", "events", *WRONG)}
    report = {"seeds": seeds, **kept, **figures, "failing_seeds": failing}
    report["seconds"] = round(time.monotonic() - begun_s)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    return int(bool(failing))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
