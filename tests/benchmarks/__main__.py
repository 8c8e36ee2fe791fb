"""``make bench``: speed and memory as ratios of the same run, into build/bench.json."""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

WANTED = {
    "windows_per_s_over_bare_model": ">= 0.85",
    "aligner_over_bare_loop": ">= 0.5 both",
    "aligner_large_over_small_buffer": ">= 0.9",
    "rss_growth": "within +- 0.02",
    "slowest_image_fault_ms": "<= 5",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long memory is watched")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    result = run(arguments.minutes)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    shown = Table(title="benchmarks")
    for column in ("figure", "measured", "wanted"):
        shown.add_column(column)
    for name, value in result.items():
        text = f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
        shown.add_row(name, text, WANTED.get(name, ""))
    Console().print(shown)


def run(minutes: float) -> dict[str, object]:
    """Every benchmark, one after another so that none disturbs another."""
    from tests.benchmarks import aligner, faults, memory, pipeline

    console = Console(stderr=True)
    result: dict[str, object] = {}
    for name, measure in (
        ("aligner", aligner.measure),
        ("faults", faults.measure),
        ("pipeline", pipeline.measure),
        (f"memory, {minutes:g} min", lambda: memory.measure(minutes)),
    ):
        with console.status(name):
            result.update(measure())
    return result


if __name__ == "__main__":
    main()
