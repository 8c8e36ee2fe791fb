"""Open any recording: ``PATH`` or ``PATH#<episodes>``, by what lies there."""

from pathlib import Path

import structlog

from simulators.recordings.episodes import EVERY_EPISODE, EpisodeChoice, parse_episodes
from simulators.recordings.mapping import NO_MAP, RecordingMap, read_map
from simulators.recordings.recording import LACKING, Recording, RecordingError
from simulators.recordings.timeline import TimedRecording


def open_recording(spec: str | Path, map: Path | RecordingMap | None = None) -> TimedRecording:
    """Open a recording for reading.

    ``spec`` may end in ``#`` and the data set's own episode numbers (``#1-21``, ``#3,5,7-9``):
    a range takes those that exist in it, a single number must exist. Raises RecordingError,
    and ConfigError for a wrong ``map``.
    """
    path, choice = split_spec(spec)
    recording_map = read_map(map) if isinstance(map, Path) else map
    if path.is_dir():
        return _open_folder(path, recording_map or NO_MAP, choice)
    if not path.exists():
        raise RecordingError(f"{path}: no such file or folder")
    return _open_file(path, recording_map, choice)


def tell_lacking(recording: Recording) -> None:
    """Log what of a recording was not read or has no partner, if anything."""
    if lacking := recording.metadata.get(LACKING):
        structlog.get_logger(__name__).warning(
            "the recording is not whole", path=str(recording.path), lacking=lacking
        )


def split_spec(spec: str | Path) -> tuple[Path, EpisodeChoice]:
    """``PATH#1-21`` -> the path and the episodes; a file that has the # in its name wins."""
    text = str(spec)
    path, mark, numbers = text.rpartition("#")
    if not mark or Path(text).exists():
        return Path(text), EVERY_EPISODE
    return Path(path), parse_episodes(numbers)


def _open_folder(path: Path, recording_map: RecordingMap, choice: EpisodeChoice) -> TimedRecording:
    from simulators.recordings.folder import FolderRecording
    from simulators.recordings.lerobot import LeRobotRecording
    from simulators.recordings.sequences import SequenceRecording
    from simulators.recordings.video import VideoRecording, video_files

    if recording_map.numbered:
        return SequenceRecording(path, recording_map, choice)
    if (path / "meta" / "info.json").is_file():
        return LeRobotRecording(path, recording_map, choice)
    if video_files(path):
        return VideoRecording(path, recording_map, choice)
    mcaps = sorted(path.glob("*.mcap"))
    if mcaps:
        raise RecordingError(f"{path}: a folder of MCAP files; name one, as {mcaps[0]}")
    return FolderRecording(path, recording_map, choice)


def _open_file(
    path: Path, recording_map: RecordingMap | None, choice: EpisodeChoice
) -> TimedRecording:
    from simulators.recordings.mcap import McapRecording
    from simulators.recordings.video import VIDEO_SUFFIXES, VideoRecording

    if recording_map is not None and recording_map.numbered:
        raise RecordingError(f"{path}: a map with files is for a folder, this is a file")
    if path.suffix.lower() == ".mcap":
        if recording_map is not None:
            raise RecordingError(f"{path}: an MCAP describes itself and takes no map")
        return McapRecording(path, choice)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoRecording(path, recording_map or NO_MAP, choice)
    known = ", ".join([".mcap", *sorted(VIDEO_SUFFIXES)])
    raise RecordingError(f"{path}: not a recording this program knows ({known}, or a folder)")
