"""``make fuzz``: a flood of damaged messages through a worker; writes build/fuzz.json."""

import argparse
import asyncio
import json
import sys
from pathlib import Path

from tests.fuzz.worker import Account, fuzz

MOST_GROWTH_MB = 64.0  # resident memory after the warm-up


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/fuzz.json"))
    arguments = parser.parse_args()
    account = asyncio.run(fuzz(arguments.messages, arguments.seed))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    told = {"seed": arguments.seed, **account.as_json()}
    arguments.out.write_text(json.dumps(told, indent=2) + "\n")
    print(json.dumps(told, indent=2))
    sys.exit("\n".join(wrong(account)) or 0)


def wrong(account: Account) -> list[str]:
    """What must not be; empty after a good run."""
    growth_mb = account.rss_end_mb - account.rss_start_mb
    grown = [f"resident memory grew by {growth_mb:.0f} MB"] if growth_mb > MOST_GROWTH_MB else []
    return account.gaps() + grown


if __name__ == "__main__":
    main()
