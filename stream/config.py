"""How worker and bridge are configured: YAML in, frozen values or every mistake at once out."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_core import ErrorDetails

from stream.alarms import STATION, Condition
from stream.input_settings import CAPTURE
from stream.input_settings import InputSettings as InputSettings
from stream.messages import Kind
from stream.settings import STATION_PATTERN as STATION_PATTERN
from stream.settings import Channels, Finite, NotNegative, RateHz, StationPath
from stream.settings import Name as Name
from stream.settings import Positive as Positive
from stream.settings import Settings as Settings
from stream.transports.broker import BrokerConfig

LONGEST_SHOWN = 60
MAX_STATIONS = 256


class ConfigError(Exception):
    """A configuration that cannot be used; ``problems`` names every wrong key with its path."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join([f"{source}:", *(f"  {line}" for line in problems)]))
        self.problems = tuple(problems)


class ModalitySettings(Settings):
    """One named input of a station. A None is filled from the checkpoint, else by its default."""

    kind: Kind
    rate_hz: RateHz
    samples: Annotated[int, Field(ge=2, le=1024)] = 32
    channels: Channels = None
    size_px: tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]] = (256, 256)
    out_of_order_ms: NotNegative | None = None
    clock_offset_ms: Finite = 0.0
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

    @field_validator("off_threshold")
    @classmethod
    def _off_is_not_above_on(cls, off: float, info: ValidationInfo) -> float:
        if off > info.data.get("on_threshold", off):
            raise ValueError(f"must not be above on_threshold, {info.data['on_threshold']:g}")
        return off


def _alarm_key(key: str, info: ValidationInfo) -> str:
    modality, _, condition = key.rpartition("/")
    modalities = info.data.get("modalities")
    known = not modality or modalities is None or modality in {STATION, *modalities}
    if key == "default" or (known and condition in list(Condition)):
        return key
    conditions = ", ".join(Condition)
    raise ValueError(f"is neither default nor [modality/]condition, a condition being {conditions}")


AlarmKey = Annotated[str, AfterValidator(_alarm_key)]


class StationSettings(Settings):
    """One robot station: what it measures, and its time rules."""

    id: StationPath
    model: str = "none"
    modalities: Annotated[dict[Name, ModalitySettings], Field(min_length=1)]
    anchor: str | None = None
    window_hz: RateHz | None = None
    out_of_order_ms: NotNegative = 50.0
    idle_timeout_ms: Positive = 500.0
    max_jump_ms: Positive = 10_000.0
    rewind_ms: Positive = 5_000.0
    epoch_gap_ms: Positive = 2_000.0
    offline_after_ms: Positive = 5_000.0
    budget_mib: Positive = 64.0
    alarms: dict[Annotated[str, AfterValidator(_alarm_key)], AlarmSettings] = Field(
        default_factory=dict
    )

    @field_validator("modalities")
    @classmethod
    def _no_name_is_reserved(
        cls, named: dict[str, ModalitySettings]
    ) -> dict[str, ModalitySettings]:
        if STATION in named:
            raise ValueError("the modality name 'station' is reserved for the station itself")
        return named

    @field_validator("anchor")
    @classmethod
    def _anchor_is_an_image(cls, anchor: str | None, info: ValidationInfo) -> str | None:
        modalities = info.data.get("modalities")
        if anchor is None or modalities is None:
            return anchor
        if anchor not in modalities:
            raise ValueError(f"is no modality of this station, which has {', '.join(modalities)}")
        if modalities[anchor].kind is not Kind.IMAGE:
            raise ValueError("is no image; leave it out for windows on a fixed grid")
        return anchor


class ModelSettings(Settings):
    """How the model is run, and what gives way where it is too slow for what comes in.

    What has waited longer than ``correct_within_ms`` is judged, so that faults are told in time,
    but not corrected. Beyond that, ``block`` takes in no more than is judged, and the lag grows;
    ``freshest`` skips windows that newer ones have overtaken.
    """

    device: Annotated[str, StringConstraints(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    max_batch: Annotated[int, Field(ge=1, le=256)] = 16
    max_wait_ms: NotNegative = 5.0
    overload: Literal["block", "freshest"] = "block"
    correct_within_ms: NotNegative | None = 1000.0


class BrokerSettings(BrokerConfig):
    """A broker in a file of its own, for the commands that take a URL: ``kind: broker``."""

    kind: Literal["broker"]


def _input_place(one: InputSettings, info: ValidationInfo) -> InputSettings:
    stations = {station.id: station for station in info.data.get("stations", ())}
    names = {name for station in stations.values() for name in station.modalities}
    if stations and not CAPTURE.search(one.modality) and one.modality not in names:
        raise ValueError(f"modality {one.modality!r} is in none of the stations")
    if stations and not CAPTURE.search(one.station) and one.station not in stations:
        raise ValueError(f"station {one.station!r} is none of the stations")
    return one


class PlantSettings(Settings):
    """The stations that are served, and how their inputs are mapped."""

    stations: tuple[StationSettings, ...]
    inputs: tuple[Annotated[InputSettings, AfterValidator(_input_place)], ...] = ()
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None

    @field_validator("stations")
    @classmethod
    def _stations_are_distinct(
        cls, stations: tuple[StationSettings, ...]
    ) -> tuple[StationSettings, ...]:
        # Not by Field(min_length): a wrong item does not count there and adds a line of its own.
        if not 1 <= len(stations) <= MAX_STATIONS:
            raise ValueError(f"must be 1 to {MAX_STATIONS}, not {len(stations)}")
        ids = [station.id for station in stations]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"listed twice: {', '.join(twice)}")
        return stations


class WorkerSettings(PlantSettings):
    """A worker beside a broker: ``kind: worker``."""

    kind: Literal["worker"]
    name: Name = "worker-1"
    broker: BrokerConfig
    model: ModelSettings = ModelSettings()
    max_image_mpx: Positive = 16.0
    status_interval_s: Positive = 5.0
    state_retention_s: NotNegative = 600.0
    state_dir: Path | None = None


def _speaks(protocol: str) -> AfterValidator:
    def check(broker: BrokerConfig) -> BrokerConfig:
        if not broker.address.scheme.startswith((protocol, "memory")):
            raise ValueError(f"must be a broker of {protocol}://, not {broker.address.scheme}://")
        return broker

    return AfterValidator(check)


class BridgeSettings(PlantSettings):
    """From MQTT into Kafka: ``kind: bridge``. Its stations and inputs are a worker's on MQTT."""

    kind: Literal["bridge"]
    name: Name = "bridge-1"
    source: Annotated[BrokerConfig, _speaks("mqtt")] = Field(alias="from")
    target: Annotated[BrokerConfig, _speaks("kafka")] = Field(alias="to")


NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)  # a date that is none is a ValueError
SettingsT = TypeVar("SettingsT", bound=BaseModel)


def read_mapping(path: Path) -> dict[str, Any]:
    """The YAML mapping in a file; raises ConfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"is not UTF-8 text: {error.reason}"]) from None
    except NOT_YAML as error:
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
        path = ".".join(str(part) for part in one["loc"] if part != "[key]") or "(top)"
        text = one["msg"].removeprefix("Value error, ")
        lines.append(f"{path}: {text}{_shown(one)}")
    return lines


def _shown(error: ErrorDetails) -> str:
    """What was given; not what may be a secret: an unknown key's value, or a broker's URL."""
    given = error.get("input")
    near_broker = not {"broker", "from", "to", "url"}.isdisjoint(error["loc"])
    secret = near_broker or error["type"] == "extra_forbidden"
    if secret or not isinstance(given, str | int | float | bool):
        return ""
    text = repr(given)
    return f" (got {text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + '…'})"


def with_broker(
    content: Mapping[str, Any], key: str, url: str | None, insecure: bool
) -> dict[str, Any]:
    """What the command line says of a broker over its section of the configuration."""
    section = content.get(key, {})
    if not isinstance(section, dict):
        return dict(content)
    given = {"url": url} if url else {}
    allowed = {"insecure": True} if insecure else {}
    return {**content, key: {**section, **given, **allowed}}


def override(content: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply ``path.to.key=value`` (YAML values, list items by number); raises ConfigError."""
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals or not re.fullmatch(r"[\w/-]+(\.[\w/-]+)*", path):
            raise ConfigError("--set", [f"{assignment!r} is not path.to.key=value"])
        try:
            value = yaml.safe_load(text)
        except NOT_YAML:
            raise ConfigError("--set", [f"{path}: the value is not YAML"]) from None
        content = _with_value(content, path.split("."), value, path)
    return content


def _with_value(node: Any, keys: list[str], value: Any, path: str) -> Any:
    key, *rest = keys
    if isinstance(node, list):
        if not key.isdecimal() or int(key) >= len(node):
            raise ConfigError("--set", [f"{path}: {key!r} is no item of a list of {len(node)}"])
        changed = _with_value(node[int(key)], rest, value, path) if rest else value
        return [*node[: int(key)], changed, *node[int(key) + 1 :]]
    if not isinstance(node, dict | None):
        raise ConfigError("--set", [f"{path}: {key!r} lies below a plain value"])
    old = dict(node or {})
    old[key] = _with_value(old.get(key), rest, value, path) if rest else value
    return old
