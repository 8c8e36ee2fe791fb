"""``make crashes SEEDS=10000``: every story with and without crashes, compared; all processors."""

import json
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.progress import track

from tests.simulation.run import compared, play

REPORT = Path("build/crashes.json")
WRONG = ("lost", "duplicated", "reordered", "strange")


def told_twice(seed: int) -> dict[str, int]:
    """One seed's figures."""
    wanted, found = play(seed, crashing=False), play(seed, crashing=True)
    return {**compared(wanted, found), "crashes": found.crashes, "zombies": found.zombies}


def main(seeds: int) -> int:
    """Tell all stories; write the report; 1 if anything was lost or told twice."""
    begun_s, figures, failing = time.monotonic(), Counter[str](), []
    with ProcessPoolExecutor() as pool:
        runs = pool.map(told_twice, range(seeds), chunksize=4)
        for seed, one in enumerate(track(runs, "crashes", total=seeds)):
            figures.update(one)
            if any(one[key] for key in WRONG):
                failing.append(seed)
    report = {"seeds": seeds, **figures, "failing_seeds": failing}
    report["seconds"] = round(time.monotonic() - begun_s)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))
    return int(bool(failing))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
