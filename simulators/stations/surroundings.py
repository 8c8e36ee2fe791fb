"""What is drawn once for each trajectory: light, camera mount, colours, noise of the chip."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from stream.messages import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """One draw. Lengths in metres, angles in radians, colours (3,) as factors."""

    key_gain: float
    tint: Floats  # of the key light
    key_turn: Floats  # added to the key light's direction
    drift_gain: float
    drift_period_s: float
    drift_phase_rad: float
    mount_shift_m: Floats
    mount_turn_rad: Floats  # yaw, pitch, roll
    shake_rad: float
    shake_hz: float
    part_colour: Floats
    paint_wear: float
    noise_levels: float  # standard deviation of the pixels' noise, in grey levels

    def light_gain(self, time_s: float) -> float:
        """Gain of the key light, which drifts slowly."""
        turn = 2 * np.pi * time_s / self.drift_period_s + self.drift_phase_rad
        return self.key_gain * (1 + self.drift_gain * float(np.sin(turn)))


def draw_surroundings(random: Generator, unfamiliar: bool = False) -> Surroundings:
    """Draw the surroundings of one trajectory.

    ``unfamiliar`` ones lie beyond the usual ranges in light, mount and colours, by up to half as
    far again, so that no usual trajectory has them.
    """

    def away(deviation: float | Floats, reach: float) -> Floats:
        beyond = np.sign(deviation) * (reach - np.abs(deviation) / 2)
        return np.asarray(deviation + beyond if unfamiliar else deviation)

    warmth = away(random.uniform(-0.06, 0.06), 0.06)
    return Surroundings(
        key_gain=float(1 + away(random.uniform(0.8, 1.2) - 1, 0.2)),
        tint=np.array([1 + warmth, 1.0, 1 - warmth]),
        key_turn=away(random.uniform(-0.15, 0.15, 3), 0.15) * (1, 1, 0),
        drift_gain=float(random.uniform(0.01, 0.04)),
        drift_period_s=float(random.uniform(50.0, 120.0)),
        drift_phase_rad=float(random.uniform(0, 2 * np.pi)),
        mount_shift_m=away(random.normal(0, 0.006, 3), 0.012),
        mount_turn_rad=away(random.normal(0, np.deg2rad(0.35), 3), np.deg2rad(0.7)),
        shake_rad=float(random.uniform(0.1, 0.5) * 1e-3),
        shake_hz=float(random.uniform(2.0, 5.0)),
        part_colour=np.clip(
            1 + away(random.normal(1, 0.05) + random.normal(0, 0.02, 3) - 1, 0.08), 0.7, 1.3
        ),
        paint_wear=float(random.uniform(0.88, 1.0)),
        noise_levels=float(random.uniform(1.0, 2.0)),
    )
