"""An event loop whose time is made up, whose threads are none, and whose workers can be killed."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

OWNER: contextvars.ContextVar["Life | None"] = contextvars.ContextVar("OWNER", default=None)


class Life:
    """One worker process: it ends after so many steps, and runs no line afterwards."""

    def __init__(self, steps: int | None = None) -> None:
        self.steps = 0
        self.most = steps
        self.ended = asyncio.Event()
        self.frozen = False
        self.held: list[Callable[[], object]] = []

    @property
    def dead(self) -> bool:
        return self.most is not None and self.steps >= self.most


class Nothing:
    """A selector without sockets: to wait is to move the clock."""

    def __init__(self, loop: "SimulatedLoop") -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits for something that never comes")
        self._loop.now_s += timeout
        return []


class SimulatedLoop(asyncio.BaseEventLoop):
    """Deterministic: the same seed takes the same steps."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now_s = 0.0
        self.over = False
        self._selector = Nothing(self)
        self._clock_resolution = 1e-9
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        return self.now_s

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        if self.over:  # what was killed is being swept up
            return asyncio.Handle(callback, args, self, context)
        return super().call_soon(self._owned(callback, context), *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return super().call_at(when, self._owned(callback, context), *args, context=context)

    def _owned(self, callback: Callable[..., object], context: Any) -> Callable[..., object]:
        # an empty context is false
        life = (contextvars.copy_context() if context is None else context).get(OWNER)
        if life is None:
            return callback

        def step(*args: Any) -> None:
            if life.frozen:
                life.held.append(lambda: self.call_soon(callback, *args, context=context))
            elif not life.dead:
                life.steps += 1
                if life.dead:
                    life.ended.set()
                callback(*args)

        return step

    def thaw(self, life: Life) -> None:
        """Let a frozen worker go on where it stood."""
        life.frozen, held, life.held = False, life.held, []
        for one in held:
            one()

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:
            future.set_exception(error)
        return future

    def _process_events(self, event_list: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass
