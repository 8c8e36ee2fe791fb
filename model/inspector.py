"""The method `evidence`: what a station's inputs look like, what is odd about them, what was meant.

For each image modality a scene, for every modality its evidences and a restorer. Nothing of it
depends on the autoencoders.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import ModelConfig
from model.evidence import Evidence, View, pixels_of
from model.foretelling import Foretelling, Foretold
from model.frame_net import Clues
from model.image_evidence import Learnt, image_evidences
from model.past import Past, Trace
from model.restorers import FrameRestorer, VectorRestorer, gated
from model.scene import COMPONENTS, SMALL_PX, Scene, averaged
from model.vector_evidence import LearntVectors, vector_evidences

SMALL = (3, SMALL_PX, SMALL_PX)
HALF = 0.5


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Glance:
    """What B frames say by themselves: their ``coefficients`` in the ``scene``'s components, the
    ``expected`` ones (B, components), and in which windows those are worth something (B,).
    """

    scene: Scene
    coefficients: Tensor
    expected: Tensor
    foretold: Tensor


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Seen:
    """What the modalities of B windows say before their session is asked."""

    images: Mapping[str, Glance]
    vectors: Mapping[str, Foretold]


class Inspector(nn.Module):
    """Scenes, foretellings, evidences and restorers of one station."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.images = [name for name in config.names if config.modalities[name].kind == "image"]
        self.vectors = [name for name in config.names if name not in self.images]
        inputs = sum(self._values(name) for name in self.vectors)
        self.scenes = nn.ModuleDict({key_of(name): Scene(inputs) for name in self.images})
        self.foretellings = nn.ModuleDict(
            {key_of(name): Foretelling(config.modalities[name]) for name in self.vectors}
        )
        self.evidences = nn.ModuleDict()
        self.restorers = nn.ModuleDict()
        for name in config.names:
            modality = config.modalities[name]
            image = name in self.images
            kinds = image_evidences(modality) if image else vector_evidences(modality)
            self.evidences[key_of(name)] = nn.ModuleDict({key_of(k.names[0]): k for k in kinds})
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

    def past_shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        """Return the shapes of what a session remembers of modality ``name``."""
        if name in self.images:
            return {
                "usual_small": SMALL,
                "usual_expected": (COMPONENTS,),
                "last_coefficients": (COMPONENTS,),
                "last_expected": (COMPONENTS,),
            }
        modality = self.config.modalities[name]
        return {
            "last_samples": (modality.samples, modality.channels),
            "friction": (2, modality.channels),
        }

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
        parts = [
            views[name].samples.flatten(1) * present[name][:, None].to(views[name].samples)
            for name in self.vectors
        ]
        size = len(next(iter(present.values())))
        return torch.cat(parts, dim=1) if parts else torch.zeros(size, 0)

    def seen(
        self,
        views: Mapping[str, View],
        present: Mapping[str, Tensor],
        scenes: Mapping[str, Scene] | None = None,
    ) -> Seen:
        """Return what each modality says by itself; ``scenes`` stand in for the inspector's own."""
        images = {}
        for name in self.images:
            scene = self.scene(name) if scenes is None else scenes[name]
            images[name] = Glance(
                scene=scene,
                coefficients=scene.coefficients(views[name].small),
                expected=scene.expected(self.pose(views, present)),
                foretold=self._foretold(present),
            )
        vectors = {name: self.foretelling(name)(views[name].samples) for name in self.vectors}
        return Seen(images=images, vectors=vectors)

    def clued(
        self, views: Mapping[str, View], seen: Seen, past: Mapping[str, Past]
    ) -> dict[str, View]:
        """Return the views with what their evidences ask for."""
        clued = dict(views)
        for name, glance in seen.images.items():
            clued[name] = replace(views[name], clues=clues_of(views[name], glance, past[name]))
        for name, foretold in seen.vectors.items():
            friction = past[name].arrays["friction"]
            left = self.foretelling(name).unexplained(foretold, friction)
            clued[name] = replace(views[name], unexplained=left)
        return clued

    def _foretold(self, present: Mapping[str, Tensor]) -> Tensor:
        """Return in which windows (B,) every vector is there, so that a pose is known."""
        flags = torch.stack([present[name] for name in self.config.names])
        kept = [at for at, name in enumerate(self.config.names) if name in self.vectors]
        return flags[kept].all(0) & bool(kept)

    def weigh(self, views: Mapping[str, View]) -> dict[str, dict[str, Tensor]]:
        """Return ``evidence[modality][name]`` (B,)."""
        evidence: dict[str, dict[str, Tensor]] = {name: {} for name in views}
        for name, view in views.items():
            for module in self.modules_of(name):
                evidence[name] |= module(view)
        return evidence

    def restored(
        self, name: str, views: Mapping[str, View], present: Mapping[str, Tensor], past: Past
    ) -> Tensor:
        """Return what modality ``name`` would have said, as if all others said the truth.

        Images (B, 3, H, W) in [0, 1], vectors (B, T, C) standardised.
        """
        if name in self.images:
            return self._restored_frames(name, views[name], present[name], past)
        window = views[name].samples * present[name][:, None, None].to(views[name].samples)
        learnt = self.learnt_vectors(name)
        channels = self.config.modalities[name].channels
        hit = (
            window.new_zeros(len(window), channels)
            if learnt is None
            else learnt.network(learnt.clues(views[name]))[1] * present[name][:, None]
        )
        beside = self.beside(views, present)
        last = past.arrays["last_samples"]
        said = self.vector_restorer(name)(window, last, hit, beside, past.age, past.last)
        predicted, _ = said
        return torch.where(present[name][:, None, None], gated(window, *said), predicted)

    def beside(self, views: Mapping[str, View], present: Mapping[str, Tensor]) -> Tensor:
        """Return what the images say to a vector restorer (B, components x images)."""
        parts = []
        for name in self.images:
            clues = views[name].clues
            assert clues is not None
            parts.append(
                clues.coefficients / self.scene(name).spread * present[name][:, None].float()
            )
        size = len(next(iter(present.values())))
        return torch.cat(parts, dim=1) if parts else torch.zeros(size, 0)

    def _restored_frames(self, name: str, view: View, present: Tensor, past: Past) -> Tensor:
        clues, scene = view.clues, self.scene(name)
        assert clues is not None
        small = restored_small(self.frame_restorer(name), scene, clues, past)
        size = clues.pixels.shape[2:]
        painted = F.interpolate(small, size, mode="bicubic").clamp(0, 1)
        _, cells = self.learnt_frames(name).network(clues.pixels, clues.planes())
        share = torch.sigmoid(cells)
        # where no part of the frame looks disturbed, all of it is: a frame of another time
        whole = (share.flatten(1).amax(1) < HALF) | ~present
        share = torch.where(whole[:, None, None], torch.ones_like(share), share)
        mask = F.interpolate(share[:, None], size, mode="bilinear")
        return torch.lerp(clues.pixels, painted, mask)

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


def clues_of(view: View, seen: Glance, past: Past) -> Clues:
    """Return the clues of one image modality."""
    scene = seen.scene
    before = pixels_of(view.previous)
    change = (view.pixels - before).abs().amax(1, keepdim=True)
    usual_small, usual_expected = past.arrays["usual_small"], past.arrays["usual_expected"]
    return Clues(
        pixels=view.pixels,
        small=view.small,
        previous=averaged(before, SMALL_PX),
        change=F.adaptive_max_pool2d(change, SMALL_PX),
        coefficients=seen.coefficients,
        expected=seen.expected,
        residual=view.small - scene.picture(seen.coefficients),
        usual_residual=scene.residual(usual_small),
        surprise=view.small - scene.picture(seen.expected),
        usual_surprise=usual_small - scene.picture(usual_expected),
        has_previous=view.has_previous,
        has_usual=past.usual,
        has_expected=seen.foretold,
    )


def restored_small(restorer: FrameRestorer, scene: Scene, clues: Clues, past: Past) -> Tensor:
    """Return the small frames (B, 3, 64, 64) that should have been seen.

    What the components never explain in this session is taken from what it usually shows.
    """
    spread = scene.spread
    coefficients = restorer(
        past.arrays["last_coefficients"] / spread,
        past.arrays["last_expected"] / spread,
        clues.expected / spread,
        past.age,
        past.last,
    )
    usual = clues.has_usual.view(-1, 1, 1, 1).to(clues.small)
    return scene.picture(coefficients * spread) + usual * clues.usual_residual


def key_of(name: str) -> str:
    """Return a key that `nn.ModuleDict` takes: it refuses names of its own methods."""
    return f"_{name}"
