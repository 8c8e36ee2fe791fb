"""What is drawn once for each trajectory: light, camera mount, colours, noise of the chip."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from simulators.stations.cell import JIGS
from stream.messages import Floats

CAMERA_AT_M = (0.62, -0.98, 1.40)
CAMERA_TARGET_M = (1.035, 0.0, 0.935)
_KEY_COLOUR = np.array([0.92, 0.90, 0.86])
_KEY_DIRECTION = np.array([0.30, 0.32, -1.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """One draw. Lengths in metres, angles in radians, colours (3,) as factors."""

    key_gain: float
    key_colour: Floats
    key_direction: Floats
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


def draw_surroundings(random: Generator) -> Surroundings:
    """Draw the surroundings of one trajectory."""
    warmth = random.uniform(-0.06, 0.06)
    return Surroundings(
        key_gain=float(random.uniform(0.8, 1.2)),
        key_colour=_KEY_COLOUR * (1 + warmth, 1.0, 1 - warmth),
        key_direction=_KEY_DIRECTION + random.uniform(-0.15, 0.15, 3) * (1, 1, 0),
        drift_gain=float(random.uniform(0.01, 0.04)),
        drift_period_s=float(random.uniform(50.0, 120.0)),
        drift_phase_rad=float(random.uniform(0, 2 * np.pi)),
        mount_shift_m=random.normal(0, 0.006, 3),
        mount_turn_rad=random.normal(0, np.deg2rad(0.35), 3),
        shake_rad=float(random.uniform(0.1, 0.5) * 1e-3),
        shake_hz=float(random.uniform(2.0, 5.0)),
        part_colour=np.clip(random.normal(1, 0.05) + random.normal(0, 0.02, 3), 0.8, 1.2),
        paint_wear=float(random.uniform(0.88, 1.0)),
        noise_levels=float(random.uniform(1.0, 2.0)),
    )


def paint_cell(model: Any, surroundings: Surroundings) -> None:
    """Give the model the colours of this trajectory."""
    for jig in JIGS:
        for plate in ("lower", "upper"):
            geom = model.geom(f"{jig}_{plate}").id
            model.geom_rgba[geom, :3] = np.array([0.52, 0.53, 0.54]) * surroundings.part_colour
    model.mat_rgba[model.material("paint").id, :3] = np.array([0.86, 0.36, 0.07]) * (
        surroundings.paint_wear
    )
    key = model.light("key").id
    direction = surroundings.key_direction
    model.light_dir[key] = direction / np.linalg.norm(direction)


def camera_pose(surroundings: Surroundings, shake: Floats) -> tuple[Floats, Floats]:
    """Position (3,) and rotation (3, 3) of the camera, looking along its −z; ``shake`` (2,) rad."""
    position = np.array(CAMERA_AT_M) + surroundings.mount_shift_m
    forward = np.array(CAMERA_TARGET_M) - np.array(CAMERA_AT_M)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    nominal = np.stack([right, np.cross(right, forward), -forward], axis=1)
    yaw, pitch, roll = surroundings.mount_turn_rad
    return position, nominal @ _turn(pitch + shake[1], yaw + shake[0], roll)


def _turn(x: float, y: float, z: float) -> Floats:
    """Rotation by three angles so small that their order does not matter."""
    turn = np.array([[1.0, -z, y], [z, 1.0, -x], [-y, x, 1.0]])
    result: Floats = np.linalg.qr(turn)[0]
    return result * np.sign(np.diag(result))
