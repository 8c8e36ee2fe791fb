"""A cracked lens: a web of cracks, and shards that each show the picture a little displaced."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from simulators.faults.painting import Mask, pixel_grid, soften, to_pixels
from simulators.faults.registry import ImageInjector, Origin, fault
from stream.messages import Kind, Pixels

RAYS = 13
RINGS = np.array([0.0, 0.05, 0.11, 0.2, 0.33, 0.5, 0.72, 1.0, 1.5])  # of the width
RING_CRACKED = np.array([0.0, 0.8, 0.6, 0.4, 0.25, 0.1, 0.05, 0.0, 0.0])  # chance of a cross crack
SLIP_SHARE = 0.012  # of the width
CRACK_OPACITY = 0.75
CRACK_LEVEL = 225.0
SHADOW = 0.35


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Web:
    """``corners`` (rays, rings, 2) in widths about the impact, and the cracks between rays."""

    impact: NDArray[np.float64]
    corners: NDArray[np.float64]
    crossed: NDArray[np.bool_]
    slips: NDArray[np.float64]
    depths: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Broken:
    across: Mask
    down: Mask
    kept: Mask  # (height, width, 1)
    added: Mask  # (height, width, 1) grey levels


@fault(
    name="cracked_lens",
    kind=Kind.IMAGE,
    origin=Origin.UPSTREAM,
    scales="how far the cracks reach from the impact, in widths",
    maximum=0.8,
    published_range=(0.2, 1.0),
)
def cracked_lens(reach: float, rng: np.random.Generator) -> ImageInjector:
    """Something hit the glass: bright cracks with a shadow, and shards that slipped by a few px."""
    web = _draw_web(rng)

    @lru_cache(maxsize=2)
    def broken(height: int, width: int) -> _Broken:
        return _break(web, reach, height, width)

    def inject(frame: Pixels, seconds: float) -> Pixels:
        glass = broken(*frame.shape[:2])
        slipped = cv2.remap(
            frame, glass.across, glass.down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return to_pixels(slipped * glass.kept + glass.added)

    return inject


def _draw_web(rng: np.random.Generator) -> _Web:
    angles = (np.arange(RAYS) + rng.uniform(-0.35, 0.35, RAYS)) * 2 * np.pi / RAYS
    bends = np.cumsum(rng.normal(0, 0.04, (RAYS, len(RINGS))), axis=1)
    radii = RINGS * rng.uniform(0.8, 1.2, (RAYS, len(RINGS)))
    turned = angles[:, None] + bends + rng.uniform(0, 2 * np.pi)
    return _Web(
        impact=rng.uniform(0.2, 0.8, 2),
        corners=radii[..., None] * np.stack([np.cos(turned), np.sin(turned)], axis=-1),
        crossed=rng.random((RAYS, len(RINGS))) < RING_CRACKED,
        slips=rng.uniform(-SLIP_SHARE, SLIP_SHARE, (RAYS, len(RINGS), 2)),
        depths=rng.uniform(0.45, 1, RAYS),
    )


def _break(web: _Web, reach: float, height: int, width: int) -> _Broken:
    across, down = pixel_grid(height, width)
    points = web.impact * (width, height) + web.corners * width
    distance = np.hypot(across - web.impact[0] * width, down - web.impact[1] * height)
    reached = np.clip(reach * width - distance, 0, 1)
    lines = _lines(web, points, height, width) * reached
    slips = _slips(web, points, height, width) * (width * reached)[..., None]
    shadow = np.roll(lines, (1, 1), axis=(0, 1)) * SHADOW
    bright = lines * np.float32(CRACK_OPACITY)
    return _Broken(
        across=np.asarray(across - 0.5 + slips[..., 0], np.float32),
        down=np.asarray(down - 0.5 + slips[..., 1], np.float32),
        kept=np.asarray(((1 - bright) * (1 - shadow))[..., None], np.float32),
        added=np.asarray((CRACK_LEVEL * bright)[..., None], np.float32),
    )


def _lines(web: _Web, points: NDArray[np.float64], height: int, width: int) -> Mask:
    drawn = np.zeros((height, width), np.uint8)
    thick = max(1, round(width / 400))
    for ray in range(RAYS):
        depth = 255 * web.depths[ray]
        cv2.polylines(drawn, [_whole(points[ray])], False, depth, thick, cv2.LINE_AA)
        for ring in np.flatnonzero(web.crossed[ray]):
            crossing = _whole(points[[ray, (ray + 1) % RAYS], ring])
            cv2.polylines(drawn, [crossing], False, depth, thick, cv2.LINE_AA)
    core = drawn.astype(np.float32) / np.float32(255)
    return np.asarray(np.minimum(core + 0.3 * soften(core, width / 250), 1), np.float32)


def _slips(web: _Web, points: NDArray[np.float64], height: int, width: int) -> Mask:
    """By how many widths each pixel's shard slipped, (height, width, 2); a shard ends at cracks."""
    slips = np.zeros((height, width, 2), np.float32)
    for ray in range(RAYS):
        beside, shard = (ray + 1) % RAYS, 0
        for ring in range(1, len(RINGS)):
            if web.crossed[ray, ring - 1]:
                shard = ring
            corners = [
                *points[ray, [ring - 1, ring]],
                *points[beside, [ring, ring - 1]],
            ]
            cv2.fillPoly(slips, [_whole(np.array(corners))], web.slips[ray, shard].tolist())
    return slips


def _whole(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.rint(points).astype(np.int32)
