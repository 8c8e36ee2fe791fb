"""``make bench``: speed, memory and delivery, as ratios of the same run, into build/bench.json."""

import argparse
import json
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

import structlog
from rich.console import Console
from rich.table import Table

Measure: TypeAlias = Callable[[], Mapping[str, object]]
WANTED = {
    "windows_per_s_over_bare_model": ">= 0.85",
    "aligner_over_bare_loop": ">= 0.5 both",
    "aligner_large_over_small_buffer": ">= 0.9",
    "rss_growth": "within +- 0.02",
    "slowest_image_fault_ms": "<= 5",
    "autoencoder_over_plain_loop": ">= 1.5",
    "frame_network_over_plain_loop": ">= 1.5",
    "exactly_once_over_at_least_once": ">= 0.9 both",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long memory is watched")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="run these benchmarks alone")
    parser.add_argument("--out", type=Path, default=Path("build/bench.json"))
    arguments = parser.parse_args()
    benchmarks = _benchmarks(arguments.minutes)
    chosen = arguments.only or list(benchmarks)
    if unknown := [name for name in chosen if name not in benchmarks]:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(benchmarks)}")
    _only_errors()
    result = run({name: benchmarks[name] for name in chosen})
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n")
    shown = Table(title="benchmarks")
    for column in ("figure", "measured", "wanted"):
        shown.add_column(column)
    for name, value in result.items():
        text = f"{value:.4g}" if isinstance(value, float) else json.dumps(value)
        shown.add_row(name, text, WANTED.get(name, ""))
    Console().print(shown)


def run(benchmarks: Mapping[str, Measure]) -> dict[str, object]:
    """One after another, so that none disturbs another."""
    console = Console(stderr=True)
    result: dict[str, object] = {}
    for name, measure in benchmarks.items():
        with console.status(name):
            result.update(measure())
    return result


def _benchmarks(minutes: float) -> dict[str, Measure]:
    from tests.benchmarks import aligner, faults, memory, pipeline, training
    from tests.benchmarks.delivery import crash, exactly_once, latency, mqtt

    return {
        "aligner": aligner.measure,
        "faults": faults.measure,
        "pipeline": pipeline.measure,
        "training": training.measure,
        "exactly_once": exactly_once.measure,
        "latency": latency.measure,
        "mqtt": mqtt.measure,
        "crash": crash.measure,
        "memory": partial(memory.measure, minutes),
    }


def _only_errors() -> None:
    """Brokers on localhost give clients much to warn of that is no news here."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


if __name__ == "__main__":
    main()
