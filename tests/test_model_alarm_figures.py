"""Faults found and false alarms, counted by hand; the Poisson bound against printed tables."""

import math

import pytest

from model.alarm_figures import Injected, Observed, Raised, alarm_figures, poisson_upper

DUST = Injected(
    episode=0, modality="camera", fault="camera.dust", onset_s=10.0, end_s=15.0, effect=3.0
)
STUCK = Injected(
    episode=0, modality="arm", fault="arm.stuck", onset_s=100.0, end_s=101.0, effect=20.0
)
HOURS = (
    Observed(episode=0, start_s=0.0, end_s=3608.0),
    Observed(episode=1, start_s=50.0, end_s=3650.0),
)


def raised(modality: str, raised_s: float, episode: int = 0) -> Raised:
    return Raised(episode=episode, modality=modality, raised_s=raised_s)


def test_a_fault_is_found_by_the_first_alarm_of_its_modality_while_it_lasts() -> None:
    alarms = [raised("camera", 14.0), raised("camera", 10.5), raised("arm", 101.9)]
    found = alarm_figures([DUST, STUCK], alarms, HOURS)
    assert (found["found"], found["of"]) == (2, 2)
    assert (found["found_strong"], found["of_strong"]) == (1, 1)
    assert found["delay_p50_s"] == pytest.approx((0.5 + 1.9) / 2)
    assert found["delay_p95_s"] == pytest.approx(0.5 + 0.95 * 1.4)
    assert (found["false_alarms"], found["wrong_modality"]) == (0, 0)


def test_an_alarm_before_the_onset_or_after_the_grace_is_false_and_finds_nothing() -> None:
    alarms = [raised("camera", 9.9), raised("camera", 16.1), raised("camera", 12.0, episode=1)]
    found = alarm_figures([DUST], alarms, HOURS)
    assert (found["found"], found["false_alarms"]) == (0, 3)
    assert math.isnan(found["delay_p50_s"])
    assert alarm_figures([DUST], [raised("camera", 16.1)], HOURS, grace_s=2.0)["found"] == 1


def test_an_alarm_of_another_modality_during_a_fault_is_counted_apart() -> None:
    found = alarm_figures([DUST], [raised("arm", 11.0)], HOURS)
    assert (found["found"], found["false_alarms"], found["wrong_modality"]) == (0, 0, 1)


def test_clean_time_is_what_no_fault_and_no_grace_covers() -> None:
    found = alarm_figures([DUST, STUCK], [], HOURS)  # 6 s and 2 s of 7208
    assert found["clean_hours"] == pytest.approx(2.0)
    overlapping = Injected(
        episode=0, modality="arm", fault="arm.stuck", onset_s=12.0, end_s=17.0, effect=1.0
    )
    before = Injected(
        episode=1, modality="arm", fault="arm.stuck", onset_s=0.0, end_s=53.0, effect=1.0
    )
    after = Injected(
        episode=1, modality="arm", fault="arm.stuck", onset_s=3649.0, end_s=3700.0, effect=1.0
    )
    found = alarm_figures([overlapping, DUST, before, after], [], HOURS)
    assert found["clean_hours"] * 3600 == pytest.approx(3608 - 8 + 3600 - 4 - 1)


def test_rates_are_per_clean_hour_and_bounded_even_where_no_alarm_was_false() -> None:
    silent = alarm_figures([DUST, STUCK], [], HOURS)
    assert silent["false_alarms_per_hour"] == 0.0
    assert silent["false_alarms_per_hour_upper"] == pytest.approx(2.9957 / 2, abs=1e-4)
    noisy = alarm_figures([DUST, STUCK], [raised("arm", 50.0), raised("arm", 60.0)], HOURS)
    assert noisy["false_alarms_per_hour"] == pytest.approx(1.0)
    assert noisy["false_alarms_per_hour_upper"] == pytest.approx(6.2958 / 2, abs=1e-4)


def test_nothing_observed_gives_no_rate() -> None:
    found = alarm_figures([], [], [])
    assert found["clean_hours"] == 0.0
    assert math.isnan(found["false_alarms_per_hour_upper"])


@pytest.mark.parametrize(
    ("count", "upper"), [(0, 2.9957), (1, 4.7439), (2, 6.2958), (5, 10.5130), (10, 16.9622)]
)
def test_the_poisson_bound_is_the_tabulated_one(count: int, upper: float) -> None:
    assert poisson_upper(count) == pytest.approx(upper, abs=1e-4)


def test_the_poisson_bound_holds_at_other_levels_and_for_large_counts() -> None:
    assert poisson_upper(0, 0.975) == pytest.approx(-math.log(0.025))
    # Wilson and Hilferty's cube approximates the quantile closely at such counts
    count, normal = 2000, 1.6448536
    n = count + 1
    approximate = n * (1 - 1 / (9 * n) + normal / (3 * math.sqrt(n))) ** 3
    assert poisson_upper(count) == pytest.approx(approximate, rel=1e-4)
