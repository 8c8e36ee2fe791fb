"""The systems of a report, the judged one first, and their protocols."""

from collections.abc import Mapping
from typing import Any

from simulators.report.wording import dig

Report = Mapping[str, Any]
TONES = 6  # colours that can be told apart


def systems(report: Report) -> dict[str, Any]:
    """By name; the first is the one the report is about, the others it is compared with."""
    found: dict[str, Any] = report.get("systems") or {}
    return found


def judged_system(report: Report) -> dict[str, Any]:
    """The first system, empty where there is none."""
    return next(iter(systems(report).values()), {})


def protocols(report: Report) -> list[str]:
    """Every protocol that any system was judged by, in order."""
    names = [name for one in systems(report).values() for name in one.get("protocols") or {}]
    return list(dict.fromkeys(names))


def judged_by(report: Report, protocol: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The systems that were judged by a protocol, with their figures."""
    found = [(name, dig(one, "protocols", protocol)) for name, one in systems(report).items()]
    return [(name, figures) for name, figures in found if figures]


def tone(at: int) -> int:
    """The colour of the system at a place; they repeat after the sixth."""
    return at % TONES
