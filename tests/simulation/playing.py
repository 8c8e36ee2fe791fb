"""What every story is played with: a loop of its own, a model that remembers, and silence."""

import contextlib
import gc
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import structlog

from stream.engine import Engine
from stream.gate import Verdict
from stream.messages import Window
from tests.simulation.loop import SimulatedLoop

ResultT = TypeVar("ResultT")
SECONDS = 4.0
AFTERWARDS_S = 3.0
STEPS = 6000  # about as many as a whole story takes


class Counting(Engine):
    """Runs no model, but remembers: its scores depend on every window that a session has seen."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._seen: Counter[str] = Counter()

    def infer(self, windows: Sequence[Window], correcting: bool = True) -> list[Verdict]:
        return [self._judged(window) for window in windows]

    def _judged(self, window: Window) -> Verdict:
        self._seen[window.station] += 1
        seen = self._seen[window.station]
        score = 1.5 if seen % 20 >= 10 else 0.5 + seen / 1000
        session = {"seen": seen}
        return Verdict(window=window, scores={"camera": score}, session=session)

    def restore(self, station: str, memory: Mapping[str, Any]) -> None:
        self._seen[station] = memory.get("seen", 0)

    def forget(self, station: str) -> None:
        self._seen.pop(station, None)


def simulated(playing: Callable[[SimulatedLoop], Coroutine[None, None, ResultT]]) -> ResultT:
    """Run something on a simulated loop of its own, and nothing of it afterwards."""
    with _quiet(), _swept_up_afterwards():
        loop = SimulatedLoop()
        result = loop.run_until_complete(playing(loop))
        loop.over = True
        del loop
        return result


@contextlib.contextmanager
def _swept_up_afterwards() -> Any:
    """Collect what was killed in the middle of something once the story is over.

    Amid the story its last words would be heard, at a moment that no seed determines.
    """
    _spare_modules()
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.enable()


@cache
def _spare_modules() -> None:
    """Have the collector look at none of them again: that took a third of a story's time."""
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def _quiet() -> Any:
    """Say nothing of what is made to go wrong."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        sys.unraisablehook = hook
        structlog.reset_defaults()
