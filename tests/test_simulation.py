"""Nothing lost and nothing told twice, whatever step a worker is killed at."""

import pytest

from stream.courier import Parcel
from stream.exactly_once import LogCourier
from stream.journaling import JournalCourier
from stream.transports.transport import Delivery
from tests.simulation import run_post
from tests.simulation.run import play
from tests.simulation.told import compared

SEEDS = range(100, 112)


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_workers_tell_what_one_tells_that_nothing_happens_to(seed: int) -> None:
    wanted, found = play(seed, crashing=False), play(seed, crashing=True)
    figures = compared(wanted, found)
    assert figures["windows"] > 50
    assert figures["events"] > 0
    wrong = {key: figures[key] for key in ("lost", "duplicated", "reordered", "strange")}
    assert wrong == dict.fromkeys(wrong, 0)


def test_the_workers_of_these_stories_are_killed_indeed() -> None:
    assert sum(play(seed, crashing=True).crashes for seed in (100, 101)) > 4


def test_the_same_seed_takes_the_same_steps() -> None:
    first, again = play(103, crashing=True), play(103, crashing=True)
    assert (first.windows, first.events, first.crashes) == (
        again.windows,
        again.events,
        again.crashes,
    )


class Forgetful(LogCourier):
    """Commits outputs and offsets, but no memory."""

    async def settle(self, parcels: list[Parcel]) -> None:  # type: ignore[override]
        await super().settle(
            [
                Parcel(
                    messages=one.messages,
                    released=one.released,
                    station=one.station,
                    grant=one.grant,
                )
                for one in parcels
            ]
        )


def test_a_worker_without_a_memory_is_found_out() -> None:
    wanted, found = play(100, crashing=False), play(100, crashing=True, courier=Forgetful)
    figures = compared(wanted, found)
    assert figures["duplicated"] + figures["strange"] + figures["lost"] > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_beside_mqtt_no_event_is_lost_and_what_is_told_twice_is_the_same(seed: int) -> None:
    wanted, found = (run_post.play(seed, crashing=crashing) for crashing in (False, True))
    figures = run_post.compared(wanted, found)
    assert figures["windows"] > 30
    assert figures["events"] > 0
    wrong = {key: figures[key] for key in ("lost", "duplicated", "strange")}
    assert wrong == dict.fromkeys(wrong, 0)


class Hasty(JournalCourier):
    """Acknowledges what the journal does not hold yet."""

    def _is_news(self, delivery: Delivery) -> bool:
        self._transport.acknowledge(delivery)
        return super()._is_news(delivery)


class Credulous(JournalCourier):
    """Takes what comes again for news."""

    def _is_news(self, delivery: Delivery) -> bool:
        self._known.clear()
        return super()._is_news(delivery)


@pytest.mark.parametrize("courier", [Hasty, Credulous])
def test_a_journal_that_is_not_kept_well_is_found_out(courier: type[JournalCourier]) -> None:
    wrong = 0
    for seed in (15, 31, 35, 42):
        wanted = run_post.play(seed, crashing=False)
        figures = run_post.compared(wanted, run_post.play(seed, crashing=True, courier=courier))
        wrong += figures["lost"] + figures["duplicated"] + figures["strange"]
    assert wrong > 0
