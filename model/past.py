"""What a session's clean windows leave behind: what its pictures usually are, and the last ones.

Light, mount and wear are a session's own. What a camera shows all the time says more about this
session than everything that training saw.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    (components,); of vectors ``samples`` (T, C), standardised, and ``friction`` (2, C).
    """

    small: Mapping[str, Array] = field(default_factory=dict)
    coefficients: Mapping[str, Array] = field(default_factory=dict)
    expected: Mapping[str, Array] = field(default_factory=dict)
    samples: Mapping[str, Array] = field(default_factory=dict)
    friction: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recollection:
    """What is remembered of one modality; ``arrays`` by name, empty before the first window.

    ``usual_small``, ``usual_expected`` and ``friction`` are running means; ``last_…`` is of the
    last clean window, ``age`` windows ago. They are kept in half precision, so that a snapshot
    loses nothing.
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


class Memory:
    """The recollections of one session, modality by modality.

    ``now`` has taken in every window so far; ``steady`` is what windows are judged by, and is
    renewed only after each `RENEWED` windows. So a verdict does not depend on how many windows are
    judged at once.
    """

    def __init__(self) -> None:
        self.now: dict[str, Recollection] = {}
        self.steady: dict[str, Recollection] = {}
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

    def snapshot(self) -> dict[str, Any]:
        """Return the memory as plain data; arrays as bytes."""
        return {
            "passed": self._passed,
            "now": {name: known.snapshot() for name, known in self.now.items()},
            "steady": {name: known.snapshot() for name, known in self.steady.items()},
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any]) -> "Memory":
        """Return the memory that gave ``snapshot``."""
        memory = cls()
        memory._passed = snapshot["passed"]
        memory.now = {name: Recollection.restore(one) for name, one in snapshot["now"].items()}
        steady = snapshot["steady"]
        memory.steady = {name: Recollection.restore(one) for name, one in steady.items()}
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
    values = {"usual_small": trace.small[name], "usual_expected": trace.expected[name]}
    usual = {
        key: running_mean(known.arrays.get(key, value), value, windows, REMEMBERED)
        for key, value in values.items()
    }
    last = {
        "last_coefficients": trace.coefficients[name],
        "last_expected": trace.expected[name],
    }
    return {key: value.astype(np.float16) for key, value in (usual | last).items()}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Past:
    """The recollections that B windows are judged by, of one modality, as tensors.

    ``arrays[key]`` (B, …) as in `Recollection`, zeros where nothing is known; ``usual`` bool (B,)
    says where the running means count, ``last`` where there is a last clean window; ``age`` (B,).
    """

    arrays: Mapping[str, Tensor]
    usual: Tensor
    last: Tensor
    age: Tensor

    def at(self, index: Tensor) -> "Past":
        """Return the past of the windows at ``index``."""
        return Past(
            arrays={key: array[index] for key, array in self.arrays.items()},
            usual=self.usual[index],
            last=self.last[index],
            age=self.age[index],
        )


def gathered(
    recollections: Sequence[Recollection | None], shapes: Mapping[str, tuple[int, ...]]
) -> Past:
    """Put the recollections of one modality together; ``shapes`` of its arrays, by name."""
    nothing = Recollection()
    known = [nothing if one is None else one for one in recollections]
    zeros = {key: np.zeros(shape, np.float16) for key, shape in shapes.items()}
    return Past(
        arrays={
            key: torch.from_numpy(np.stack([one.arrays.get(key, zero) for one in known])).float()
            for key, zero in zeros.items()
        },
        usual=torch.tensor([one.windows >= LEAST for one in known]),
        last=torch.tensor([one.windows > 0 for one in known]),
        age=torch.tensor([float(one.age) for one in known]),
    )
