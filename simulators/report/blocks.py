"""What a section of the page is made of; plain data that the template lays out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure to be seen first."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """Figures side by side."""

    kind: ClassVar[str] = "tiles"
    tiles: tuple[Tile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text; the first ``labels`` columns say what the others are of."""

    kind: ClassVar[str] = "table"
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    labels: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What another system reaches on the same bar; ``tone`` picks its colour."""

    at: float
    tone: int
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A length with its figure, perhaps an interval from ``low`` to ``high``.

    The scale ends at 1; a longer bar is shown as running off it.
    """

    label: str
    length: float
    text: str
    note: str = ""
    low: float | None = None
    high: float | None = None
    marks: tuple[Mark, ...] = ()
    tone: int | None = 0  # None for what is no system: a bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Bars on one scale."""

    kind: ClassVar[str] = "bars"
    caption: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Shares by true class (rows) and named class (columns), both as in ``names``."""

    kind: ClassVar[str] = "matrix"
    caption: str
    names: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Picture:
    """A picture with what it shows; ``rgb`` is uint8 (height, width, 3)."""

    kind: ClassVar[str] = "picture"
    title: str
    caption: str
    rgb: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.rgb.dtype != np.uint8 or self.rgb.ndim != 3 or self.rgb.shape[2] != 3:
            raise ValueError(
                f"{self.title}: a picture is uint8 (height, width, 3), "
                f"not {self.rgb.dtype} {self.rgb.shape}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names and what they stand for; ``command`` is shown as it is typed."""

    kind: ClassVar[str] = "facts"
    facts: tuple[tuple[str, str], ...]
    command: str = ""


Block: TypeAlias = Tiles | Table | Bars | Matrix | Picture | Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page, with one sentence that says how to read it.

    ``legend`` names the tones of the marks on its bars.
    """

    title: str
    reading: str
    blocks: tuple[Block, ...]
    legend: tuple[tuple[str, int], ...] = ()


def table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[str]], labels: int = 1
) -> list[Block]:
    """Return a table without the rows and columns that say nothing; none if nothing is left."""
    told = [row for row in rows if any(row[labels:])]
    columns = [at for at in range(len(header)) if any(row[at] for row in told)]
    if not told:
        return []
    return [
        Table(
            caption=caption,
            header=tuple(header[at] for at in columns),
            rows=tuple(tuple(row[at] for at in columns) for row in told),
            labels=sum(at < labels for at in columns),
        )
    ]


def bars(caption: str, rows: Sequence[Bar]) -> list[Block]:
    """Return the bars as a block, none if there are none."""
    return [Bars(caption=caption, bars=tuple(rows))] if rows else []
