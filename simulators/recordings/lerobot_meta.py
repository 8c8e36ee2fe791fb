"""What a LeRobot v2.1 data set says of itself in ``meta/``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulators.recordings.recording import RecordingError
from stream.messages import Kind

VERSION = "v2.1"
OBSERVATION = "observation."
IMAGE_DTYPES = frozenset({"video", "image"})
VECTOR_DTYPES = frozenset({"float32", "float64"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One observed feature; ``shape`` is (channels,) or (height, width, colours)."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """Image or vector."""
        return Kind.IMAGE if self.dtype in IMAGE_DTYPES else Kind.VECTOR

    @property
    def short_name(self) -> str:
        """``observation.images.cam_high`` -> ``cam_high``."""
        return self.key.rpartition(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeRobotMeta:
    """``lengths``: rows of each episode by its number."""

    path: Path
    fps: float
    chunk: int
    data_path: str
    video_path: str
    features: tuple[Feature, ...]
    lengths: Mapping[int, int]

    def data_file(self, number: int) -> Path:
        """The parquet file of an episode."""
        return self.path / self.data_path.format(
            episode_chunk=number // self.chunk, episode_index=number
        )

    def video_file(self, number: int, key: str) -> Path:
        """The video of an episode's camera."""
        return self.path / self.video_path.format(
            episode_chunk=number // self.chunk, episode_index=number, video_key=key
        )


def read_meta(path: Path) -> LeRobotMeta:
    """Read ``meta/info.json`` and ``meta/episodes.jsonl``; raises RecordingError."""
    file = path / "meta" / "info.json"
    info = _parsed(file, _text(file))
    version = info.get("codebase_version")
    if version != VERSION:
        raise RecordingError(
            f"{file}: version {version!r}, this program reads {VERSION!r}; "
            "LeRobot's own scripts convert between versions"
        )
    try:
        meta = LeRobotMeta(
            path=path,
            fps=float(info["fps"]),
            chunk=int(info["chunks_size"]),
            data_path=str(info["data_path"]),
            video_path=str(info.get("video_path") or ""),
            features=_features(file, info["features"]),
            lengths=_lengths(path / "meta" / "episodes.jsonl"),
        )
        for number in meta.lengths:
            meta.data_file(number), meta.video_file(number, "")
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        raise RecordingError(f"{file}: missing or wrong: {error}") from None
    if not (meta.fps > 0 and meta.chunk > 0):
        raise RecordingError(f"{file}: fps and chunks_size must be above 0")
    return meta


def _features(file: Path, described: Mapping[str, Mapping[str, Any]]) -> tuple[Feature, ...]:
    """Observed pictures and vectors; the rest are commands and bookkeeping."""
    features = tuple(
        _feature(key, one)
        for key, one in described.items()
        if key.startswith(OBSERVATION)
        and (
            one["dtype"] in IMAGE_DTYPES
            or (one["dtype"] in VECTOR_DTYPES and len(one["shape"]) == 1)
        )
    )
    if not features:
        raise RecordingError(f"{file}: no feature {OBSERVATION}* is a picture or a vector")
    short = [feature.short_name for feature in features]
    for feature in features:
        if short.count(feature.short_name) > 1:
            raise RecordingError(f"{file}: two features end in {feature.short_name!r}")
    return features


def _feature(key: str, described: Mapping[str, Any]) -> Feature:
    shape = tuple(int(side) for side in described["shape"])
    if described["dtype"] in IMAGE_DTYPES:
        axes = _flat(described.get("names"))
        if axes[:1] in (("channel",), ("channels",)) or (not axes and shape[0] in (1, 3, 4)):
            shape = (*shape[1:], shape[0])
        return Feature(key=key, dtype=described["dtype"], shape=shape, names=())
    names = _flat(described.get("names"))
    if len(names) != shape[0]:
        names = tuple(f"{key.rpartition('.')[2]}_{channel}" for channel in range(shape[0]))
    return Feature(key=key, dtype=described["dtype"], shape=shape, names=names)


def _flat(names: Any) -> tuple[str, ...]:
    """Names come as a list, a list in a list, or lists by group."""
    if isinstance(names, str):
        return (names,)
    if isinstance(names, Mapping):
        names = list(names.values())
    return tuple(name for one in names or () for name in _flat(one))


def _lengths(file: Path) -> dict[int, int]:
    lengths: dict[int, int] = {}
    for row, line in enumerate(_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        described = _parsed(file, line, f": row {row}")
        try:
            number, length = int(described["episode_index"]), int(described["length"])
        except (KeyError, ValueError, TypeError) as error:
            raise RecordingError(f"{file}: row {row}: missing or wrong: {error}") from None
        if length < 1 or number < 0 or number in lengths:
            raise RecordingError(f"{file}: row {row}: episode {number} of {length} rows")
        lengths[number] = length
    if not lengths:
        raise RecordingError(f"{file}: lists no episode")
    return lengths


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise RecordingError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RecordingError(f"{file}: is not UTF-8 text") from None


def _parsed(file: Path, text: str, place: str = "") -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise RecordingError(f"{file}{place}: is not JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise RecordingError(f"{file}{place}: is not a JSON object")
    return parsed
