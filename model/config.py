"""What a model is and how it is trained, as configuration."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Precision = Literal["auto", "fp32", "bf16"]
Method = Literal["evidence", "mmssl", "mmae"]
Dispensable = Literal[
    "components",  # and shading
    "detail",
    "texture",
    "tone",
    "repetition",
    "concord",
    "autoregression",
    "dynamics",
    "level",
    "plateaus",
    "motion",
    "pose",
]
"""Evidence that a model can do without."""
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
ModalityName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

PAPER_IMAGE_WIDTHS = (32, 256, 128, 64, 32, 32)
SLIM_IMAGE_WIDTHS = (16, 32, 64, 64, 32, 32)
PAPER_VECTOR_WIDTHS = (288, 288, 288, 288, 288)
SLIM_VECTOR_WIDTHS = (96, 96, 96, 96, 96)
GRID = 3  # the last feature map of an image encoder is GRID x GRID

LatentSize = Annotated[int, Field(ge=GRID * GRID)]
Hertz = Annotated[float, Field(gt=0)]
Width = Annotated[int, Field(ge=1, le=4096)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def reduced_px(size_px: int) -> int:
    """Return the side left of ``size_px`` by one convolution, kernel 5, stride 2, padding 1."""
    return (size_px - 3) // 2 + 1 if size_px >= 3 else 0


class ModalityConfig(_Frozen):
    """One input of a station.

    ``size_px`` is (height, width), to which the caller resizes images. ``samples`` is T, the
    length of a vector window. ``widths`` are the channels after each convolution of the encoder;
    left empty, they are the slim ones. ``names``, ``units`` and ``rate_hz`` describe the signal.
    """

    kind: Literal["image", "vector"]
    size_px: tuple[int, int] = (256, 256)
    channels: int = Field(default=3, ge=1, le=256)
    samples: int = Field(default=32, ge=1, le=1024)
    widths: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    rate_hz: Hertz | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_widths(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("widths"):
            slim = SLIM_IMAGE_WIDTHS if data.get("kind") == "image" else SLIM_VECTOR_WIDTHS
            return {**data, "widths": slim}
        return data

    @model_validator(mode="after")
    def _check_image(self) -> Self:
        if self.kind != "image":
            return self
        if self.channels != 3:
            raise ValueError(f"channels: an image has 3, RGB, not {self.channels}")
        side = min(self.size_px)
        for _ in self.widths:
            side = reduced_px(side)
        if side < 1:
            raise ValueError(
                f"size_px: {min(self.size_px)} px is too small for {len(self.widths)} layers; "
                "give fewer widths or larger images"
            )
        return self

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for key, given in (("names", self.names), ("units", self.units)):
            if given and len(given) != self.channels:
                raise ValueError(f"{key}: {len(given)} given for {self.channels} channels")
        return self


class CorrectorConfig(_Frozen):
    """The latent corrector.

    ``spectral_norm`` holds every layer's largest singular value at 1 while training. Left out, only
    MMSSL has it, which asks for it: a slope of at most 1 cannot follow the clean latents, and more
    than doubled the error.
    """

    depth: int = Field(default=4, ge=1, le=16)
    spectral_norm: bool | None = None


class DetectorConfig(_Frozen):
    """MMSSL's detector: ``widths`` of the dense layers of its embedding."""

    widths: tuple[Width, ...] = Field(default=(288, 128), min_length=1, max_length=16)


class ModelConfig(_Frozen):
    """One model: its modalities, by name, and what is computed from them.

    ``method``: ``evidence`` finds faults by closed-form statistics of the inputs; ``mmssl`` is the
    published system, whose detector is learnt on latents (paper 1, section 4); ``mmae`` the
    denoising autoencoder it is compared with, which detects nothing. ``without`` names
    evidence that is left out, for an ablation or because a checkpoint is older than it; never what
    is ``learnt``, which corrections need.
    """

    name: ModelName
    method: Method = "evidence"
    modalities: dict[ModalityName, ModalityConfig] = Field(min_length=1)
    latent: LatentSize = 288
    corrector: CorrectorConfig = CorrectorConfig()
    detector: DetectorConfig = DetectorConfig()
    precision: Precision = "auto"
    session_baseline: bool = True
    without: tuple[Dispensable, ...] = ()
    window_hz: Hertz | None = None

    @model_validator(mode="after")
    def _check_latent(self) -> Self:
        for name, modality in self.modalities.items():
            last = modality.widths[-1]
            if modality.kind == "image" and last * GRID * GRID != self.latent:
                raise ValueError(
                    f"modalities.{name}.widths: the last must be {self.latent / GRID**2:g} "
                    f"({GRID}x{GRID} cells make {self.latent}), not {last}"
                )
            if modality.kind == "vector" and self.latent % last:
                raise ValueError(
                    f"modalities.{name}.widths: the last must divide {self.latent}, not {last}"
                )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The modalities in the order in which latents are concatenated."""
        return tuple(sorted(self.modalities))

    @property
    def spectral_norm(self) -> bool:
        """Whether the corrector's layers are held at a spectral norm of 1."""
        chosen = self.corrector.spectral_norm
        return self.method == "mmssl" if chosen is None else chosen


class MmsslConfig(_Frozen):
    """Weights of MMSSL's stage 2 (paper 1, section 4), by default the paper's where it gives any.

    It gives none of equations 17 and 18: ``lambda_reg`` weighs the sum of
    ``lambda_jacobian_change`` times the change of the detector's Jacobians under a fault and
    ``lambda_jacobian`` times the corrector's Jacobians, in squared Frobenius norms. ``alpha``
    amplifies the gradient of the detector's embedding; 1 leaves it as it is.
    """

    margin: float = Field(default=0.5, gt=0)
    lambda_con: float = Field(default=0.1, ge=0)
    lambda_sim: float = Field(default=1.0, ge=0)
    lambda_detect: float = Field(default=1.0, ge=0)
    lambda_reg: float = Field(default=1e-3, ge=0)
    lambda_jacobian_change: float = Field(default=1.0, ge=0)
    lambda_jacobian: float = Field(default=1.0, ge=0)
    alpha: float = Field(default=3.0, ge=1)


class TeachingConfig(_Frozen):
    """How the networks of method `evidence` teach themselves on procedural disturbances.

    ``frame_batch`` is of pairs, clean and disturbed, half of them shown the step before as well.
    For the networks that see frames, vectors or both, what ends first, ``…_steps`` or
    ``…_minutes``, ends it. The expectation (vectors to frames), the foretelling (units from
    units) and the restorers take a fixed number of steps.
    """

    frame_steps: int = Field(default=40_000, ge=0)
    frame_minutes: float | None = Field(default=30.0, gt=0)
    frame_batch: int = Field(default=24, multiple_of=4, ge=4)
    vector_steps: int = Field(default=40_000, ge=0)
    vector_minutes: float | None = Field(default=14.0, gt=0)
    vector_batch: int = Field(default=96, ge=2)
    concord_steps: int = Field(default=6_000, ge=0)
    concord_minutes: float | None = Field(default=8.0, gt=0)
    expectation_steps: int = Field(default=3_000, ge=1)
    foretelling_steps: int = Field(default=3_500, ge=1)
    restoring_steps: int = Field(default=5_000, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)


class TrainingConfig(_Frozen):
    """How long and how to train. What ends first, ``epochs`` or ``minutes``, ends stage 1.

    ``rounds`` is how often stage 2 asks for freshly corrupted pairs, ``corrector_epochs`` how often
    it passes over all of them, ``reconstructed`` how many frames it decodes a step, ``tau`` the
    gradient norm at which it clips, None for never. MMAE has a single stage, of ``epochs`` or
    ``minutes``, over which its ``rounds`` follow one another. ``calibration_share`` of the episodes
    is never trained on.
    """

    epochs: int = Field(default=200, ge=0)
    minutes: float | None = Field(default=None, gt=0)
    batch: int = Field(default=16, ge=1)
    vector_batch: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    seed: int = Field(default=1, ge=0)
    rounds: int = Field(default=4, ge=1)
    corrector_epochs: int = Field(default=40, ge=1)
    corrector_batch: int = Field(default=128, ge=1)
    corrector_learning_rate: float = Field(default=1e-3, gt=0)
    reconstructed: int = Field(default=8, ge=0)
    tau: float | None = Field(default=1.0, gt=0)
    mmssl: MmsslConfig = MmsslConfig()
    teaching: TeachingConfig = TeachingConfig()
    calibration_share: float = Field(default=0.3, gt=0, lt=1)
    false_alarm_rates: tuple[float, ...] = (1e-2, 1e-3)
    save_every_s: float = Field(default=60.0, ge=0)

    @model_validator(mode="after")
    def _check_rates(self) -> Self:
        rates = self.false_alarm_rates
        if not rates or not all(0 < rate < 1 for rate in rates):
            raise ValueError("false_alarm_rates: each must lie between 0 and 1")
        if list(rates) != sorted(rates, reverse=True):
            raise ValueError("false_alarm_rates: largest first; the first defines a score of 1")
        return self
