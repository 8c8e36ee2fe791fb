"""What a session's clean windows leave behind: what its pictures usually are, and the last ones.

Light, mount and wear are a session's own. What a camera shows all the time says more about this
session than everything that training saw.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[np.float32]
Half: TypeAlias = NDArray[np.float16]

REMEMBERED = 60  # windows over which the running means of pictures go
WORN = 240  # and of friction: an arm may rest for seconds
LEAST = 10  # windows before it counts
RENEWED = 16  # windows after which what is judged by is renewed


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trace:
    """What one window may leave behind, by modality.

    Of images ``small`` (3, 64, 64), its ``coefficients`` and the ``expected`` ones, each
    (components,), and ``detail`` (128, 128); of vectors ``samples`` (T, C), standardised, and
    ``friction`` (2, C).
    """

    small: Mapping[str, Array] = field(default_factory=dict)
    coefficients: Mapping[str, Array] = field(default_factory=dict)
    expected: Mapping[str, Array] = field(default_factory=dict)
    detail: Mapping[str, Array] = field(default_factory=dict)
    samples: Mapping[str, Array] = field(default_factory=dict)
    friction: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recollection:
    """What is remembered of one modality; ``arrays`` by name, empty before the first window.

    ``usual_small``, ``usual_expected``, ``usual_detail`` and ``friction`` are running means;
    ``last_…`` is of the last clean window, ``age`` windows ago. They are kept in half precision, so
    that a snapshot loses nothing.
    """

    windows: int = 0
    age: int = 0
    arrays: Mapping[str, Half] = field(default_factory=dict)

    def snapshot(self) -> dict[str, Any]:
        """Return it as plain data."""
        arrays = {
            key: {"shape": list(array.shape), "data": array.tobytes()}
            for key, array in self.arrays.items()
        }
        return {"windows": self.windows, "age": self.age, "arrays": arrays}

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> "Recollection":
        """Return the recollection that gave ``snapshot``."""
        return cls(
            windows=snapshot["windows"],
            age=snapshot["age"],
            arrays={
                key: np.frombuffer(one["data"], np.float16).reshape(one["shape"])
                for key, one in snapshot["arrays"].items()
            },
        )


Usual: TypeAlias = Mapping[str, Tensor]
"""What a session usually shows of one modality, as B windows are judged by it, each (B, …).

Of images ``residual`` and ``surprise``, its usual small frames (B, 3, 64, 64) minus what the
scene's components and what the vectors explain of them, ``detail`` (B, 128, 128), and ``counts``,
bool (B,), whether they count; of vectors ``friction`` (B, 2, C). Zeros where nothing is known.
"""

Usuals: TypeAlias = Mapping[str, Usual]
"""`Usual` by modality."""

UsualOf: TypeAlias = Callable[[Mapping[str, Recollection]], Usuals]
"""What is remembered of a session -> what one window (B = 1) of it is judged by."""

Recall: TypeAlias = Callable[[Sequence[Trace]], Sequence[Usuals]]
"""What B windows may leave behind -> what each of them (B = 1) is judged by."""


class Memory:
    """The recollections of one session, modality by modality.

    ``now`` has taken in every window so far; ``steady`` is what windows are judged by, and
    ``usual`` what the model makes of it. Both are renewed only after each `RENEWED` windows: so a
    verdict does not depend on how many windows are judged at once.
    """

    def __init__(self, usual_of: UsualOf) -> None:
        self.now: dict[str, Recollection] = {}
        self.steady: dict[str, Recollection] = {}
        self.usual = usual_of(self.steady)
        self._usual_of = usual_of
        self._passed = 0

    @property
    def until_renewed(self) -> int:
        """How many windows may be judged by ``steady`` as it is."""
        return RENEWED - self._passed % RENEWED

    def add(self, trace: Trace, clean: Iterable[str]) -> None:
        """Take in a window: its modalities judged ``clean`` are remembered, the others age."""
        kept = set(clean)
        self.now = {
            name: _followed(self.now.get(name, Recollection()), trace, name, name in kept)
            for name in {*self.now, *trace.small, *trace.samples}
        }
        self._passed += 1
        if self._passed % RENEWED == 0:
            self.steady = self.now
            self.usual = self._usual_of(self.steady)

    def snapshot(self) -> dict[str, Any]:
        """Return the memory as plain data; arrays as bytes."""
        return {
            "passed": self._passed,
            "now": {name: known.snapshot() for name, known in self.now.items()},
            "steady": {name: known.snapshot() for name, known in self.steady.items()},
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], usual_of: UsualOf) -> "Memory":
        """Return the memory that gave ``snapshot``."""
        memory = cls(usual_of)
        memory._passed = snapshot["passed"]
        memory.now = {name: Recollection.restore(one) for name, one in snapshot["now"].items()}
        steady = snapshot["steady"]
        memory.steady = {name: Recollection.restore(one) for name, one in steady.items()}
        memory.usual = usual_of(memory.steady)
        return memory


def _followed(known: Recollection, trace: Trace, name: str, clean: bool) -> Recollection:
    """Return what is remembered of a modality after one more window."""
    if not clean:
        return replace(known, age=known.age + 1)
    windows = known.windows + 1
    if name in trace.samples:
        arrays = _remembered_vector(known, trace, name, windows)
    else:
        arrays = _remembered_image(known, trace, name, windows)
    return Recollection(windows=windows, age=0, arrays=arrays)


def running_mean(before: Array | Half, value: Array, windows: int, longest: int) -> Array:
    """Return the mean with one more value, the ``windows``-th; of about the ``longest`` last."""
    return np.asarray(before + np.float32(1 / min(windows, longest)) * (value - before))


def _remembered_vector(
    known: Recollection, trace: Trace, name: str, windows: int
) -> dict[str, Half]:
    friction = trace.friction[name]
    before = known.arrays.get("friction", friction)
    mean = running_mean(before, friction, windows, WORN)
    return {
        "last_samples": trace.samples[name].astype(np.float16),
        "friction": mean.astype(np.float16),
    }


def _remembered_image(
    known: Recollection, trace: Trace, name: str, windows: int
) -> dict[str, Half]:
    values = {
        "usual_small": trace.small[name],
        "usual_expected": trace.expected[name],
        "usual_detail": trace.detail[name],
    }
    usual = {
        key: running_mean(known.arrays.get(key, value), value, windows, REMEMBERED)
        for key, value in values.items()
    }
    last = {
        "last_coefficients": trace.coefficients[name],
        "last_expected": trace.expected[name],
    }
    return {key: value.astype(np.float16) for key, value in (usual | last).items()}


def together(usuals: Sequence[Usuals]) -> dict[str, dict[str, Tensor]]:
    """Put what each of B windows is judged by together."""
    return {
        name: {key: torch.cat([one[name][key] for one in usuals]) for key in usual}
        for name, usual in usuals[0].items()
    }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Last:
    """What K windows are corrected from: their sessions' last clean window, of one modality.

    ``arrays[key]`` (K, …) are those ``last_…`` of `Recollection`, zeros where there is none;
    ``known`` bool (K,) says where there is one, ``age`` (K,) how many windows ago.
    """

    arrays: Mapping[str, Tensor]
    known: Tensor
    age: Tensor


def last_of(
    recollections: Sequence[Recollection],
    shapes: Mapping[str, tuple[int, ...]],
    device: torch.device,
) -> Last:
    """Put the last clean windows of one modality together; ``shapes`` of the arrays, by name."""
    zeros = {key: np.zeros(shape, np.float16) for key, shape in shapes.items()}
    arrays = {
        key: torch.from_numpy(np.stack([one.arrays.get(key, zero) for one in recollections]))
        for key, zero in zeros.items()
    }
    return Last(
        arrays={key: array.to(device).float() for key, array in arrays.items()},
        known=torch.tensor([one.windows > 0 for one in recollections], device=device),
        age=torch.tensor([float(one.age) for one in recollections], device=device),
    )
