"""The thread that judges windows, and the task around it."""

import asyncio
import time

from stream.engine import Engine
from stream.gate import Verdict
from stream.inferring import Inferring
from stream.messages import ClosedBy, Window
from tests.plant import CELL, SECOND, START, configuration


def window(number: int) -> Window:
    anchor_ns = START + number * SECOND
    return Window(
        station=CELL, epoch=0, anchor_ns=anchor_ns, closed_by=ClosedBy.WATERMARK, views={}
    )


async def test_judging_that_is_cancelled_while_a_window_comes_in_ends() -> None:
    settings = configuration("any", model={"max_wait_ms": 60_000})
    engine = Engine(settings.stations, settings.model)
    inferring = Inferring(engine, settings.model, time.time_ns)

    async def tell(verdict: Verdict) -> None:
        raise AssertionError("nothing is due for a minute")

    running = asyncio.create_task(inferring.run(tell))
    inferring.add([window(1)])
    await asyncio.sleep(0.01)  # it waits for more by now
    inferring.add([window(2)])
    running.cancel()
    await asyncio.wait({running}, timeout=5)
    inferring.close()
    assert running.cancelled()
