"""The weld's own signals: voltage, current and wire feed of each arm's power source.

Levels, the open circuit before the arc, the high voltage while it strikes, the burn-back at its
end and the steps of the converters are those of real welds, the Intel Robotic Welding Multimodal
Dataset: 131 A and 20.1 V with a wire of about 4.3 m/min in a good weld, 40.2 V without a load,
a mean that differs by 0.3 V and 6 A from one sample to the next, ten samples a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from simulators.recordings.recording import Modality
from simulators.stations.sensors import Clock, lagged
from simulators.stations.streams import Sense
from simulators.stations.welding.arc import ArcLight
from simulators.stations.welding.program import WEAVE_AMPLITUDE_M, Cycle, weave_m
from stream.messages import Floats, Kind

PROCESS_CLOCK = Clock(rate_hz=10.0, rate_error=2e-4, jitter_s=2e-3, delay_s=(0.015, 0.025))
QUANTITIES = ("voltage", "current", "wire_feed")
VOLTAGE_V, CURRENT_A, WIRE_FEED_M_PER_MIN = 20.1, 131.0, 4.3
OPEN_CIRCUIT = (40.2, 2.5, 1.0)  # the wire creeps to the part, under voltage
WEAR_V, WEAR_A = 0.9, -6.0  # of a contact tip at its end

_FINE_HZ = 500.0
_LAG_S = 0.03  # the mean that the power source reports
_NOISE_SD = (0.03, 0.8, 0.05)
_QUANTUM = (81.92 / 2**12, 819.2 / 2**12, 0.1)

# One light serves the picture and these: a brighter arc is a longer one, which a source of constant
# voltage feeds with less current; a short circuit dims it. For one unit of the brightness's log.
_PER_BRIGHTNESS = np.array([0.8, -17.0, 0.0])
_RESTLESS_SD = np.array([1.1, 27.0, 0.7])  # of the single drops; the mean keeps a fifth of it
_EDGE_A = 4.0  # nearer to the upper plate the wire's free end is shorter
_SYNERGY = np.array([0.10, 0.5, 1.0])  # how far the levels follow the welding speed
_STRIKE_S, _STRIKE_SHORT_S = 0.11, 0.010
_BURN_BACK_S = 0.08


def process_modality(arms: int) -> Modality:
    """The modality ``process`` of a cell, in V, A and m/min; channels numbered from two arms on."""
    numbers = [""] if arms == 1 else [f"_{n + 1}" for n in range(arms)]
    return Modality(
        name="process",
        kind=Kind.VECTOR,
        rate_hz=PROCESS_CLOCK.rate_hz,
        names=tuple(f"{what}{number}" for what in QUANTITIES for number in numbers),
        units=tuple(unit for unit in ("V", "A", "m/min") for _ in numbers),
        noise_sd=tuple(sd for sd in _NOISE_SD for _ in numbers),
        quantum=tuple(step for step in _QUANTUM for _ in numbers),
    )


def sense_process(lights: Sequence[ArcLight], seconds: float, random: Generator) -> Sense:
    """What the power sources report of a trajectory, before the sensors' noise.

    One light for each arm; ``random`` draws the wear of its contact tip, what differs from cycle
    to cycle and the restlessness of the drops.
    """
    times_s = np.arange(-0.5, seconds + 0.5, 1 / _FINE_HZ)
    arms = [_electrical(light, times_s, random) for light in lights]
    channels = np.stack(arms, axis=2).reshape(len(times_s), -1)
    reported = lagged(channels, _FINE_HZ, _LAG_S)
    return lambda at_s: np.stack([np.interp(at_s, times_s, each) for each in reported.T], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What is drawn for one weld."""

    level: Floats  # (3,)
    wear: float
    creep_s: float
    hot_start: float


def _electrical(light: ArcLight, times_s: Floats, random: Generator) -> Floats:
    """True voltage, current and wire feed (n, 3) of one arm's power source."""
    wear = random.uniform(0, 1)
    values = np.zeros((len(times_s), 3))
    for cycle in light.cycles:
        job = _draw_job(cycle, wear, random)
        begin_s, end_s = cycle.arc_s
        values[(times_s >= begin_s - job.creep_s) & (times_s < begin_s)] = OPEN_CIRCUIT
        lit = (times_s >= begin_s) & (times_s < end_s)
        values[lit] = _burning(cycle, job, times_s[lit])
        values[lit] += _restless(light, job, times_s[lit], random)
    return np.maximum(values, 0.0)


def _draw_job(cycle: Cycle, wear: float, random: Generator) -> _Job:
    usual = np.array([VOLTAGE_V, CURRENT_A, WIRE_FEED_M_PER_MIN])
    usual = usual * (1 + _SYNERGY * (cycle.speed - 1)) * (1 + random.normal(0, [0.008, 0.02, 0.01]))
    return _Job(
        level=usual + wear * np.array([WEAR_V, WEAR_A, 0.0]),
        wear=wear,
        creep_s=float(random.uniform(0.25, 0.5)),
        hot_start=float(random.uniform(0.0, 0.5)),
    )


def _burning(cycle: Cycle, job: _Job, times_s: Floats) -> Floats:
    """The even course of one weld (n, 3): strike, weld, crater with less of all, burn-back."""
    begin_s, end_s = cycle.arc_s
    since_s, left_s = times_s - begin_s, end_s - times_s
    crater_s = end_s - cycle.stage_s("crater")[0]
    filling = np.clip(1 - left_s / crater_s, 0.0, 1.0)[:, None]
    struck = np.exp(-since_s / _STRIKE_S)
    values = job.level * (1 - filling * (0.12, 0.45, 0.45))
    values[:, 0] += 10.0 * struck
    values[:, 1] *= 1 + job.hot_start * struck
    values[:, 1] += _EDGE_A * weave_m(cycle, times_s) / WEAVE_AMPLITUDE_M
    values[since_s < _STRIKE_SHORT_S] = (4.0, 380.0, OPEN_CIRCUIT[2])
    values[left_s < _BURN_BACK_S] = (35.0, 35.0, 0.0)
    return values


def _restless(light: ArcLight, job: _Job, times_s: Floats, random: Generator) -> Floats:
    """What the drops and short circuits add (n, 3): a worn tip feeds them less evenly."""
    bright = np.interp(times_s, light.frames_s, np.log(light.brightness))
    drops = _RESTLESS_SD * random.standard_normal((len(times_s), 3))
    result: Floats = bright[:, None] * _PER_BRIGHTNESS + (1 + 0.5 * job.wear) * drops
    return result
