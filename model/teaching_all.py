"""Everything that method `evidence` learns, in its order, on top of trained autoencoders."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import torch

from model.checkpoint import is_halved
from model.config import TrainingConfig
from model.descent import Position, Progress
from model.fusion import Fusion
from model.learner import Learner
from model.slopes import inspector_slopes
from model.teaching import begin, fit_evidences
from model.teaching_concord import teach_concord
from model.teaching_frames import teach_frame_restorer, teach_frames
from model.teaching_vectors import teach_vector_restorer, teach_vectors
from model.windows import Index, Windows

Taught: TypeAlias = Callable[[Learner, str, TrainingConfig, Path, Progress], Position | None]
OF_IMAGES: dict[str, Taught] = {
    "network": teach_frames,
    "concord": teach_concord,
    "restorer": teach_frame_restorer,
}
OF_VECTORS: dict[str, Taught] = {"network": teach_vectors, "restorer": teach_vector_restorer}


def teach(
    fusion: Fusion,
    windows: Windows,
    index: Index,
    config: TrainingConfig,
    directory: Path,
    progress: Progress,
) -> dict[str, float]:
    """Teach the inspector on the clean windows at ``index``; return its losses and slopes.

    In main memory, where the windows are, but for the networks that look at frames.
    """
    device = fusion.device
    learner = begin(fusion.cpu(), windows, index, config, progress, device)
    total = sum(len(fusion.evidence_modules(name)) for name in fusion.config.names)
    for done, _ in enumerate(fit_evidences(learner)):
        progress("evidence", done, total, None)
    progress("evidence", total, total, None)
    reached: dict[str, Position | None] = {}
    for name in fusion.config.names:
        image = name in learner.inspector.images
        for what, one in (OF_IMAGES if image else OF_VECTORS).items():
            resume = directory / f".{fusion.config.name}.{name}.{what}.state"
            reached[f"{name}_{what}"] = one(learner, name, config, resume, progress)
    halve(fusion)
    losses = {
        f"{key}_{figure}": value
        for key, position in reached.items()
        if position is not None
        for figure, value in (
            ("loss", position.loss),
            ("steps", float(position.step)),
            ("minutes", position.elapsed_s / 60),
        )
    }
    slopes = inspector_slopes(learner, config.seed)
    fusion.to(device)
    return losses | slopes


@torch.no_grad()
def halve(fusion: Fusion) -> None:
    """Round what is stored in half precision, so that a loaded model is the one calibrated."""
    for key, tensor in fusion.state_dict().items():
        if is_halved(key):
            tensor.copy_(tensor.half())
