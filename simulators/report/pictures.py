"""Before and after: what a camera should have shown, what it showed, what was made of it."""

import numpy as np

from model.fusion import Fusion
from simulators.injected import Injected
from simulators.report.blocks import Picture
from stream.messages import Pixels

MOST = 8


def pictures_of(fusion: Fusion, injected: Injected) -> list[Picture]:
    """Return one picture for each of the first faults of each camera, as a trained model sees it.

    Side by side: clean, faulty and, where the method restores it, restored.
    """
    pairs = injected.pairs()
    chosen: dict[str, int] = {}
    for at, fault in enumerate(pairs.fault):
        modality = fault.partition(".")[0]
        if modality in pairs.clean.images and len(chosen) < MOST:
            chosen.setdefault(fault, at)
    return [_picture(fusion, injected, fault, at) for fault, at in chosen.items()]


def _picture(fusion: Fusion, injected: Injected, fault: str, at: int) -> Picture:
    pairs, index = injected.pairs(), np.array([at])
    modality = fault.partition(".")[0]
    strip: list[Pixels] = [
        pairs.clean.images[modality][at],
        pairs.faulty.images[modality][at],
    ]
    said = fusion.infer(pairs.faulty.take(index))
    restored = fusion.restore(said, np.array([0]), modality)
    if restored is not None:
        levels = (255 * restored[0].permute(1, 2, 0)).round().clamp(0, 255)
        strip.append(levels.cpu().numpy().astype(np.uint8))
    return Picture(
        title=fault,
        caption=f"severity {pairs.severity[at]:.2f}, effect {pairs.effect[at]:.0f} noise sd: "
        + ("clean, faulty, restored" if len(strip) == 3 else "clean, faulty"),
        rgb=np.concatenate(strip, axis=1),
    )
