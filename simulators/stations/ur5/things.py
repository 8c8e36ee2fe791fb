"""What lies on the table: coloured blocks and an open box, placed anew for each trajectory."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from simulators.stations.ur5.cell import BLOCKS
from stream.messages import Floats

_LEAST_BLOCKS = 3
_BLOCK_APART_M = 0.09
_BOX_APART_M = 0.17
_TRIES = 1000

# Rectangles of the table as (x least, x most), (y least, y most), in metres of the world's frame:
# in the arm's reach, and for the unfamiliar its borders.
_BLOCKS_USUALLY = (((0.27, 0.62), (-0.37, 0.37)),)
_BLOCKS_RARELY = (((0.68, 0.76), (-0.15, 0.42)), ((0.10, 0.60), (0.44, 0.57)))
_BOX_USUALLY = (((0.30, 0.52), (0.20, 0.36)), ((0.30, 0.52), (-0.36, -0.20)))
_BOX_RARELY = (((-0.08, 0.14), (0.44, 0.52)), ((0.62, 0.66), (0.00, 0.28)))

_BLOCK_COLOURS_USUALLY = np.array(
    [(0.70, 0.11, 0.09), (0.84, 0.66, 0.08), (0.09, 0.25, 0.60), (0.12, 0.46, 0.18)]
)
_BLOCK_COLOURS_RARELY = np.array(
    [(0.44, 0.12, 0.58), (0.92, 0.92, 0.90), (0.05, 0.05, 0.06), (0.90, 0.42, 0.58)]
)
_BOX_COLOURS_USUALLY = np.array([(0.34, 0.38, 0.44), (0.58, 0.47, 0.33)])
_BOX_COLOURS_RARELY = np.array([(0.66, 0.08, 0.32), (0.08, 0.60, 0.58)])
_COLOUR_SPREAD = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Where a thing stands on the table (2,) in metres, its turn, half sizes (3,), colour (3,)."""

    at_m: Floats
    turn_rad: float
    half_m: Floats
    colour: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """Everything on the table in one trajectory."""

    blocks: tuple[Thing, ...]
    box: Thing


_Rectangles = tuple[tuple[tuple[float, float], tuple[float, float]], ...]


def draw_things(random: Generator, unfamiliar: bool = False) -> Things:
    """Draw blocks and box, apart from each other.

    ``unfamiliar`` ones have colours that no usual thing has and stand where none stands.
    """
    box_places, box_colours, block_places, block_colours = (
        (_BOX_RARELY, _BOX_COLOURS_RARELY, _BLOCKS_RARELY, _BLOCK_COLOURS_RARELY)
        if unfamiliar
        else (_BOX_USUALLY, _BOX_COLOURS_USUALLY, _BLOCKS_USUALLY, _BLOCK_COLOURS_USUALLY)
    )
    box = Thing(
        at_m=_draw_place(random, box_places),
        turn_rad=float(random.uniform(-0.5, 0.5)),
        half_m=np.array([0.108, 0.078, 0.030]),
        colour=_draw_colour(random, box_colours),
    )
    count = int(random.integers(_LEAST_BLOCKS, BLOCKS + 1))
    spots = _draw_spots(random, box, block_places, count)
    blocks = tuple(_draw_block(random, spot, block_colours) for spot in spots)
    return Things(blocks=blocks, box=box)


def _draw_spots(
    random: Generator, box: Thing, places: _Rectangles, count: int
) -> list[NDArray[np.float64]]:
    """Places apart from the box and from each other: ``count``, or fewer where none is free."""
    spots: list[NDArray[np.float64]] = []
    for _ in range(_TRIES):
        spot = _draw_place(random, places)
        apart_m = [float(np.linalg.norm(spot - other)) for other in spots]
        if (
            np.linalg.norm(spot - box.at_m) > _BOX_APART_M
            and min(apart_m, default=np.inf) > _BLOCK_APART_M
        ):
            spots.append(spot)
        if len(spots) == count:
            break
    return spots


def _draw_block(random: Generator, spot: Floats, colours: Floats) -> Thing:
    return Thing(
        at_m=spot,
        turn_rad=float(random.uniform(-np.pi, np.pi)),
        half_m=random.uniform((0.018, 0.018, 0.016), (0.034, 0.026, 0.030)),
        colour=_draw_colour(random, colours),
    )


def _draw_place(random: Generator, places: _Rectangles) -> NDArray[np.float64]:
    (x_least, x_most), (y_least, y_most) = places[random.integers(len(places))]
    return random.uniform((x_least, y_least), (x_most, y_most))


def _draw_colour(random: Generator, colours: Floats) -> Floats:
    chosen = colours[random.integers(len(colours))]
    result: Floats = np.clip(chosen + random.normal(0, _COLOUR_SPREAD, 3), 0.02, 1.0)
    return result
