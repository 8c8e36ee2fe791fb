"""The method `evidence`: what a station's inputs look like, what is odd about them, what was meant.

For each image modality a scene, for every modality its evidences and a restorer. Nothing of it
depends on the autoencoders.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.concord import MOMENTS, Concord, glimpse_of
from model.config import ModelConfig
from model.evidence import Evidence, Noticed, Noticing, View
from model.foretelling import Foretelling, Foretold
from model.frame_net import Clues
from model.glance import Glance, clues_of, usual_of
from model.image_evidence import Learnt, image_evidences
from model.past import LEAST, Last, Recall, Recollection, Trace, Usual, Usuals, last_of, together
from model.restorers import FrameRestorer, VectorRestorer, gated
from model.scene import COMPONENTS, SMALL_PX, Scene
from model.vector_evidence import LearntVectors, vector_evidences

HALF = 0.5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """What the modalities of B windows say before their session is asked."""

    images: Mapping[str, Glance]
    vectors: Mapping[str, Foretold]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inspected:
    """What is said of B windows, and what it is said of; `Inspector.restored` goes on from it.

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
            {key_of(name): Foretelling(config.modalities[name]) for name in self.vectors}
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
                return usual_of(self.scene(name), small, expected, counts)
            none = torch.zeros(1, 3, SMALL_PX, SMALL_PX, device=device)
            return {"residual": none, "surprise": none, "counts": counts}
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

    def restored(self, name: str, said: Inspected, at: Tensor, last: Last) -> Tensor:
        """Return what modality ``name`` would have said, as if all others said the truth.

        Of the windows ``at`` (K,): images (K, 3, H, W) in [0, 1], vectors (K, T, C) standardised.
        """
        noticed = tuple(one[at] for one in said.noticed.get(name, ()))
        present = said.present[name][at]
        if name in self.images:
            clues = said.views[name].clues
            assert clues is not None
            return self._restored_frames(name, clues, noticed, present, at, last)
        samples = said.views[name].samples[at]
        window = samples * present[:, None, None].to(samples)
        learnt = self.learnt_vectors(name)
        channels = self.config.modalities[name].channels
        hit = window.new_zeros(len(window), channels) if learnt is None else learnt.where(noticed)
        hit = hit * present[:, None]
        given = (window, last.arrays["last_samples"], hit, self._beside(said, at))
        predicted, gates = self.vector_restorer(name)(*given, last.age, last.known)
        return torch.where(present[:, None, None], gated(window, predicted, gates), predicted)

    def _beside(self, said: Inspected, at: Tensor) -> Tensor:
        """Return what the images say to a vector restorer (K, components x images)."""
        parts = []
        for name in self.images:
            clues = said.views[name].clues
            assert clues is not None
            there = said.present[name][at, None].float()
            parts.append(clues.coefficients[at] / self.scene(name).spread * there)
        return torch.cat(parts, dim=1) if parts else torch.zeros(len(at), 0, device=at.device)

    def _restored_frames(
        self, name: str, clues: Clues, maps: Noticed, present: Tensor, at: Tensor, last: Last
    ) -> Tensor:
        pixels = clues.pixels[at]
        size = pixels.shape[2:]
        small = self._restored_small(name, clues, at, last)
        painted = F.interpolate(small, size, mode="bicubic").clamp(0, 1)
        share = torch.sigmoid(self.learnt_frames(name).where(maps))
        # where no part of the frame looks disturbed, all of it is: a frame of another time
        whole = (share.flatten(1).amax(1) < HALF) | ~present
        share = torch.where(whole[:, None, None], torch.ones_like(share), share)
        mask = F.interpolate(share[:, None], size, mode="bilinear")
        return torch.lerp(pixels, painted, mask)

    def _restored_small(self, name: str, clues: Clues, at: Tensor, last: Last) -> Tensor:
        """Return the small frames (K, 3, 64, 64) that should have been seen.

        What the components never explain in this session is taken from what it usually shows.
        """
        scene = self.scene(name)
        coefficients = self.frame_restorer(name)(
            last.arrays["last_coefficients"] / scene.spread,
            last.arrays["last_expected"] / scene.spread,
            clues.expected[at] / scene.spread,
            last.age,
            last.known,
        )
        usual = clues.has_usual[at].view(-1, 1, 1, 1).to(clues.small)
        return scene.picture(coefficients * scene.spread) + usual * clues.usual_residual[at]

    def traces(self, views: Mapping[str, View], seen: Seen) -> list[Trace]:
        """Return what each of the B windows may leave behind."""
        small = {name: views[name].small.cpu().numpy() for name in self.images}
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
                samples={name: values[at] for name, values in samples.items()},
                friction={name: values[at] for name, values in friction.items()},
            )
            for at in range(size)
        ]


def key_of(name: str) -> str:
    """Return a key that `nn.ModuleDict` takes: it refuses names of its own methods."""
    return f"_{name}"
