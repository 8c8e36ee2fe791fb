"""The whole model at run time: latents, evidence and corrected latents of a batch, and scores."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from model.calibration import Calibration, Floats, Numbers
from model.config import ModelConfig
from model.corrector import Corrector
from model.decoders import ImageDecoder, build_decoder
from model.detector import LOGIT, Detector
from model.encoders import Standardiser, build_encoder
from model.evidence import Evidence, View, Views, image_view, vector_view
from model.image_evidence import image_evidences
from model.vector_evidence import vector_evidences
from model.windows import Batch, Index, Windows, chunks

ENOUGH_FRAMES = 6000  # spread over all; neighbours in time are much alike


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inference:
    """What the model says of B windows, modality by modality; everything float32.

    ``latents`` and ``corrected`` (B, latent), the mean latent for absent modalities;
    ``evidence[modality][name]`` (B,), from which `Fusion.score` makes scores.
    """

    latents: dict[str, Tensor]
    evidence: dict[str, dict[str, Tensor]]
    corrected: dict[str, Tensor]


class Fusion(nn.Module):
    """Encoders, decoders, corrector, and evidences or a detector, of one station."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.calibration: Calibration | None = None
        self.precision: Literal["fp32", "bf16"] = "fp32"
        self.scales = nn.ModuleDict()
        self.encoders = nn.ModuleDict()
        self.decoders = nn.ModuleDict()
        self.evidences = nn.ModuleDict()
        for name in config.names:
            modality = config.modalities[name]
            image = modality.kind == "image"
            self.scales[_key(name)] = Standardiser((3, 1, 1) if image else (modality.channels,))
            self.encoders[_key(name)] = build_encoder(modality, config.latent)
            self.decoders[_key(name)] = build_decoder(modality, config.latent)
            kinds = image_evidences(modality) if image else vector_evidences(modality)
            kinds = kinds if config.method == "evidence" else []
            self.evidences[_key(name)] = nn.ModuleDict({_key(k.names[0]): k for k in kinds})
        width = config.latent * len(config.names)
        self.corrector = Corrector(width, config.corrector.depth)
        self.detector: Detector | None = None
        if config.method == "mmssl":
            self.detector = Detector(width, config.detector, len(config.names))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.corrector.scale.mean.device

    def is_image(self, name: str) -> bool:
        """Return whether modality ``name`` is of kind image."""
        return self.config.modalities[name].kind == "image"

    def evidence_modules(self, name: str) -> list[Evidence]:
        """Return the evidences of modality ``name``."""
        group = cast(nn.ModuleDict, self.evidences[_key(name)])
        return [cast(Evidence, module) for module in group.values()]

    @torch.inference_mode()
    def infer(self, batch: Batch) -> Inference:
        """Return latents, evidence and corrected latents of ``batch``."""
        batch = batch.to(self.device)
        views = self.views(batch)
        latents = self.encode_all(views, batch.present)
        evidence = self.weigh(views) if self.detector is None else self.detect(latents)
        return Inference(latents=latents, evidence=evidence, corrected=self.correct(latents))

    def weigh_batch(self, batch: Batch) -> dict[str, dict[str, Tensor]]:
        """Return the evidence of ``batch`` alone; encodes only where a detector needs latents."""
        views = self.views(batch)
        if self.detector is None:
            return self.weigh(views)
        return self.detect(self.encode_all(views, batch.present))

    def score(
        self,
        evidence: Mapping[str, Numbers],
        present: Mapping[str, ArrayLike],
        medians: Mapping[str, Numbers] | None = None,
    ) -> dict[str, Floats]:
        """Return the score of each modality of N windows, or of one, all 0 before calibration.

        A score of 0 is a typical clean window, 1 the threshold at which 1 % of clean windows raise
        any modality. ``medians`` are the session's baseline, as `Calibration.score` takes them.
        """
        if self.calibration is None:
            return {name: np.zeros(np.shape(flags)) for name, flags in present.items()}
        return self.calibration.score(evidence, present, medians)

    def views(self, batch: Batch) -> dict[str, View]:
        """Prepare every modality of ``batch``."""
        return {name: self.view(batch, name) for name in self.config.names}

    def view(self, batch: Batch, name: str) -> View:
        """Prepare one modality of ``batch``."""
        if self.is_image(name):
            return image_view(batch, name)
        return vector_view(self.scale(name)(batch.vectors[name]))

    def weigh(self, views: Mapping[str, View]) -> dict[str, dict[str, Tensor]]:
        """Return ``evidence[modality][name]`` (B,), in single precision always."""
        evidence: dict[str, dict[str, Tensor]] = {name: {} for name in views}
        for name, view in views.items():
            for module in self.evidence_modules(name):
                evidence[name] |= module(view)
        return evidence

    def detect(self, latents: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Return the detector's logits as evidence, as exact as the latents are."""
        assert self.detector is not None
        logits = self.detector(self.corrector.scale(self.joint(latents)))
        return {name: {LOGIT: logits[:, at]} for at, name in enumerate(self.config.names)}

    def encode_all(
        self, views: Mapping[str, View], present: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return the latents, each (B, latent), the mean latent for absent modalities."""
        latents = {name: self.encode(name, view) for name, view in views.items()}
        return self.imputed(latents, present)

    def encode(self, name: str, view: View) -> Tensor:
        """Return the latent (B, latent) of one modality."""
        x = self.scale(name)(view.pixels) if self.is_image(name) else view.samples
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            latent: Tensor = self.encoders[_key(name)](x)
        return latent.float()

    def decode(self, name: str, latent: Tensor) -> Tensor:
        """Return (B, 3, H, W) in [0, 1], or (B, T, C) standardised, of latents (B, latent)."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            decoded: Tensor = self.decoders[_key(name)](latent)
        return decoded.float()

    def target(self, name: str, view: View) -> Tensor:
        """Return what decoding should give back."""
        return view.pixels if self.is_image(name) else view.samples

    def correct(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the corrected latents, each (B, latent)."""
        return self.split(self.corrector(self.joint(latents)))

    def joint(self, latents: Mapping[str, Tensor]) -> Tensor:
        """Return the latents side by side (B, latent x modalities)."""
        return torch.cat([latents[name] for name in self.config.names], dim=1)

    def split(self, joint: Tensor) -> dict[str, Tensor]:
        """Return the modalities' parts of joint latents (B, latent x modalities)."""
        parts = torch.split(joint, self.config.latent, dim=1)
        return dict(zip(self.config.names, parts, strict=True))

    def imputed(
        self, latents: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return ``latents`` with the mean latent where a modality is absent."""
        means = self.split(self.corrector.scale.mean[None])
        return {
            name: torch.where(present[name][:, None], latent, means[name])
            for name, latent in latents.items()
        }

    def scale(self, name: str) -> Standardiser:
        """Return the standardisation of the inputs of modality ``name``."""
        return cast(Standardiser, self.scales[_key(name)])

    def encoder(self, name: str) -> nn.Module:
        """Return the encoder of modality ``name``."""
        return self.encoders[_key(name)]

    def decoder(self, name: str) -> nn.Module:
        """Return the decoder of modality ``name``."""
        return self.decoders[_key(name)]

    def fit_scales(self, windows: Windows, index: Index) -> None:
        """Learn mean and spread of the inputs from the windows at ``index``."""
        for name in self.config.names:
            at = index[windows.present[name][index]]
            if not self.is_image(name):
                samples = torch.from_numpy(windows.vectors[name][at]).double().flatten(0, 1)
                self.scale(name).fit(samples.mean(0), samples.std(0, correction=0))
                continue
            some = at[:: max(1, len(at) // ENOUGH_FRAMES)]
            mean, square = _pixel_moments(windows.images[name], some)
            colour = mean.mean((1, 2))
            variance = square.mean((1, 2)) - colour**2
            self.scale(name).fit(colour, variance.clamp_min(1e-6).sqrt())
            cast(ImageDecoder, self.decoder(name)).mean_image.copy_(mean)

    @torch.no_grad()
    def fit_evidences(self, windows: Windows, index: Index) -> Iterator[str]:
        """Fit every evidence on the clean windows at ``index``; yields what is being fitted."""
        for name in self.config.names:
            at = index[windows.present[name][index]]
            if self.is_image(name):
                at = at[:: max(1, len(at) // ENOUGH_FRAMES)]
            views = Views(_Chunked(self, windows, at, name), torch.from_numpy(windows.episode[at]))
            for module in self.evidence_modules(name):
                yield f"{name}.{module.names[0]}"
                module.fit(views)


class _Chunked:
    """Views of one modality, prepared anew each time they are passed over."""

    def __init__(self, fusion: Fusion, windows: Windows, index: Index, name: str) -> None:
        self._fusion, self._windows, self._index, self._name = fusion, windows, index, name

    def __iter__(self) -> Iterator[View]:
        for part in chunks(len(self._index), 64):
            batch = self._windows.take(self._index[part], [self._name])
            yield self._fusion.view(batch.to(self._fusion.device), self._name)


def _key(name: str) -> str:
    return f"_{name}"  # nn.ModuleDict refuses names of its own methods, such as "type"


def _pixel_moments(images: np.ndarray, index: Index) -> tuple[Tensor, Tensor]:
    """Return mean and mean square (3, H, W) of frames in [0, 1]."""
    total = torch.zeros(3, *images.shape[1:3], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for part in chunks(len(index), 64):
        x = torch.from_numpy(images[index[part]]).permute(0, 3, 1, 2).float() / 255
        total += x.sum(0)
        squares += x.square().sum(0)
    return total / len(index), squares / len(index)
