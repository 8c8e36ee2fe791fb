"""The faults there are. One joins by being written: decorate a function with ``@fault``."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeAlias, TypeVar, cast, overload

import numpy as np

from simulators.faults.parts import SENSORS, Part, Signal, Struck, draw_struck
from stream.messages import Floats, Kind, Pixels, Reading


class FaultError(Exception):
    """A fault that cannot be injected as asked: says why, and what can."""


class UnknownFault(FaultError):
    """A name that the catalogue does not hold for this kind of modality."""


class Origin(StrEnum):
    """Where a fault arises; recall is reported by it."""

    UPSTREAM = "upstream"  # the joint, the light: before the sensor's own noise
    SENSOR = "sensor"  # the encoder, the chip
    TRANSPORT = "transport"  # bytes and time


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A reading on its way to the broker, and when it is sent on the replay's clock.

    ``payload`` is what the wire carries in place of the reading; None is the reading itself.
    """

    reading: Reading
    due_ns: int
    payload: bytes | None = None


ImageInjector: TypeAlias = Callable[[Pixels, float], Pixels]
"""(frame uint8 (height, width, 3) RGB, seconds since onset) -> frame of the same shape.

A fault with a memory is first shown frames of before the onset, with negative seconds.
"""

VectorInjector: TypeAlias = Callable[[Floats, Floats], Floats]
"""(values (n, channels), seconds since onset (n,)) -> values; called in the order of time.

Neither kind writes into its argument, and how samples are batched changes nothing.
"""

StreamInjector: TypeAlias = Callable[[Outgoing, float], list[Outgoing]]
"""(a reading of either kind, its seconds since onset) -> what is sent instead, never earlier."""

Injector: TypeAlias = ImageInjector | VectorInjector | StreamInjector
StartImage: TypeAlias = Callable[[float, np.random.Generator], ImageInjector]
StartVector: TypeAlias = Callable[[float, np.random.Generator, Signal, Struck], VectorInjector]
StartStream: TypeAlias = Callable[[float, np.random.Generator], StreamInjector]
StartT = TypeVar("StartT", bound=Callable[..., Injector])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One entry of the catalogue.

    ``scales`` names what severity scales, linearly from 0 to ``maximum`` (in ``unit``) at severity
    1; a fault that is there or not has no maximum. ``published_range`` are the severities that the
    authors' parameter range spans (protocol A), or noticeable ones where they give no figures.
    ``kind`` is None for what happens to readings of either kind on their way. ``parts`` is where a
    vector fault may strike, ``memory_s`` how much of what came before its onset a fault is shown.
    """

    name: str
    kind: Kind | None
    origin: Origin
    scales: str
    maximum: float | None
    unit: str
    published_range: tuple[float, float]
    parts: tuple[Part, ...]
    fewest: int
    memory_s: float
    start: Callable[..., Injector]

    @property
    def parameter(self) -> str:
        """What severity scales, with its value and unit at severity 1."""
        if self.maximum is None:
            return f"nothing: {self.scales}"
        return f"{self.scales}, {self.maximum:g}{self.unit and ' '}{self.unit} at 1"

    def struck(self, seed: int, signal: Signal) -> Struck:
        """Tell what an injection of this vector fault with this seed strikes."""
        return draw_struck(np.random.default_rng(seed), signal, self.parts, self.fewest)


FAULTS: dict[tuple[Kind | None, str], Fault] = {}


def fault(
    *,
    name: str,
    kind: Kind | None,
    origin: Origin,
    scales: str,
    maximum: float | None,
    unit: str = "",
    published_range: tuple[float, float],
    parts: tuple[Part, ...] = SENSORS,
    fewest: int = 1,
    memory_s: float = 0.0,
) -> Callable[[StartT], StartT]:
    """Enter a start function into the catalogue; see Fault for the settings.

    It is called with the physical amount (severity times ``maximum``, 1 where there is none) and
    a generator, for vectors with the signal and what is struck too. It draws everything that lasts
    over an injection at once and gives an injector.
    """

    def enter(start_fault: StartT) -> StartT:
        if {(kind, name), (None, name)} & FAULTS.keys():
            raise ValueError(f"the {kind or 'stream'} fault {name!r} is in the catalogue already")
        FAULTS[kind, name] = Fault(
            name=name,
            kind=kind,
            origin=origin,
            scales=scales,
            maximum=maximum,
            unit=unit,
            published_range=published_range,
            parts=parts if kind is Kind.VECTOR else (),
            fewest=fewest,
            memory_s=memory_s,
            start=start_fault,
        )
        return start_fault

    return enter


def catalogue() -> Mapping[tuple[Kind | None, str], Fault]:
    """Every fault there is, by kind and name; loads the modules beside this one on first use."""
    package = importlib.import_module(__name__.rpartition(".")[0])
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return FAULTS


def fault_names(kind: Kind | None) -> list[str]:
    """Names of the faults of one kind of modality, sorted; of None those of streams alone."""
    return sorted(name for entry_kind, name in catalogue() if entry_kind is kind)


def names_for(kind: Kind) -> list[str]:
    """Names of everything that can be injected into a modality of this kind, sorted."""
    return sorted([*fault_names(kind), *fault_names(None)])


def lookup(kind: Kind | None, name: str) -> Fault:
    """Give the fault of this name, of the kind itself or of streams.

    Raises UnknownFault, which lists the names there are.
    """
    entries = catalogue()
    found = entries.get((kind, name)) or entries.get((None, name))
    if found is None:
        known = ", ".join(fault_names(None) if kind is None else names_for(kind))
        raise UnknownFault(f"no {kind or 'stream'} fault is named {name!r}; there are: {known}")
    return found


@overload
def start(
    kind: Literal[Kind.IMAGE], name: str, severity: float, seed: int, signal: Signal | None = None
) -> ImageInjector: ...
@overload
def start(
    kind: Literal[Kind.VECTOR], name: str, severity: float, seed: int, signal: Signal | None = None
) -> VectorInjector: ...
@overload
def start(
    kind: None, name: str, severity: float, seed: int, signal: Signal | None = None
) -> StreamInjector: ...
@overload
def start(
    kind: Kind | None, name: str, severity: float, seed: int, signal: Signal | None = None
) -> Injector: ...
def start(
    kind: Kind | None, name: str, severity: float, seed: int, signal: Signal | None = None
) -> Injector:
    """Begin one injection: everything random in it follows from ``seed``.

    ``kind`` is the fault's own, None for streams. Severity 0 gives the input back unchanged.
    Raises UnknownFault for a name that is not there, FaultError for a severity outside [0, 1] or
    a vector fault without its signal.
    """
    entry = lookup(kind, name)
    if entry.kind is not kind:
        raise UnknownFault(f"{name!r} is a fault of streams, not of {kind}s")
    if not 0 <= severity <= 1:
        raise FaultError(f"{name}: severity {severity} lies outside 0 to 1")
    if kind is Kind.VECTOR and signal is None:
        raise FaultError(f"{name}: a vector fault needs the signal that it scales with")
    if severity == 0:
        return _untouched if kind is None else cast(Injector, _unchanged)
    amount = 1.0 if entry.maximum is None else severity * entry.maximum
    rng = np.random.default_rng(seed)
    if signal is None or kind is not Kind.VECTOR:
        return entry.start(amount, rng)
    return entry.start(amount, rng, signal, draw_struck(rng, signal, entry.parts, entry.fewest))


def _unchanged(values: Any, seconds: Any) -> Any:
    return values


def _untouched(outgoing: Outgoing, seconds: float) -> list[Outgoing]:
    return [outgoing]
