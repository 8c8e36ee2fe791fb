"""What of a robot a vector fault strikes: an encoder, a velocity alone, a torque alone.

Channels called ``position_k``, ``velocity_k`` and ``torque_k`` belong to joint k. Its position is
what the encoder measures, and the drive derives the velocity from it. Any other channel stands
alone.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from stream.messages import Floats

MOST_STRUCK = 3

_OF_A_JOINT = re.compile(r"(position|velocity|torque)_(.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What a vector fault may know of its stream; arrays have shape (channels,)."""

    rate_hz: float
    spread: Floats  # standard deviation of each channel over the recording
    noise_sd: Floats  # the sensor's own noise; zeros where unknown
    names: tuple[str, ...] = ()


class Part(StrEnum):
    """Where a vector fault strikes; recall can be reported by it."""

    JOINT = "joint"  # it moves otherwise: its position and its velocity
    ENCODER = "encoder"  # the position, and the velocity that the drive derives from it
    VELOCITY = "velocity"  # alone
    TORQUE = "torque"  # alone
    CHANNEL = "channel"  # a signal that belongs to no joint


SENSORS = (Part.ENCODER, Part.VELOCITY, Part.TORQUE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A column that is measured, and the one derived from it."""

    measured: int
    derived: int | None = None


def places(names: Iterable[str], channels: int) -> dict[Part, list[Place]]:
    """Every place there is to strike, by part; parts that are not there are left out."""
    joints: dict[str, dict[str, int]] = {}
    found: dict[Part, list[Place]] = {}
    for column, name in enumerate(list(names) or [""] * channels):
        match = _OF_A_JOINT.fullmatch(name)
        if match:
            joints.setdefault(match[2], {})[match[1]] = column
        else:
            found.setdefault(Part.CHANNEL, []).append(Place(measured=column))
    for columns in joints.values():
        for part in (Part.VELOCITY, Part.TORQUE):
            if part in columns:
                found.setdefault(part, []).append(Place(measured=columns[part]))
        if "position" in columns:
            whole = Place(measured=columns["position"], derived=columns.get("velocity"))
            found.setdefault(Part.JOINT, []).append(whole)
            found.setdefault(Part.ENCODER, []).append(whole)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """What one injection strikes: up to three places of one part.

    ``derived`` and ``source`` run in parallel: each derived column, and the measured one that it
    follows.
    """

    part: Part
    places: tuple[Place, ...]

    @property
    def measured(self) -> list[int]:
        """Columns that the fault changes of itself."""
        return [place.measured for place in self.places]

    @property
    def derived(self) -> list[int]:
        """Columns that follow from them."""
        return [place.derived for place in self.places if place.derived is not None]

    @property
    def source(self) -> list[int]:
        """The measured column of each derived one."""
        return [place.measured for place in self.places if place.derived is not None]

    @property
    def columns(self) -> list[int]:
        """Everything that changes."""
        return [*self.measured, *self.derived]


def draw_struck(
    rng: np.random.Generator, signal: Signal, parts: Iterable[Part], fewest: int = 1
) -> Struck:
    """Draw a part, any of those that move with equal chance, and up to three of its places.

    A signal of no joint may always be struck. Where too little moves, what rests is struck too.
    """
    there = places(signal.names, len(signal.spread))
    wanted = {part: there[part] for part in (*parts, Part.CHANNEL) if part in there}
    if not wanted:  # such as torques alone, where a joint was to be struck
        wanted = {Part.CHANNEL: [Place(measured=at) for at in range(len(signal.spread))]}
    moving = {
        part: [place for place in of_part if signal.spread[place.measured] > 0]
        for part, of_part in wanted.items()
    }
    enough = {part: of_part for part, of_part in moving.items() if len(of_part) >= fewest}
    drawn_from = enough or wanted
    part = list(drawn_from)[int(rng.integers(len(drawn_from)))]
    count = min(int(rng.integers(fewest, MOST_STRUCK + 1)), len(drawn_from[part]))
    chosen = rng.choice(len(drawn_from[part]), count, replace=False)
    return Struck(part=part, places=tuple(drawn_from[part][at] for at in chosen))
