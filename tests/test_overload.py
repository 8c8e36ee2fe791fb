"""A model that is too slow for what comes in: what gives way, and how it is told."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence

import pytest

from stream.engine import Engine
from stream.gate import Verdict
from stream.messages import Window
from stream.proto.weldfusion_pb2 import SKIPPED, UNAVAILABLE, FusedLatent
from tests.plant import CELL, Plant, at_ns, working

BATCH, BATCH_S = 4, 0.05  # 80 windows/s; a camera of 10 Hz is played much faster
STEP_S = 0.3


class SlowEngine(Engine):
    """A model that needs its time for every batch, and knows what it was asked to correct."""

    asked: list[tuple[int, bool]] = []  # noqa: RUF012 of the only one in a test

    def infer(self, windows: Sequence[Window], correcting: bool = True) -> list[Verdict]:
        time.sleep(BATCH_S)
        self.asked.append((len(windows), correcting))
        return super().infer(windows, correcting)


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    SlowEngine.asked.clear()


def states(latents: Sequence[FusedLatent]) -> Counter[int]:
    """How many windows were told in each state of their modalities, which is one for all."""
    return Counter(state for one in latents for state in {entry.state for entry in one.modalities})


async def burst(plant: Plant, first_s: float, last_s: float) -> None:
    """Play far faster than the model judges, until all windows but the last are told."""
    await plant.play(first_s, last_s)
    await plant.windows_until(last_s - 0.1)


async def test_freshest_tells_every_window_in_order_and_counts_what_it_skipped() -> None:
    model = {"max_batch": BATCH, "overload": "freshest"}
    async with working(engine=SlowEngine, model=model) as plant:
        await burst(plant, 0, 30)
        told = plant.mes.latents
        assert [one.anchor_time_ns for one in told] == [at_ns(at / 10) for at in range(300)]
        found = states(told)
        assert set(found) == {SKIPPED, UNAVAILABLE}  # it runs without a model
        judged = sum(size for size, _ in SlowEngine.asked)
        assert found[SKIPPED] == 300 - judged > 200
        await plant.until(lambda: plant.mes.status["skipped"] == found[SKIPPED])
        assert plant.metric("weldfusion_skipped_windows_total", station=CELL) == found[SKIPPED]


async def test_who_skips_windows_raises_an_alarm_that_clears_once_it_keeps_up() -> None:
    model = {"max_batch": BATCH, "overload": "freshest"}
    async with working(engine=SlowEngine, model=model) as plant:
        await burst(plant, 0, 10)
        assert ("station/overloaded", "raised") in plant.mes.events
        for at in range(10):
            await burst(plant, 10 + at * STEP_S, 10 + (at + 1) * STEP_S)
        assert plant.mes.events[-1] == ("station/overloaded", "cleared")


async def test_block_judges_every_window_and_takes_in_no_more_than_it_holds() -> None:
    async with working(engine=SlowEngine, model={"max_batch": BATCH}) as plant:
        playing = asyncio.create_task(burst(plant, 0, 30))
        most = 0.0
        while not playing.done():
            most = max(most, plant.metric("weldfusion_unjudged_windows"))
            await asyncio.sleep(0.01)
        assert 100 < most < 140
        assert states(plant.mes.latents) == {UNAVAILABLE: 300}
        assert sum(size for size, _ in SlowEngine.asked) == 300
        assert plant.mes.events == []


@pytest.mark.parametrize(("within_ms", "leaves_out"), [(100.0, True), (None, False)])
async def test_corrections_are_left_out_where_windows_have_waited_too_long(
    within_ms: float | None, leaves_out: bool
) -> None:
    model = {"max_batch": BATCH, "correct_within_ms": within_ms}
    async with working(engine=SlowEngine, model=model) as plant:
        await burst(plant, 0, STEP_S)
        await burst(plant, STEP_S, 10)
    assert SlowEngine.asked[0][1]
    assert any(not correcting for _, correcting in SlowEngine.asked) is leaves_out
