"""What a plant would have heard: faults found, how late, and how many alarms were false.

Windows tell how good a detector is; alarms, which wait and hold, tell what an operator sees.
Times are seconds of the recording, comparable within an episode only.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

STRONG_EFFECT = 8.0  # noise standard deviations: a fault that nobody may miss
GRACE_S = 1.0  # an alarm this long after the end still belongs to its fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """One fault; ``effect`` is in standard deviations of the sensor's noise."""

    episode: int
    modality: str
    fault: str
    onset_s: float
    end_s: float
    effect: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An alarm was raised, after whatever delay its rule asks for."""

    episode: int
    modality: str
    raised_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The stretch of an episode in which an alarm could have been raised."""

    episode: int
    start_s: float
    end_s: float


class FoundFaults(TypedDict):
    """Faults found of those injected, and the delays of those found, NaN where none was.

    ``strong`` ones have an effect of at least 8.
    """

    found: int
    of: int
    found_strong: int
    of_strong: int
    delay_p50_s: float
    delay_p95_s: float


class FalseAlarms(TypedDict):
    """Alarms without a fault, and their rate with its one-sided 95 % bound, NaN without clean time.

    ``wrong_modality`` counts alarms during a fault of another modality only, which are no false
    alarms: something was wrong.
    """

    false_alarms: int
    wrong_modality: int
    clean_hours: float
    false_alarms_per_hour: float
    false_alarms_per_hour_upper: float


class AlarmFigures(FoundFaults, FalseAlarms):
    """What was found and what was raised for nothing."""


def alarm_figures(
    injected: Sequence[Injected],
    raised: Sequence[Raised],
    observed: Sequence[Observed],
    grace_s: float = GRACE_S,
) -> AlarmFigures:
    """Return the figures of the alarms of all episodes together.

    A fault is found by an alarm of its modality raised between its onset and ``grace_s`` after its
    end; one that stood already finds nothing. An alarm is false if it was raised in no such stretch
    of any modality.
    """
    return AlarmFigures(
        **_found_faults(injected, raised, grace_s),
        **_false_alarms(injected, raised, observed, grace_s),
    )


def _found_faults(
    injected: Sequence[Injected], raised: Sequence[Raised], grace_s: float
) -> FoundFaults:
    delays_s = [_delay_s(fault, raised, grace_s) for fault in injected]
    found_s = [delay_s for delay_s in delays_s if delay_s is not None]
    strong_s = [
        delay_s
        for fault, delay_s in zip(injected, delays_s, strict=True)
        if fault.effect >= STRONG_EFFECT
    ]
    return FoundFaults(
        found=len(found_s),
        of=len(injected),
        found_strong=sum(delay_s is not None for delay_s in strong_s),
        of_strong=len(strong_s),
        delay_p50_s=_quantile(found_s, 0.5),
        delay_p95_s=_quantile(found_s, 0.95),
    )


def _false_alarms(
    injected: Sequence[Injected],
    raised: Sequence[Raised],
    observed: Sequence[Observed],
    grace_s: float,
) -> FalseAlarms:
    during = [_modalities_at_fault(alarm, injected, grace_s) for alarm in raised]
    false_alarms = sum(not modalities for modalities in during)
    hours = sum(_clean_s(stretch, injected, grace_s) for stretch in observed) / 3600
    return FalseAlarms(
        false_alarms=false_alarms,
        wrong_modality=sum(
            bool(modalities) and alarm.modality not in modalities
            for alarm, modalities in zip(raised, during, strict=True)
        ),
        clean_hours=hours,
        false_alarms_per_hour=false_alarms / hours if hours else math.nan,
        false_alarms_per_hour_upper=poisson_upper(false_alarms) / hours if hours else math.nan,
    )


def poisson_upper(count: int, level: float = 0.95) -> float:
    """Return the largest mean that ``count`` events or fewer do not contradict.

    The exact one-sided bound of Garwood 1936, "Fiducial limits for the Poisson distribution": the
    mean at which the chance of at most ``count`` is 1 - ``level``; 2.996 for none at 95 %.
    """
    low, high = float(count), count + 1.0
    while _poisson_at_most(count, high) > 1 - level:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        above = _poisson_at_most(count, middle) > 1 - level
        low, high = (middle, high) if above else (low, middle)
    return high


def _poisson_at_most(count: int, mean: float) -> float:
    """The logarithm keeps large means from underflowing."""
    log_mean = math.log(mean)
    return math.fsum(math.exp(k * log_mean - mean - math.lgamma(k + 1)) for k in range(count + 1))


def _covers(fault: Injected, alarm: Raised, grace_s: float) -> bool:
    same = fault.episode == alarm.episode
    return same and fault.onset_s <= alarm.raised_s <= fault.end_s + grace_s


def _delay_s(fault: Injected, raised: Iterable[Raised], grace_s: float) -> float | None:
    delays_s = [
        alarm.raised_s - fault.onset_s
        for alarm in raised
        if alarm.modality == fault.modality and _covers(fault, alarm, grace_s)
    ]
    return min(delays_s, default=None)


def _modalities_at_fault(alarm: Raised, injected: Iterable[Injected], grace_s: float) -> set[str]:
    return {fault.modality for fault in injected if _covers(fault, alarm, grace_s)}


def _clean_s(stretch: Observed, injected: Iterable[Injected], grace_s: float) -> float:
    """Seconds of the stretch in which no fault is injected nor its grace runs."""
    spans_s = sorted(
        (fault.onset_s, fault.end_s + grace_s)
        for fault in injected
        if fault.episode == stretch.episode
    )
    clean_s, since_s = 0.0, stretch.start_s
    for onset_s, until_s in spans_s:
        clean_s += max(0.0, min(onset_s, stretch.end_s) - since_s)
        since_s = max(since_s, until_s)
    return clean_s + max(0.0, stretch.end_s - since_s)


def _quantile(values: Sequence[float], at: float) -> float:
    return float(np.quantile(values, at)) if values else math.nan
