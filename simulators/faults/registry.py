"""The faults there are. One joins by being written: decorate a function with ``@fault``."""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias, TypeVar, cast, overload

import numpy as np

from stream.messages import Floats, Kind, Pixels


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
class Signal:
    """What a vector fault may know of its stream; arrays have shape (channels,)."""

    rate_hz: float
    spread: Floats  # standard deviation of each channel over the recording
    noise_sd: Floats  # the sensor's own noise; zeros where unknown
    names: tuple[str, ...] = ()


ImageInjector: TypeAlias = Callable[[Pixels, float], Pixels]
"""(frame uint8 (height, width, 3) RGB, seconds since onset) -> frame of the same shape."""

VectorInjector: TypeAlias = Callable[[Floats, Floats], Floats]
"""(values (n, channels), seconds since onset (n,)) -> values; called in the order of time.

Neither kind writes into its argument, and how samples are batched changes nothing.
"""

Injector: TypeAlias = ImageInjector | VectorInjector
StartImage: TypeAlias = Callable[[float, np.random.Generator, None], ImageInjector]
StartVector: TypeAlias = Callable[[float, np.random.Generator, Signal], VectorInjector]
StartT = TypeVar("StartT", bound=Callable[..., Injector])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One entry of the catalogue.

    ``parameter`` names what severity scales, with its unit and its value at severity 1;
    ``published_range`` are the severities that the authors' parameter range spans (protocol A).
    """

    name: str
    kind: Kind
    origin: Origin
    parameter: str
    published_range: tuple[float, float]
    start: Callable[..., Injector]


FAULTS: dict[tuple[Kind, str], Fault] = {}


def fault(
    *,
    name: str,
    kind: Kind,
    origin: Origin,
    parameter: str,
    published_range: tuple[float, float],
) -> Callable[[StartT], StartT]:
    """Enter a start function ``(severity, rng, signal) -> injector`` into the catalogue.

    It draws everything that lasts over an injection from ``rng`` at once; ``signal`` is None for
    images. What severity scales is linear from 0 to the catalogue's maximum at 1.
    """

    def enter(start_fault: StartT) -> StartT:
        if (kind, name) in FAULTS:
            raise ValueError(f"the {kind} fault {name!r} is in the catalogue already")
        FAULTS[kind, name] = Fault(
            name=name,
            kind=kind,
            origin=origin,
            parameter=parameter,
            published_range=published_range,
            start=start_fault,
        )
        return start_fault

    return enter


def catalogue() -> Mapping[tuple[Kind, str], Fault]:
    """Every fault there is, by kind and name; loads the modules beside this one on first use."""
    package = importlib.import_module(__name__.rpartition(".")[0])
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return FAULTS


def fault_names(kind: Kind) -> list[str]:
    """Names of the faults of one kind of modality, sorted."""
    return sorted(name for entry_kind, name in catalogue() if entry_kind is kind)


def lookup(kind: Kind, name: str) -> Fault:
    """Give the fault of this name; raises UnknownFault, which lists the names there are."""
    found = catalogue().get((kind, name))
    if found is None:
        known = ", ".join(fault_names(kind))
        raise UnknownFault(f"no {kind} fault is named {name!r}; there are: {known}")
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
    kind: Kind, name: str, severity: float, seed: int, signal: Signal | None = None
) -> Injector: ...
def start(
    kind: Kind, name: str, severity: float, seed: int, signal: Signal | None = None
) -> Injector:
    """Begin one injection: everything random in it follows from ``seed``.

    Severity 0 gives the input back unchanged. Raises UnknownFault for a name that is not there,
    FaultError for a severity outside [0, 1] or a vector fault without its signal.
    """
    entry = lookup(kind, name)
    if not 0 <= severity <= 1:
        raise FaultError(f"{name}: severity {severity} lies outside 0 to 1")
    if kind is Kind.VECTOR and signal is None:
        raise FaultError(f"{name}: a vector fault needs the signal that it scales with")
    if severity == 0:
        return cast(Injector, _unchanged)
    return entry.start(severity, np.random.default_rng(seed), signal)


def _unchanged(values: Floats, seconds: Floats) -> Floats:
    return values
