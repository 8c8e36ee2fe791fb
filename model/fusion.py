"""The whole model at run time: latents, evidence and corrected latents of a batch, and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from model.calibration import Calibration, Floats, Habits, Numbers
from model.config import ModelConfig
from model.corrector import Corrector
from model.decoders import ImageDecoder, build_decoder
from model.detector import LOGIT, Detector
from model.encoders import Standardiser, build_encoder
from model.evidence import Evidence, View, image_view, vector_view
from model.inspector import Inspected, Inspector, key_of
from model.past import Recall, Recollection, Trace, Usual, Usuals
from model.restoring import restored
from model.windows import Batch, Index, Windows, chunks, spread_out


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Inference:
    """What the model says of B windows, modality by modality; everything float32.

    ``latents`` (B, latent), the mean latent for absent modalities; ``evidence[modality][name]``
    (B,), from which `Fusion.score` makes scores; ``traces`` what each window may leave behind in
    its session's memory. From ``inspected`` `Fusion.correct` goes on, with the method `evidence`.
    """

    latents: dict[str, Tensor]
    evidence: dict[str, dict[str, Tensor]]
    traces: list[Trace]
    inspected: Inspected | None


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
        for name in config.names:
            modality = config.modalities[name]
            image = modality.kind == "image"
            self.scales[key_of(name)] = Standardiser((3, 1, 1) if image else (modality.channels,))
            self.encoders[key_of(name)] = build_encoder(modality, config.latent)
            self.decoders[key_of(name)] = build_decoder(modality, config.latent)
        width = config.latent * len(config.names)
        evident = config.method == "evidence"
        self.inspector = Inspector(config) if evident else None
        self.corrector = Corrector(width, 0 if evident else config.corrector.depth)
        self.detector: Detector | None = None
        if config.method == "mmssl":
            self.detector = Detector(width, config.detector, len(config.names))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.corrector.scale.mean.device

    def mixed_precision(self, device: torch.device) -> torch.autocast:
        """Return the context in which networks on ``device`` run in the model's precision."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def is_image(self, name: str) -> bool:
        """Return whether modality ``name`` is of kind image."""
        return self.config.modalities[name].kind == "image"

    def evidence_modules(self, name: str) -> list[Evidence]:
        """Return the evidences of modality ``name``."""
        return [] if self.inspector is None else self.inspector.modules_of(name)

    def usual(self, remembered: Mapping[str, Recollection]) -> dict[str, Usual]:
        """Return what one window (B = 1) is judged by, by modality, where this is remembered."""
        if self.inspector is None:
            return {}
        nothing = Recollection()
        return {
            name: self.inspector.usual(name, remembered.get(name, nothing), self.device)
            for name in self.config.names
        }

    @torch.inference_mode()
    def infer(self, batch: Batch, recall: Recall | None = None) -> Inference:
        """Return latents and evidence of ``batch``, each window judged by its session's past."""
        batch = batch.to(self.device)
        views = self.views(batch)
        latents = self.encode_all(views, batch.present)
        inspected = self._inspected(views, batch, recall)
        return Inference(
            latents=latents,
            evidence=self.detect(latents) if inspected is None else inspected.evidence,
            traces=[Trace()] * len(batch) if inspected is None else inspected.traces,
            inspected=inspected,
        )

    @torch.inference_mode()
    def weigh(self, batch: Batch, recall: Recall | None = None) -> dict[str, dict[str, Tensor]]:
        """Return the evidence alone; encodes only where a detector needs latents."""
        batch = batch.to(self.device)
        views = self.views(batch)
        inspected = self._inspected(views, batch, recall)
        if inspected is None:
            return self.detect(self.encode_all(views, batch.present))
        return inspected.evidence

    def _inspected(
        self, views: Mapping[str, View], batch: Batch, recall: Recall | None
    ) -> Inspected | None:
        if self.inspector is None:
            return None
        return self.inspector.inspected(views, batch.present, recall or self._begun)

    def _begun(self, traces: Sequence[Trace]) -> list[Usuals]:
        """Recall nothing: each window's session has just begun."""
        return [self.usual({})] * len(traces)

    @torch.inference_mode()
    def trace(self, batch: Batch) -> list[Trace]:
        """Return what each window of ``batch`` may leave behind, and nothing else."""
        if self.inspector is None:
            return [Trace()] * len(batch)
        batch = batch.to(self.device)
        views = self.views(batch)
        return self.inspector.traces(views, self.inspector.seen(views, batch.present))

    @torch.inference_mode()
    def correct(
        self,
        said: Inference,
        index: Index,
        name: str,
        remembered: Sequence[Mapping[str, Recollection]] | None = None,
    ) -> Tensor:
        """Return corrected latents (K, latent) of modality ``name``, as if all others said the
        truth, of the windows at ``index`` (K,) of a batch.

        ``remembered`` is what the session of each of those K windows remembers by now, nothing if
        left out.
        """
        restored = self.restore(said, index, name, remembered)
        if restored is not None:
            return self._encoded(name, restored)
        at = torch.from_numpy(index).to(self.device)
        return self.corrected({one: latent[at] for one, latent in said.latents.items()})[name]

    @torch.inference_mode()
    def restore(
        self,
        said: Inference,
        index: Index,
        name: str,
        remembered: Sequence[Mapping[str, Recollection]] | None = None,
    ) -> Tensor | None:
        """Return the input that modality ``name`` should have had, None where nothing restores it.

        Of windows as in `correct`: (K, 3, H, W) in [0, 1], or (K, T, C) standardised.
        """
        if self.inspector is None or said.inspected is None:
            return None
        nothing = Recollection()
        known = [{}] * len(index) if remembered is None else remembered
        last = self.inspector.last(name, [one.get(name, nothing) for one in known], self.device)
        at = torch.from_numpy(index).to(self.device)
        return restored(self.inspector, name, said.inspected, at, last)

    def score(
        self,
        evidence: Mapping[str, Numbers],
        present: Mapping[str, ArrayLike],
        habits: Mapping[str, Habits] | None = None,
    ) -> dict[str, Floats]:
        """Return the score of each modality of N windows, or of one, all 0 before calibration.

        A score of 0 is a typical clean window, 1 the threshold at which 1 % of clean windows raise
        any modality. ``habits`` are the session's baseline, as `Calibration.score` takes them.
        """
        if self.calibration is None:
            return {name: np.zeros(np.shape(flags)) for name, flags in present.items()}
        return self.calibration.score(evidence, present, habits)

    def views(self, batch: Batch) -> dict[str, View]:
        """Prepare every modality of ``batch``."""
        return {name: self.view(batch, name) for name in self.config.names}

    def view(self, batch: Batch, name: str) -> View:
        """Prepare one modality of ``batch``."""
        if self.is_image(name):
            return image_view(batch.images[name], batch.previous[name], batch.has_previous[name])
        return vector_view(self.scale(name)(batch.vectors[name]))

    def detect(self, latents: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Return the detector's logits as evidence, as exact as the latents are; else nothing."""
        if self.detector is None:
            return {name: {} for name in self.config.names}
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
        return self._encoded(name, self.target(name, view))

    def _encoded(self, name: str, x: Tensor) -> Tensor:
        """Return the latent of pixels (B, 3, H, W) in [0, 1] or of standardised samples."""
        x = self.scale(name)(x) if self.is_image(name) else x
        with self.mixed_precision(self.device):
            latent: Tensor = self.encoders[key_of(name)](x)
        return latent.float()

    def decode(self, name: str, latent: Tensor) -> Tensor:
        """Return (B, 3, H, W) in [0, 1], or (B, T, C) standardised, of latents (B, latent)."""
        with self.mixed_precision(self.device):
            decoded: Tensor = self.decoders[key_of(name)](latent)
        return decoded.float()

    def target(self, name: str, view: View) -> Tensor:
        """Return what decoding should give back."""
        return view.pixels if self.is_image(name) else view.samples

    def corrected(self, latents: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what the corrector makes of latents, each (B, latent)."""
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
        return cast(Standardiser, self.scales[key_of(name)])

    def encoder(self, name: str) -> nn.Module:
        """Return the encoder of modality ``name``."""
        return self.encoders[key_of(name)]

    def decoder(self, name: str) -> nn.Module:
        """Return the decoder of modality ``name``."""
        return self.decoders[key_of(name)]

    def fit_scales(self, windows: Windows, index: Index) -> None:
        """Learn mean and spread of the inputs from the windows at ``index``."""
        for name in self.config.names:
            at = index[windows.present[name][index]]
            if not self.is_image(name):
                samples = torch.from_numpy(windows.vectors[name][at]).double().flatten(0, 1)
                self.scale(name).fit(samples.mean(0), samples.std(0, correction=0))
                continue
            mean, square = _pixel_moments(windows.images[name], spread_out(at))
            colour = mean.mean((1, 2))
            variance = square.mean((1, 2)) - colour**2
            self.scale(name).fit(colour, variance.clamp_min(1e-6).sqrt())
            cast(ImageDecoder, self.decoder(name)).mean_image.copy_(mean.half())  # as stored


def _pixel_moments(images: np.ndarray, index: Index) -> tuple[Tensor, Tensor]:
    """Return mean and mean square (3, H, W) of frames in [0, 1]."""
    total = torch.zeros(3, *images.shape[1:3], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for part in chunks(len(index), 64):
        x = torch.from_numpy(images[index[part]]).permute(0, 3, 1, 2).float() / 255
        total += x.sum(0)
        squares += x.square().sum(0)
    return total / len(index), squares / len(index)
