"""A station's camera: where it hangs, how it shakes, its lens, its chip and its JPEG encoder."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from simulators.stations.sensors import Clock
from simulators.stations.surroundings import Surroundings
from stream.messages import Floats, Pixels

SIZE_PX = (256, 256)
JPEG_QUALITY = 72
CAMERA_CLOCK = Clock(rate_hz=15.0, rate_error=4e-5, jitter_s=1e-3, delay_s=(0.010, 0.014))
_SHOULDER = np.float32(0.75)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraPlace:
    """Where a camera nominally hangs and what it looks at, in the world's frame."""

    at_m: tuple[float, float, float]
    target_m: tuple[float, float, float]


def camera_pose(
    place: CameraPlace, surroundings: Surroundings, shake: Floats
) -> tuple[Floats, Floats]:
    """Position (3,) and rotation (3, 3) of the camera, looking along its −z; ``shake`` (2,) rad."""
    position = np.array(place.at_m) + surroundings.mount_shift_m
    forward = np.array(place.target_m) - np.array(place.at_m)
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


def shakes(surroundings: Surroundings, times_s: Floats, random: Generator) -> Floats:
    """Turns (n, 2) in rad of a mount that swings with the machine, plus a rougher rest."""
    phases = random.uniform(0, 2 * np.pi, 2)
    swing = np.sin(2 * np.pi * surroundings.shake_hz * times_s[:, None] + phases)
    rough = random.normal(0, 0.4, (len(times_s), 2))
    result: Floats = surroundings.shake_rad * (swing + rough)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A camera's place: position (3,), rotation (3, 3) and focal length in pixels."""

    position: Floats
    rotation: Floats
    focal_px: float

    @classmethod
    def of(cls, position: Floats, rotation: Floats, model: Any) -> "View":
        """Build it from a pose and the model's field of view."""
        half = np.deg2rad(model.cam_fovy[model.camera("camera").id]) / 2
        return cls(position=position, rotation=rotation, focal_px=SIZE_PX[0] / 2 / np.tan(half))

    def apply(self, model: Any) -> None:
        """Put the model's camera there."""
        import mujoco

        camera = model.camera("camera").id
        model.cam_pos[camera] = self.position
        mujoco.mju_mat2Quat(model.cam_quat[camera], self.rotation.ravel())

    def pixels(self, points_m: Floats) -> Floats:
        """Project points (n, 3) in front of the camera to pixels (n, 2), x then y."""
        seen = (points_m - self.position) @ self.rotation
        depth = np.maximum(-seen[:, 2], 0.05)
        centre = np.array([SIZE_PX[1], SIZE_PX[0]]) / 2 - 0.5
        result: Floats = centre + self.focal_px * seen[:, :2] * (1, -1) / depth[:, None]
        return result


def through_lens(pixels: Pixels) -> NDArray[np.float32]:
    """Blur as the lens does, to a picture from 0 to 1 that may be added to."""
    import cv2

    soft = cv2.GaussianBlur(pixels, (3, 3), 0.6)
    result: NDArray[np.float32] = soft.astype(np.float32) / np.float32(255.0)
    return result


def on_chip(picture: NDArray[np.float32], noise_levels: float, random: Generator) -> Pixels:
    """Light to grey levels: a shoulder keeps the arc from cutting off hard, then read-out noise."""
    bright = picture > _SHOULDER
    above = (picture[bright] - _SHOULDER) / (1 - _SHOULDER)
    picture[bright] = _SHOULDER + (1 - _SHOULDER) * (1 - np.exp(-above))
    noise = random.standard_normal(picture.shape, dtype=np.float32)
    noise *= np.float32(noise_levels)
    noise += picture * np.float32(255.0)
    np.rint(noise, out=noise)
    return np.clip(noise, 0, 255, out=noise).astype(np.uint8)


def encode(pixels: Pixels) -> bytes:
    """Give the JPEG of RGB ``pixels`` (height, width, 3)."""
    import cv2

    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], settings)
    if not done:
        raise RuntimeError(f"a frame of shape {pixels.shape} cannot be encoded as JPEG")
    return bytes(data)
