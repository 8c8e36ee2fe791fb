"""``weldfusion info``: what a recording holds, without playing it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from simulators.recordings.recording import Modality, RecordingError
from stream.config import ConfigError
from stream.messages import Kind, TimesNs

if TYPE_CHECKING:
    from rich.table import Table

    from simulators.recordings.timeline import TimedRecording

MANY_EPISODES = 8  # fewer are surveyed before a progress bar could be read


@dataclass(slots=True)
class Survey:
    """Capture times of one modality over all episodes; gaps are within an episode."""

    count: int = 0
    gaps: int = 0
    span_ns: int = 0
    largest_gap_ns: int = 0
    start_after_ns: int | None = None  # behind the earliest modality, in the first episode

    @property
    def rate_hz(self) -> float | None:
        """Readings a second within episodes, None for fewer than two."""
        return self.gaps * 1e9 / self.span_ns if self.span_ns else None

    def add(self, times_ns: TimesNs) -> None:
        """Count one episode's times (n,), in any order."""
        self.count += len(times_ns)
        if len(times_ns) > 1:
            ordered = np.sort(times_ns)
            self.gaps += len(times_ns) - 1
            self.span_ns += int(ordered[-1] - ordered[0])
            self.largest_gap_ns = max(self.largest_gap_ns, int(np.diff(ordered).max()))


def info(
    recording: Annotated[
        str, typer.Argument(help="A recording; may end in #<episodes>, as in g1_bottle_pick#1-21.")
    ],
    map: Annotated[
        Path | None,
        typer.Option("--map", help="YAML (kind: recording) for what the files do not say."),
    ] = None,
) -> None:
    """Show what a recording holds: episodes, modalities, rates, gaps and clocks."""
    try:
        opened = _open(recording, map)
        surveys = survey(opened)
    except (RecordingError, ConfigError) as error:
        typer.secho(f"info: {error}", err=True, fg=typer.colors.RED)
        raise typer.Exit(2) from None
    _show(opened, surveys)


def _open(spec: str, map_file: Path | None) -> "TimedRecording":
    """Open a recording; one without any times is shown with times made up, saying so."""
    from simulators.recordings.mapping import NO_MAP, read_map
    from simulators.recordings.open import open_recording
    from simulators.recordings.video import SIGNALS, UnknownRate

    recording_map = None if map_file is None else read_map(map_file)
    try:
        return open_recording(spec, recording_map)
    except UnknownRate as unknown:
        typer.secho(
            f"{unknown}. Shown here as if its rows spanned the whole video.",
            err=True,
            fg=typer.colors.YELLOW,
        )
        known = (recording_map or NO_MAP).with_rate(SIGNALS, unknown.spread_hz)
        return open_recording(spec, known)


def _show(recording: "TimedRecording", surveys: Mapping[str, Survey]) -> None:
    from rich.console import Console

    console = Console()
    for line in headline(recording):
        console.print(line, markup=False, highlight=False)
    console.print(modality_table(recording, surveys))
    for modality in recording.modalities.values():
        if modality.names:
            channels = ", ".join(_with_units(modality))
            console.print(f"{modality.name}: {channels}", markup=False, highlight=False)
    note = recording.metadata.get("note")
    if note:
        console.print(f"note: {note}", markup=False, highlight=False)


def survey(recording: "TimedRecording") -> dict[str, Survey]:
    """Look at every capture time of the chosen episodes; decodes no picture."""
    from rich.progress import track

    surveys = {name: Survey() for name in recording.modalities}
    for index, episode in enumerate(
        track(
            recording.episodes,
            description="reading times",
            transient=True,
            disable=len(recording.episodes) < MANY_EPISODES,
        )
    ):
        times = recording.capture_times(episode)
        for name, times_ns in times.items():
            surveys[name].add(times_ns)
        if index == 0:
            _note_starts(surveys, times)
    return surveys


def headline(recording: "TimedRecording") -> list[str]:
    """Path, format, episodes and duration, a line each."""
    episodes = recording.episodes
    seconds = sum(episode.end_ns - episode.start_ns for episode in episodes) / 1e9
    numbers = ", ".join(str(episode.number) for episode in episodes)
    return [
        f"path      {recording.path}",
        f"format    {recording.format}",
        f"episodes  {len(episodes)} ({numbers})",
        f"duration  {seconds:.2f} s in all",
        *(f"{key:<9} {text}" for key, text in recording.metadata.items() if key != "note"),
    ]


def modality_table(recording: "TimedRecording", surveys: Mapping[str, Survey]) -> "Table":
    """One row for each modality."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, padding=(0, 1))
    for title in ("modality", "kind", "holds"):
        table.add_column(title, overflow="fold")
    for title in ("Hz", "measured", "readings", "gap ms", "start ms"):
        table.add_column(title, justify="right", no_wrap=True)
    table.caption = "gap: the largest in an episode; start: after the first modality's"
    for name, modality in recording.modalities.items():
        table.add_row(name, modality.kind.value, *_figures(modality, surveys[name]))
    return table


def _figures(modality: Modality, seen: Survey) -> list[str]:
    start = "-" if seen.start_after_ns is None else f"{seen.start_after_ns / 1e6:.1f}"
    return [
        _holds(modality),
        f"{modality.rate_hz:.4g}",
        "-" if seen.rate_hz is None else f"{seen.rate_hz:.3f}",
        f"{seen.count:,}",
        f"{seen.largest_gap_ns / 1e6:.1f}",
        start,
    ]


def _holds(modality: Modality) -> str:
    if modality.kind is Kind.VECTOR:
        return f"{len(modality.names)} ch"
    if modality.size_px is None:
        return "size unknown"
    height, width = modality.size_px
    return f"{width}x{height} px"


def _with_units(modality: Modality) -> list[str]:
    units = modality.units or ("",) * len(modality.names)
    return [
        f"{name} ({unit})" if unit else name
        for name, unit in zip(modality.names, units, strict=False)
    ]


def _note_starts(surveys: Mapping[str, Survey], times: Mapping[str, TimesNs]) -> None:
    """The skew of the clocks, as far as it shows: who starts how long after the first."""
    starts = {name: int(times_ns.min()) for name, times_ns in times.items() if len(times_ns)}
    first = min(starts.values(), default=0)
    for name, start in starts.items():
        surveys[name].start_after_ns = start - first
