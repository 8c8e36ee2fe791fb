"""Which faults are injected when: a configuration, and the plan that a seed makes of it.

Times are seconds since the start of the replay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from simulators.faults.registry import FaultError, lookup, names_for
from simulators.recordings.recording import Modality
from stream.messages import Kind

CLEAN_S = 3.0
STRETCHES = (1.0, 0.75, 0.5, 0.25, 0.0)


class ScenarioError(Exception):
    """A scenario that cannot be played: one line for each mistake, with its path."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One fault to come, ``at_s`` seconds after the start."""

    at_s: float
    modality: str
    fault: str
    severity: float
    seconds: float
    seed: int

    @property
    def end_s(self) -> float:
        """When it ends, seconds after the start."""
        return self.at_s + self.seconds


def _known(name: str) -> str:
    names = {kind: names_for(kind) for kind in Kind}
    if not any(name in known for known in names.values()):
        listed = "; ".join(f"{kind}: {', '.join(known)}" for kind, known in names.items())
        raise ValueError(f"no fault is named {name!r}; there are {listed}")
    return name


def _rising(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"[{bounds[0]}, {bounds[1]}] falls; write the smaller number first")
    return bounds


FaultName = Annotated[str, AfterValidator(_known)]
Severity = Annotated[float, Field(ge=0, le=1)]
Seconds = Annotated[float, Field(gt=0)]
Gap = Annotated[float, Field(ge=CLEAN_S)]
Severities = Annotated[tuple[Severity, Severity], AfterValidator(_rising)]
Lengths = Annotated[tuple[Seconds, Seconds], AfterValidator(_rising)]
Gaps = Annotated[tuple[Gap, Gap], AfterValidator(_rising)]


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FixedFault(_Settings):
    """A fault at a fixed time; without a seed of its own it takes one from the run's."""

    at_s: float = Field(ge=0)
    modality: str
    fault: FaultName
    severity: Severity
    seconds: Seconds
    seed: int | None = Field(default=None, ge=0)


class RandomFaults(_Settings):
    """Faults drawn by the run's seed. ``faults`` lists, by modality, what may be drawn.

    Every listed fault comes once before one comes again, and the modalities take turns as far as
    their lists allow. Ranges are [lowest, highest]; a gap is clean time between two faults.
    """

    count: int = Field(ge=1)
    first_s: float = Field(default=6.0, ge=0)
    gap_s: Gaps = (4.0, 6.0)
    seconds: Lengths = (3.0, 4.5)
    severity: Severities = (0.3, 0.8)
    faults: dict[str, Annotated[list[FaultName], Field(min_length=1)]] = Field(min_length=1)


class Scenario(_Settings):
    """A file of ``kind: scenario``. Fixed faults may overlap one another; random ones never do."""

    kind: Literal["scenario"]
    injections: list[FixedFault] = []
    random: RandomFaults | None = None

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        if not self.injections and self.random is None:
            raise ValueError("no fault in it: write injections, random or both")
        return self


def plan(
    scenario: Scenario, seed: int, duration_s: float, modalities: Mapping[str, Modality]
) -> list[Planned]:
    """Lay a scenario out over ``duration_s`` seconds, in the order of time; the same by seed.

    Random faults keep at least 3 s of clean time to every other fault and to the end. Where the
    drawn lengths and gaps do not fit they are shortened towards their lower bounds. Raises
    ScenarioError with every mistake: unknown modalities, faults of another kind, too little time.
    """
    fixed = [_placed(fault, (seed, 1, at)) for at, fault in enumerate(scenario.injections)]
    rng = np.random.default_rng((seed, 0))
    mistakes = [*_misnamed(scenario, modalities), *_beyond(fixed, duration_s)]
    spans: list[tuple[float, float]] = []
    if scenario.random is not None:
        try:
            spans = _laid_out(scenario.random, fixed, duration_s, rng)
        except ScenarioError as error:
            mistakes += error.mistakes
    if mistakes:
        raise ScenarioError(mistakes)
    drawn = [] if scenario.random is None else _drawn(scenario.random, spans, rng)
    return sorted([*fixed, *drawn], key=lambda planned: (planned.at_s, planned.modality))


def _placed(fault: FixedFault, seeds: tuple[int, ...]) -> Planned:
    return Planned(
        at_s=fault.at_s,
        modality=fault.modality,
        fault=fault.fault,
        severity=fault.severity,
        seconds=fault.seconds,
        seed=_seed(np.random.default_rng(seeds)) if fault.seed is None else fault.seed,
    )


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 32))


def _misnamed(scenario: Scenario, modalities: Mapping[str, Modality]) -> list[str]:
    """One line for each modality or fault that this recording does not have."""
    mistakes = []
    for at, fixed in enumerate(scenario.injections):
        if fixed.modality not in modalities:
            mistakes.append(_no_modality(f"injections.{at}.modality", fixed.modality, modalities))
        else:
            kind = modalities[fixed.modality].kind
            mistakes += _wrong_kind(f"injections.{at}.fault", kind, fixed.fault)
    for name, faults in scenario.random.faults.items() if scenario.random else ():
        if name not in modalities:
            mistakes.append(_no_modality(f"random.faults.{name}", name, modalities))
            continue
        for at, fault in enumerate(faults):
            mistakes += _wrong_kind(f"random.faults.{name}.{at}", modalities[name].kind, fault)
    return mistakes


def _no_modality(path: str, name: str, modalities: Mapping[str, Modality]) -> str:
    return f"{path}: no modality is named {name!r}; the recording has {', '.join(modalities)}"


def _wrong_kind(path: str, kind: Kind, fault: str) -> list[str]:
    try:
        lookup(kind, fault)
    except FaultError as error:
        return [f"{path}: {error}"]
    return []


def _beyond(fixed: Sequence[Planned], duration_s: float) -> list[str]:
    return [
        f"injections.{at}: ends at {planned.end_s:g} s, the replay at {duration_s:g} s"
        for at, planned in enumerate(fixed)
        if planned.end_s > duration_s
    ]


def _laid_out(
    random: RandomFaults, fixed: Sequence[Planned], duration_s: float, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """(start, length) in seconds of each random fault, as drawn or, where too long, shortened."""
    lengths, gaps = rng.random((2, random.count))
    spans: list[tuple[float, float]] = []
    for stretch in STRETCHES:
        spans = _spans(random, fixed, stretch * lengths, stretch * gaps)
        if sum(spans[-1]) + CLEAN_S <= duration_s:
            return spans
    fitting = sum(start + length + CLEAN_S <= duration_s for start, length in spans)
    raise ScenarioError(
        [
            f"random.count: {random.count} faults need {sum(spans[-1]) + CLEAN_S:g} s at least, "
            f"there are {duration_s:g} s; {fitting} would fit"
        ]
    )


def _spans(
    random: RandomFaults, fixed: Sequence[Planned], lengths: Sequence[float], gaps: Sequence[float]
) -> list[tuple[float, float]]:
    """Place the faults one after the other; ``lengths`` and ``gaps`` lie between 0 and 1."""
    spans = []
    start = random.first_s
    for length_share, gap_share in zip(lengths, gaps, strict=True):
        length = round(_between(random.seconds, float(length_share)), 3)
        start = _clear_of(fixed, start, length)
        spans.append((start, length))
        # Whole milliseconds read well; rounding up keeps the gap.
        start = ceil((start + length + _between(random.gap_s, float(gap_share))) * 1000) / 1000
    return spans


def _between(bounds: tuple[float, float], share: float) -> float:
    return bounds[0] + share * (bounds[1] - bounds[0])


def _clear_of(fixed: Sequence[Planned], start: float, length: float) -> float:
    """The first time from ``start`` on that leaves clean time to every fixed fault."""
    for other in sorted(fixed, key=lambda planned: planned.at_s):
        if start < other.end_s + CLEAN_S and start + length > other.at_s - CLEAN_S:
            start = other.end_s + CLEAN_S
    return start


def _drawn(
    random: RandomFaults, spans: Sequence[tuple[float, float]], rng: np.random.Generator
) -> list[Planned]:
    return [
        Planned(
            at_s=start,
            modality=modality,
            fault=fault,
            severity=round(float(rng.uniform(*random.severity)), 2),
            seconds=length,
            seed=_seed(rng),
        )
        for (start, length), (modality, fault) in zip(spans, _order(random, rng), strict=True)
    ]


def _order(random: RandomFaults, rng: np.random.Generator) -> list[tuple[str, str]]:
    """(modality, fault) in turn: from the fullest pool that is not the last one's."""
    pools: dict[str, list[str]] = {}
    order: list[tuple[str, str]] = []
    while len(order) < random.count:
        if not any(pools.values()):
            pools = {name: list(rng.permutation(own)) for name, own in random.faults.items()}
        full = [name for name, pool in pools.items() if pool]
        others = [name for name in full if not order or name != order[-1][0]]
        most = max(len(pools[name]) for name in others or full)
        fullest = [name for name in others or full if len(pools[name]) == most]
        modality = fullest[int(rng.integers(len(fullest)))]
        order.append((modality, str(pools[modality].pop())))
    return order
