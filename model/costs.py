"""What a window costs, part by part, on one thread."""

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import torch

from model.fusion import Fusion
from model.windows import Batch

REPEATS = 15


@torch.inference_mode()
def cost_ms(fusion: Fusion, batch: Batch) -> dict[str, float]:
    """Return milliseconds for each part of inferring and correcting a ``batch`` of one window.

    Medians of 15 runs on one thread; ``whole`` is inferring, ``correct …`` comes on top of it for
    each modality at fault, the rest are parts of the whole. Restores the number of threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {name: _median_ms(part) for name, part in _parts(fusion, batch).items()}
    finally:
        torch.set_num_threads(threads)


def _parts(fusion: Fusion, batch: Batch) -> dict[str, Callable[[], object]]:
    said, views = fusion.infer(batch), fusion.views(batch)
    index = np.zeros(1, np.int64)
    parts: dict[str, Callable[[], object]] = {"views": lambda: fusion.views(batch)}
    for name in fusion.config.names:
        parts[f"encode {name}"] = partial(fusion.encode, name, views[name])
    inspector = fusion.inspector
    if inspector is not None:
        seen, usuals = inspector.seen(views, batch.present), fusion.usual({})
        parts["foretelling"] = lambda: inspector.seen(views, batch.present)
        parts["scene"] = lambda: inspector.clued(views, seen, usuals)
        for name, view in inspector.clued(views, seen, usuals).items():
            for module in fusion.evidence_modules(name):
                parts[f"{name}: {', '.join(module.names)}"] = partial(module, view)
    parts["whole"] = lambda: fusion.infer(batch)
    for name in fusion.config.names:
        parts[f"correct {name}"] = partial(fusion.correct, said, index, name)
    return parts


def _median_ms(part: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS + 2):
        started = time.perf_counter()
        part()
        taken.append(1e3 * (time.perf_counter() - started))
    return median(taken[2:])
