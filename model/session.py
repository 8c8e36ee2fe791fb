"""What a station's clean windows leave behind, for as long as its session lasts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model.baseline import Baseline
from model.past import Memory, UsualOf


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Session:
    """What a station's clean windows leave behind since its ``epoch`` began."""

    epoch: int
    memory: Memory
    baseline: Baseline = field(default_factory=Baseline)

    def snapshot(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "epoch": self.epoch,
            "baseline": self.baseline.snapshot(),
            "memory": self.memory.snapshot(),
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], usual_of: UsualOf) -> "Session":
        """Return the session that gave ``snapshot``."""
        return cls(
            epoch=snapshot["epoch"],
            memory=Memory.restore(snapshot["memory"], usual_of),
            baseline=Baseline.restore(snapshot["baseline"]),
        )
