"""Recordings to windows, with the stream's own aligner and the replay's own injection."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from model.config import ModelConfig
from model.windows import Windows
from simulators.injection import Injections
from simulators.recordings.recording import Modality, Record
from stream.collation import collate
from stream.config import ModalitySettings, StationSettings
from stream.images import DEFAULT_MAX_PIXELS
from stream.intake import decoded
from stream.messages import Frame, Malformed, Reading, Window
from stream.station import Station

DATASET = "weldfusion/dataset/hall/line/cell"


def settings_for(model: ModelConfig, modalities: Mapping[str, Modality]) -> StationSettings:
    """A station as the model and the recording describe it together."""
    return StationSettings(
        id=DATASET,
        modalities={
            name: ModalitySettings(
                kind=modalities[name].kind,
                rate_hz=modalities[name].rate_hz,
                samples=one.samples if one.kind == "vector" else 32,
                channels=one.channels if one.kind == "vector" else None,
                size_px=one.size_px,
            )
            for name, one in model.modalities.items()
        },
        window_hz=model.window_hz,
    )


def windows_of(
    records: Iterable[Record], settings: StationSettings, injections: Injections
) -> Iterator[Window]:
    """Align one episode's records after injection; frames come decoded to the model's size."""
    station = Station(settings)
    for record in records:
        if record.reading.modality not in settings.modalities:
            continue
        reading = injections.apply(record.reading, record.clean)
        try:
            prepared = _prepared(reading, settings)
        except Malformed:
            continue
        windows, _ = station.add(prepared)
        yield from windows
    windows, _ = station.flush()
    yield from windows


def _prepared(reading: Reading, settings: StationSettings) -> Reading:
    if not isinstance(reading, Frame):
        return reading
    size_px = settings.modalities[reading.modality].size_px
    # thousands of windows are held at once, and only their pixels are looked at
    return replace(decoded(reading, size_px, DEFAULT_MAX_PIXELS), data=b"")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """The windows of one episode as arrays, with each window's anchor time (N,)."""

    windows: Windows
    anchors_ns: np.ndarray


def stretch_of(windows: Sequence[Window], model: ModelConfig, episode: int) -> Stretch:
    """One episode's windows, collated as the worker would."""
    batch = collate(windows, model.modalities)
    follows = np.arange(len(windows)) - 1
    return Stretch(
        windows=Windows(
            images={name: pixels.numpy() for name, pixels in batch.images.items()},
            previous={
                name: np.where(flags.numpy(), follows, -1)
                for name, flags in batch.has_previous.items()
            },
            vectors={name: values.numpy() for name, values in batch.vectors.items()},
            present={name: flags.numpy() for name, flags in batch.present.items()},
            episode=np.full(len(windows), episode, np.int64),
        ),
        anchors_ns=np.array([window.anchor_ns for window in windows], np.int64),
    )


def select(windows: Windows, index: np.ndarray) -> Windows:
    """The windows at ``index`` (sorted); a previous frame that is left out becomes none."""
    place = np.full(len(windows) + 1, -1, np.int64)
    place[index] = np.arange(len(index))
    return Windows(
        images={name: values[index] for name, values in windows.images.items()},
        previous={name: place[values[index]] for name, values in windows.previous.items()},
        vectors={name: values[index] for name, values in windows.vectors.items()},
        present={name: values[index] for name, values in windows.present.items()},
        episode=windows.episode[index],
    )


def joined(parts: Sequence[Windows], images: Mapping[str, np.ndarray] | None = None) -> Windows:
    """Several episodes' windows one after another; ``images`` where they lie together already."""
    starts = np.cumsum([0, *(len(part) for part in parts)])

    def together(pick: Callable[[Windows], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
        return {
            name: np.concatenate([pick(part)[name] for part in parts]) for name in pick(parts[0])
        }

    def moved(part: Windows, start: int) -> dict[str, np.ndarray]:
        return {
            name: np.where(values >= 0, values + start, -1)
            for name, values in part.previous.items()
        }

    previous = [moved(part, int(start)) for part, start in zip(parts, starts, strict=False)]
    return Windows(
        images=together(lambda part: part.images) if images is None else images,
        previous={
            name: np.concatenate([one[name] for one in previous]) for name in parts[0].previous
        },
        vectors=together(lambda part: part.vectors),
        present=together(lambda part: part.present),
        episode=np.concatenate([part.episode for part in parts]),
    )
