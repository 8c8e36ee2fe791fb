"""The values that pass through the stream, from a reading to a verdict.

All times are event times: nanoseconds since the epoch, as the sensor's own clock gave them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float64]
TimesNs: TypeAlias = NDArray[np.int64]


class Kind(StrEnum):
    """What a modality carries."""

    IMAGE = "image"
    VECTOR = "vector"


class TimeSource(StrEnum):
    """Whose clock a reading's time is from; only the first is event time."""

    CAPTURE = "capture"
    BROKER = "broker"
    ARRIVAL = "arrival"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a message came from, so that evidence can be found again."""

    topic: str
    partition: int | None = None
    offset: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One image reading. ``pixels`` is uint8 (height, width, 3), RGB, once it was decoded."""

    modality: str
    time_ns: int
    data: bytes
    format: str
    pixels: Pixels | None = None
    source: Source | None = None
    time_source: TimeSource = TimeSource.CAPTURE

    @property
    def size_bytes(self) -> int:
        """What holding this frame costs."""
        return len(self.data) + (0 if self.pixels is None else self.pixels.nbytes)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """A micro-batch of vector readings: ``times_ns`` (n,) and ``values`` (n, channels)."""

    modality: str
    times_ns: TimesNs
    values: Floats
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    time_source: TimeSource = TimeSource.CAPTURE

    @property
    def time_ns(self) -> int:
        """Capture time of the newest sample."""
        return int(self.times_ns.max())

    @property
    def size_bytes(self) -> int:
        """What holding these samples costs."""
        return int(self.times_ns.nbytes + self.values.nbytes)


Reading: TypeAlias = Frame | Samples


LONGEST_DETAIL = 300  # characters: facts may quote the input, which may be of any length


class Malformed(ValueError):
    """Input that cannot be read. ``reason`` is a short label, ``detail`` the facts."""

    def __init__(self, reason: str, detail: str = "") -> None:
        detail = detail if len(detail) <= LONGEST_DETAIL else f"{detail[:LONGEST_DETAIL]}…"
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class ClosedBy(StrEnum):
    """Why a window was closed when it was."""

    WATERMARK = "watermark"  # every live modality had passed it
    IDLE = "idle"  # a silent modality was not waited for
    FLUSH = "flush"  # the stream ended


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageView:
    """What a window holds of an image modality; ``frame`` is None where it is masked."""

    frame: Frame | None
    previous: Frame | None
    skew_ns: int
    largest_gap_ns: int

    @property
    def present(self) -> bool:
        """Whether a frame recent enough was there."""
        return self.frame is not None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorView:
    """What a window holds of a vector modality.

    ``values`` is (samples, channels) on a fixed grid ending at the anchor; ``supported`` (samples,)
    says which grid points lie between readings close enough to interpolate.
    """

    values: Floats
    supported: NDArray[np.bool_]
    skew_ns: int
    largest_gap_ns: int
    readings: int

    @property
    def present(self) -> bool:
        """Whether every grid point is supported."""
        return bool(self.supported.all())


View: TypeAlias = ImageView | VectorView


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What was heard of a station since the window before, beside what its windows hold.

    ``refused[modality][label]`` counts samples, ``payload[modality]`` is how many the last payload
    held, ``lags_ns[modality]`` how far it lay behind the station's newest reading.
    """

    refused: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    payload: Mapping[str, int] = field(default_factory=dict)
    lags_ns: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """One multimodal window. Identity: station, epoch, anchor time.

    ``time_sources`` names the modalities that are aligned by another clock than their own.
    ``memory`` is what the aligner remembers right after it closed.
    """

    station: str
    epoch: int
    anchor_ns: int
    closed_by: ClosedBy
    views: Mapping[str, View]
    idle: frozenset[str] = frozenset()
    time_sources: Mapping[str, TimeSource] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard)
    memory: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rejected:
    """A reading that no window will use, and why."""

    modality: str
    reason: str
    detail: str
    time_ns: int
    reading: Reading
    late_by_ns: int = 0

    @property
    def samples(self) -> int:
        """How many samples, or one frame, were refused."""
        return 1 if isinstance(self.reading, Frame) else len(self.reading.times_ns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """The source of a modality has nothing more to give at present."""

    modality: str
