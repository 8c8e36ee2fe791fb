"""How a worker is configured: YAML in, frozen values or every mistake at once out."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from stream.messages import Kind
from stream.transports.open import BrokerConfig

STATION_PATTERN = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+){4}$"
NAME_PATTERN = r"^[A-Za-z0-9_-]+$"

StationPath = Annotated[str, StringConstraints(pattern=STATION_PATTERN)]
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]


class ConfigError(Exception):
    """A configuration that cannot be used; ``problems`` names every wrong key with its path."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join([f"{source}:", *(f"  {line}" for line in problems)]))
        self.problems = tuple(problems)


class Settings(BaseModel):
    """What all configuration shares: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModalitySettings(Settings):
    """One named input of a station. A None is filled from the checkpoint, else by its default."""

    kind: Kind
    rate_hz: Positive
    samples: Annotated[int, Field(ge=2, le=1024)] = 32
    channels: Annotated[int, Field(ge=1, le=256)] | tuple[str, ...] | None = None
    size_px: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] = (256, 256)
    out_of_order_ms: NotNegative | None = None
    clock_offset_ms: float = 0.0
    dark_is_normal: bool = False
    frozen_after_ms: Positive | None = None
    motion_threshold: Positive | None = None
    device: dict[str, str] = Field(default_factory=dict)

    @property
    def channel_count(self) -> int:
        """How many channels a reading must have; 0 where the first reading tells."""
        if self.channels is None:
            return 0
        return self.channels if isinstance(self.channels, int) else len(self.channels)


class AlarmSettings(Settings):
    """When a condition is raised and cleared; thresholds are in units of its own limit."""

    on_delay_ms: NotNegative = 200.0
    off_delay_ms: NotNegative = 1000.0
    on_threshold: Positive = 1.0
    off_threshold: Positive = 1.0
    latched: bool = False

    @model_validator(mode="after")
    def _off_is_not_above_on(self) -> "AlarmSettings":
        if self.off_threshold > self.on_threshold:
            raise ValueError("off_threshold must not be above on_threshold")
        return self


class StationSettings(Settings):
    """One robot station: what it measures, and its time rules (design defaults)."""

    id: StationPath
    model: str = "none"
    modalities: Annotated[dict[Name, ModalitySettings], Field(min_length=1)]
    anchor: str | None = None
    window_hz: Positive | None = None
    out_of_order_ms: NotNegative = 50.0
    idle_timeout_ms: Positive = 500.0
    max_jump_ms: Positive = 10_000.0
    rewind_ms: Positive = 5_000.0
    epoch_gap_ms: Positive = 2_000.0
    offline_after_ms: Positive = 5_000.0
    budget_mib: Positive = 64.0
    alarms: dict[str, AlarmSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _references_exist(self) -> "StationSettings":
        if self.anchor is not None and self.anchor not in self.modalities:
            known = ", ".join(self.modalities)
            raise ValueError(f"anchor {self.anchor!r} is no modality of this station ({known})")
        if self.anchor is not None and self.modalities[self.anchor].kind is not Kind.IMAGE:
            raise ValueError(f"anchor {self.anchor!r} is no image; leave it out for a fixed grid")
        if "station" in self.modalities:
            raise ValueError("the modality name 'station' is reserved for the station itself")
        return self


class JsonFields(Settings):
    """Where a plant's own JSON keeps time and values (RFC 6901 pointers).

    ``values`` is one pointer to an array (of numbers, or of rows) or one pointer a channel.
    """

    values: str | tuple[str, ...]
    time: str | None = None
    time_unit: Literal["ns", "us", "ms", "s", "rfc3339"] = "ms"
    scale: float = 1.0


class InputSettings(Settings):
    """One mapped topic: ``{station}``, ``{enterprise}`` … ``{cell}``, ``{modality}`` capture.

    ``station`` completes what the topic does not say and may use the captures.
    """

    topic: str
    format: Literal["weldfusion", "json", "jpeg", "png"] = "weldfusion"
    modality: str = "{modality}"
    station: str = "{station}"
    time: Literal["payload", "header", "broker", "arrival"] = "payload"
    json_fields: JsonFields | None = Field(default=None, alias="json")

    @model_validator(mode="after")
    def _can_be_read(self) -> "InputSettings":
        if (self.format == "json") != (self.json_fields is not None):
            raise ValueError("format json needs 'json: {values: …}', the others must not have it")
        if self.format in ("jpeg", "png") and self.time == "payload":
            raise ValueError(f"a bare {self.format} holds no time: use header, broker or arrival")
        if self.json_fields and self.time == "payload" and self.json_fields.time is None:
            raise ValueError("time: payload needs json.time, a pointer to the capture time")
        return self


class ModelSettings(Settings):
    """How the model is run."""

    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    max_batch: Annotated[int, Field(ge=1, le=256)] = 16
    max_wait_ms: NotNegative = 5.0


class WorkerSettings(Settings):
    """A worker beside a broker: ``kind: worker``."""

    kind: Literal["worker"]
    name: Name = "worker-1"
    broker: BrokerConfig
    stations: Annotated[tuple[StationSettings, ...], Field(min_length=1, max_length=256)]
    inputs: tuple[InputSettings, ...] = ()
    model: ModelSettings = ModelSettings()
    max_image_mpx: Positive = 16.0
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    status_interval_s: Positive = 5.0
    state_retention_s: NotNegative = 600.0

    @model_validator(mode="after")
    def _stations_are_distinct(self) -> "WorkerSettings":
        ids = [station.id for station in self.stations]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"stations listed twice: {', '.join(twice)}")
        return self


SettingsT = TypeVar("SettingsT", bound=BaseModel)


def read_mapping(path: Path) -> dict[str, Any]:
    """The YAML mapping in a file; raises ConfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"is not UTF-8 text: {error.reason}"]) from None
    except yaml.YAMLError as error:
        raise ConfigError(str(path), [f"is not YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(content, dict):
        raise ConfigError(str(path), ["must be a mapping with a 'kind' key at its top"])
    return content


def parse(content: Mapping[str, Any], settings: type[SettingsT], source: str) -> SettingsT:
    """Validate a mapping; raises ConfigError naming every wrong key."""
    try:
        return settings.model_validate(content)
    except ValidationError as error:
        raise ConfigError(source, problems_of(error)) from None


def problems_of(error: ValidationError) -> list[str]:
    """One line for each wrong key: its dotted path, what is wrong, and what was there."""
    lines = []
    for one in error.errors(include_url=False):
        path = ".".join(str(part) for part in one["loc"]) or "(top)"
        text = one["msg"].removeprefix("Value error, ")
        given = one.get("input")
        shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
        lines.append(f"{path}: {text}{shown}")
    return lines


def override(content: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply ``path.to.key=value`` (YAML values, list items by number); raises ConfigError."""
    for assignment in assignments:
        path, equals, value = assignment.partition("=")
        if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", path):
            raise ConfigError("--set", [f"{assignment!r} is not path.to.key=value"])
        content = _with_value(content, path.split("."), yaml.safe_load(value), path)
    return content


def _with_value(node: Any, keys: list[str], value: Any, path: str) -> Any:
    key, *rest = keys
    if isinstance(node, list):
        if not key.isdigit() or int(key) >= len(node):
            raise ConfigError("--set", [f"{path}: {key!r} is no item of a list of {len(node)}"])
        changed = _with_value(node[int(key)], rest, value, path) if rest else value
        return [*node[: int(key)], changed, *node[int(key) + 1 :]]
    if not isinstance(node, dict | None):
        raise ConfigError("--set", [f"{path}: {key!r} lies below a plain value"])
    old = dict(node or {})
    old[key] = _with_value(old.get(key), rest, value, path) if rest else value
    return old
