"""The method `evidence`: what a station's inputs look like, what is odd about them, what was meant.

For each image modality a scene, for every modality its evidences and a restorer. Nothing of it
depends on the autoencoders.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from model.concord import MOMENTS, Concord, glimpse_of
from model.config import ModelConfig
from model.evidence import Evidence, Noticed, Noticing, View
from model.foretelling import Foretelling, Foretold
from model.glance import Glance, clues_of, usual_of
from model.image_evidence import Learnt, image_evidences
from model.past import LEAST, Last, Recall, Recollection, Trace, Usual, Usuals, last_of, together
from model.restorers import FrameRestorer, VectorRestorer
from model.scene import COMPONENTS, DETAIL_PX, SMALL_PX, Scene
from model.vector_evidence import POSE, LearntVectors, vector_evidences


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """What the modalities of B windows say before their session is asked."""

    images: Mapping[str, Glance]
    vectors: Mapping[str, Foretold]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inspected:
    """What is said of B windows, and what it is said of; `restored` goes on from it.

    ``evidence[modality][name]`` (B,); ``traces`` what each window may leave behind; ``noticed`` by
    those modalities that a network looked at.
    """

    evidence: dict[str, dict[str, Tensor]]
    traces: list[Trace]
    views: Mapping[str, View]
    present: Mapping[str, Tensor]
    noticed: Mapping[str, Noticed]


class Inspector(nn.Module):
    """Scenes, foretellings, evidences and restorers of one station."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.images = [name for name in config.names if config.modalities[name].kind == "image"]
        self.vectors = [name for name in config.names if name not in self.images]
        inputs = sum(self._values(name) for name in self.vectors)
        beside = sum(config.modalities[name].channels for name in self.vectors)
        self.scenes = nn.ModuleDict({key_of(name): Scene(inputs) for name in self.images})
        self.foretellings = nn.ModuleDict(
            {
                key_of(name): Foretelling(config.modalities[name], poses=POSE not in config.without)
                for name in self.vectors
            }
        )
        self.evidences = nn.ModuleDict()
        self.restorers = nn.ModuleDict()
        for name in config.names:
            modality = config.modalities[name]
            image = name in self.images
            kinds = image_evidences(modality, beside) if image else vector_evidences(modality)
            chosen = [one for one in kinds if one.names[0] not in config.without]
            self.evidences[key_of(name)] = nn.ModuleDict({key_of(k.names[0]): k for k in chosen})
            self.restorers[key_of(name)] = (
                FrameRestorer()
                if image
                else VectorRestorer(
                    modality.samples, modality.channels, COMPONENTS * len(self.images)
                )
            )

    def _values(self, name: str) -> int:
        modality = self.config.modalities[name]
        return modality.samples * modality.channels

    def usual(self, name: str, known: Recollection, device: torch.device) -> Usual:
        """Return what a window (B = 1) of modality ``name`` is judged by."""

        def remembered(key: str) -> Tensor:
            return torch.from_numpy(known.arrays[key].astype(np.float32)).to(device)[None]

        if name in self.images:
            counts = torch.tensor([known.windows >= LEAST], device=device)
            if known.windows >= LEAST:
                small, expected = remembered("usual_small"), remembered("usual_expected")
                detail = remembered("usual_detail")
                return usual_of(self.scene(name), small, expected, detail, counts)
            none = torch.zeros(1, 3, SMALL_PX, SMALL_PX, device=device)
            fine = torch.zeros(1, DETAIL_PX, DETAIL_PX, device=device)
            return {"residual": none, "surprise": none, "detail": fine, "counts": counts}
        if "friction" in known.arrays:
            return {"friction": remembered("friction")}
        channels = self.config.modalities[name].channels
        return {"friction": torch.zeros(1, 2, channels, device=device)}

    def last(self, name: str, recollections: Sequence[Recollection], device: torch.device) -> Last:
        """Return what K windows of modality ``name`` are corrected from."""
        modality = self.config.modalities[name]
        shapes: dict[str, tuple[int, ...]] = (
            {"last_coefficients": (COMPONENTS,), "last_expected": (COMPONENTS,)}
            if name in self.images
            else {"last_samples": (modality.samples, modality.channels)}
        )
        return last_of(recollections, shapes, device)

    def foretelling(self, name: str) -> Foretelling:
        """Return what foretells the channels of vector modality ``name``."""
        return cast(Foretelling, self.foretellings[key_of(name)])

    def scene(self, name: str) -> Scene:
        """Return the scene of image modality ``name``."""
        return cast(Scene, self.scenes[key_of(name)])

    def modules_of(self, name: str) -> list[Evidence]:
        """Return the evidences of modality ``name``."""
        group = cast(nn.ModuleDict, self.evidences[key_of(name)])
        return [cast(Evidence, module) for module in group.values()]

    def learnt_frames(self, name: str) -> Learnt:
        """Return the evidence of image modality ``name`` that is taught step by step."""
        return next(one for one in self.modules_of(name) if isinstance(one, Learnt))

    def concord(self, name: str) -> Concord | None:
        """Return what compares image modality ``name`` with the vectors, if anything does."""
        found = (one for one in self.modules_of(name) if isinstance(one, Concord))
        return next(found, None)

    def learnt_vectors(self, name: str) -> LearntVectors | None:
        """Return the same of vector modality ``name``; None where its windows are too short."""
        found = (one for one in self.modules_of(name) if isinstance(one, LearntVectors))
        return next(found, None)

    def frame_restorer(self, name: str) -> FrameRestorer:
        """Return the restorer of image modality ``name``."""
        return cast(FrameRestorer, self.restorers[key_of(name)])

    def vector_restorer(self, name: str) -> VectorRestorer:
        """Return the restorer of vector modality ``name``."""
        return cast(VectorRestorer, self.restorers[key_of(name)])

    def pose(self, views: Mapping[str, View], present: Mapping[str, Tensor]) -> Tensor:
        """Return all vectors side by side (B, inputs), standardised; zeros where absent."""
        parts = [samples.flatten(1) for samples in self._samples(views, present)]
        size = len(next(iter(present.values())))
        return torch.cat(parts, dim=1) if parts else torch.zeros(size, 0)

    def glimpse(self, views: Mapping[str, View], present: Mapping[str, Tensor]) -> Tensor:
        """Return what all vectors did lately (B, moments, C), standardised; zeros where absent."""
        parts = [glimpse_of(samples) for samples in self._samples(views, present)]
        size = len(next(iter(present.values())))
        return torch.cat(parts, dim=2) if parts else torch.zeros(size, MOMENTS, 0)

    def _samples(
        self, views: Mapping[str, View], present: Mapping[str, Tensor]
    ) -> Iterator[Tensor]:
        for name in self.vectors:
            samples = views[name].samples
            yield samples * present[name][:, None, None].to(samples)

    def seen(
        self,
        views: Mapping[str, View],
        present: Mapping[str, Tensor],
        scenes: Mapping[str, Scene] | None = None,
    ) -> Seen:
        """Return what each modality says by itself; ``scenes`` stand in for the inspector's own."""
        images, pose, foretold = {}, self.pose(views, present), self._foretold(present)
        glimpse = self.glimpse(views, present)
        for name in self.images:
            scene = self.scene(name) if scenes is None else scenes[name]
            images[name] = Glance(
                scene=scene,
                coefficients=scene.coefficients(views[name].small),
                expected=scene.expected(pose),
                glimpse=glimpse,
                foretold=foretold,
            )
        vectors = {name: self.foretelling(name)(views[name].samples) for name in self.vectors}
        return Seen(images=images, vectors=vectors)

    def clued(self, views: Mapping[str, View], seen: Seen, usuals: Usuals) -> dict[str, View]:
        """Return the views with what their evidences ask for."""
        clued = dict(views)
        for name, glance in seen.images.items():
            clued[name] = replace(views[name], clues=clues_of(views[name], glance, usuals[name]))
        for name, foretold in seen.vectors.items():
            left = self.foretelling(name).unexplained(foretold, usuals[name]["friction"])
            clued[name] = replace(views[name], unexplained=left)
        return clued

    def _foretold(self, present: Mapping[str, Tensor]) -> Tensor:
        """Return in which windows (B,) every vector is there, so that a pose is known."""
        flags = [present[name] for name in self.vectors]
        if not flags:
            return torch.zeros_like(next(iter(present.values())))
        return torch.stack(flags).all(0)

    def inspected(
        self, views: Mapping[str, View], present: Mapping[str, Tensor], recall: Recall
    ) -> Inspected:
        """Judge windows, each by what ``recall`` says of its session."""
        seen = self.seen(views, present)
        traces = self.traces(views, seen)
        clued = self.clued(views, seen, together(recall(traces)))
        evidence: dict[str, dict[str, Tensor]] = {name: {} for name in views}
        noticed: dict[str, Noticed] = {}
        for name, view in clued.items():
            for module in self.modules_of(name):
                if isinstance(module, Noticing):
                    found, noticed[name] = module.noticed(view)
                else:
                    found = module(view)
                evidence[name] |= found
        return Inspected(
            evidence=evidence, traces=traces, views=clued, present=present, noticed=noticed
        )

    def traces(self, views: Mapping[str, View], seen: Seen) -> list[Trace]:
        """Return what each of the B windows may leave behind."""
        small = {name: views[name].small.cpu().numpy() for name in self.images}
        detail = {name: views[name].detail.cpu().numpy() for name in self.images}
        found = {name: one.coefficients.cpu().numpy() for name, one in seen.images.items()}
        expected = {name: one.expected.cpu().numpy() for name, one in seen.images.items()}
        friction = {name: one.friction().cpu().numpy() for name, one in seen.vectors.items()}
        samples = {name: views[name].samples.cpu().numpy() for name in self.vectors}
        size = len(next(iter({**small, **samples}.values())))
        return [
            Trace(
                small={name: values[at] for name, values in small.items()},
                coefficients={name: values[at] for name, values in found.items()},
                expected={name: values[at] for name, values in expected.items()},
                detail={name: values[at] for name, values in detail.items()},
                samples={name: values[at] for name, values in samples.items()},
                friction={name: values[at] for name, values in friction.items()},
            )
            for at in range(size)
        ]


def key_of(name: str) -> str:
    """Return a key that `nn.ModuleDict` takes: it refuses names of its own methods."""
    return f"_{name}"
