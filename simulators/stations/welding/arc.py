"""The arc as the camera sees it: glow, halo and sparks, added to the rendered picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from simulators.stations.welding.program import Cycle
from stream.messages import Floats

_GRAVITY_M_PER_S2 = np.array([0.0, 0.0, -9.81])
SPARKS_HZ = 90.0
EXPOSURE_S = 0.008
_GLOW_COLOUR = np.array([0.86, 0.94, 1.0], np.float32)
_SPARK_COLOUR = (0.95, 0.52, 0.14)
_CORE_SQUARE_PX = 2 * 2.6**2
_HALO_PX = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparks:
    """Every spark of a trajectory: births and lives (n,) in s, velocities (n, 3) in m/s."""

    births_s: Floats
    lives_s: Floats
    velocities: Floats

    def flying(self, time_s: float) -> NDArray[np.intp]:
        """Indices of the sparks in the air."""
        first, last = np.searchsorted(self.births_s, (time_s - 0.5, time_s))
        alive = np.arange(first, last)
        result: NDArray[np.intp] = alive[time_s - self.births_s[alive] < self.lives_s[alive]]
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcLight:
    """One arc as a trajectory's frames show it: sparks, and its brightness (n,) in each frame.

    ``frames_s`` (n,) are the frames' times. The brightness is what it would be if the arc burned.
    """

    cycles: Sequence[Cycle]
    sparks: Sparks
    frames_s: Floats
    brightness: Floats

    def burning(self, frame: int) -> float:
        """Brightness in a frame; 0 while the arc is out."""
        time_s = self.frames_s[frame]
        lit = any(begin_s <= time_s < end_s for begin_s, end_s in (c.arc_s for c in self.cycles))
        return float(lit * self.brightness[frame])


def draw_light(random: Generator, cycles: Sequence[Cycle], frames_s: Floats) -> ArcLight:
    """Draw the light of one arm's arc in the frames of a trajectory."""
    return ArcLight(
        cycles=cycles,
        sparks=draw_sparks(random, cycles),
        frames_s=frames_s,
        brightness=flicker(random, len(frames_s)),
    )


def draw_sparks(random: Generator, cycles: Sequence[Cycle]) -> Sparks:
    """Draw the sparks of all welds; they leave the arc upwards in bursts."""
    births: list[Floats] = [np.zeros(0)]
    for cycle in cycles:
        begin_s, end_s = cycle.arc_s
        count = random.poisson(SPARKS_HZ * (end_s - begin_s))
        births.append(np.sort(random.uniform(begin_s, end_s, count)))
    births_s = np.concatenate(births)
    count = len(births_s)
    bearing = random.uniform(0, 2 * np.pi, count)
    climb = random.uniform(0.05, 1.1, count)
    speed = random.lognormal(0.25, 0.45, count)
    directions = np.stack(
        [np.cos(bearing) * np.cos(climb), np.sin(bearing) * np.cos(climb), np.sin(climb)], axis=1
    )
    return Sparks(
        births_s=births_s,
        lives_s=random.uniform(0.08, 0.40, count),
        velocities=directions * speed[:, None],
    )


def spark_streaks(sparks: Sparks, time_s: float, tip_m: Floats) -> tuple[Floats, Floats, Floats]:
    """Begin and end (n, 3) in metres of each streak during the exposure; brightness (n,)."""
    flying = sparks.flying(time_s)
    age_s = (time_s - sparks.births_s[flying])[:, None]
    before_s = np.maximum(age_s - EXPOSURE_S, 0.0)
    speed = sparks.velocities[flying]

    def place(after_s: Floats) -> Floats:
        result: Floats = tip_m + speed * after_s + 0.5 * _GRAVITY_M_PER_S2 * after_s**2
        return result

    brightness = 1.0 - age_s[:, 0] / sparks.lives_s[flying]
    return place(before_s), place(age_s), brightness


def flicker(random: Generator, count: int) -> Floats:
    """Brightness of the arc in each frame: short circuits of the drop now and then dim it."""
    brightness = random.lognormal(-0.02, 0.16, count)
    result: Floats = np.where(random.random(count) < 0.06, 0.35 * brightness, brightness)
    return result


def add_glow(
    picture: NDArray[np.float32], centre_px: tuple[float, float], brightness: float
) -> None:
    """Add core and halo around ``centre_px`` (x, y) to ``picture`` (height, width, 3), 0 to 1."""
    height, width = picture.shape[:2]
    x = (np.arange(width, dtype=np.float32) - np.float32(centre_px[0])) ** 2
    y = (np.arange(height, dtype=np.float32) - np.float32(centre_px[1])) ** 2
    core = np.outer(np.exp(y / -_CORE_SQUARE_PX), np.exp(x / -_CORE_SQUARE_PX))
    reach = 1 + (y[:, None] + x) / np.float32(_HALO_PX**2)
    glow = np.float32(brightness) * (
        np.float32(1.6) * core + np.float32(0.34) / (reach * np.sqrt(reach))
    )
    picture += glow[..., None] * _GLOW_COLOUR


def add_sparks(
    picture: NDArray[np.float32], begins_px: Floats, ends_px: Floats, brightness: Floats
) -> None:
    """Add streaks from ``begins_px`` to ``ends_px`` (n, 2) to ``picture``, with sub-pixel ends."""
    import cv2

    if not len(brightness):
        return
    layer = np.zeros_like(picture)
    begins = np.clip(begins_px * 16, -(2**14), 2**14).round().astype(int)
    ends = np.clip(ends_px * 16, -(2**14), 2**14).round().astype(int)
    for begin, end, bright in zip(begins, ends, brightness, strict=True):
        colour = tuple(float(1.1 * bright) * c for c in _SPARK_COLOUR)
        cv2.line(layer, tuple(map(int, begin)), tuple(map(int, end)), colour, 1, cv2.LINE_AA, 4)
    picture += layer
