"""What an MCAP of ours says about itself, as flat text in its Metadata records."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from simulators.recordings.recording import Episode, Modality, RecordingError
from stream.messages import Kind

RECORDING = "weldfusion.recording"
MODALITY = "weldfusion.modality"
EPISODE = "weldfusion.episode"
LAYOUT = "weldfusion.layout"  # the key under which the version stands
VERSION = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEpisode:
    """An episode and the log times between which all of its messages lie, both included."""

    episode: Episode
    first_log_ns: int
    last_log_ns: int


def write_modality(modality: Modality) -> dict[str, str]:
    """A modality as text; what is unknown is left out."""
    fields: dict[str, object] = {
        "name": modality.name,
        "kind": modality.kind.value,
        "rate_hz": modality.rate_hz,
        "names": modality.names,
        "units": modality.units,
        "size_px": modality.size_px,
        "noise_sd": modality.noise_sd,
        "quantum": modality.quantum,
    }
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in fields.items()
        if value is not None and value != ()
    }


def read_modality(fields: Mapping[str, str]) -> Modality:
    """The inverse of ``write_modality``; raises RecordingError with the field."""
    try:
        size = json.loads(fields.get("size_px", "null"))
        return Modality(
            name=fields["name"],
            kind=Kind(fields["kind"]),
            rate_hz=float(fields["rate_hz"]),
            names=tuple(json.loads(fields.get("names", "[]"))),
            units=tuple(json.loads(fields.get("units", "[]"))),
            size_px=None if size is None else (int(size[0]), int(size[1])),
            noise_sd=tuple(map(float, json.loads(fields.get("noise_sd", "[]")))),
            quantum=tuple(map(float, json.loads(fields.get("quantum", "[]")))),
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise RecordingError(f"metadata {MODALITY} {dict(fields)}: {error!r}") from None


def write_episode(logged: LoggedEpisode) -> dict[str, str]:
    """An episode as text, all times in ns."""
    return {
        "number": str(logged.episode.number),
        "start_ns": str(logged.episode.start_ns),
        "end_ns": str(logged.episode.end_ns),
        "first_log_ns": str(logged.first_log_ns),
        "last_log_ns": str(logged.last_log_ns),
    }


def read_episode(fields: Mapping[str, str]) -> LoggedEpisode:
    """The inverse of ``write_episode``; raises RecordingError with the field."""
    try:
        return LoggedEpisode(
            episode=Episode(
                number=int(fields["number"]),
                start_ns=int(fields["start_ns"]),
                end_ns=int(fields["end_ns"]),
            ),
            first_log_ns=int(fields["first_log_ns"]),
            last_log_ns=int(fields["last_log_ns"]),
        )
    except (KeyError, ValueError) as error:
        raise RecordingError(f"metadata {EPISODE} {dict(fields)}: {error!r}") from None
