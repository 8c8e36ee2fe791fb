"""Windows on disk: an hour of frames, decoded once, and not decoded again after an interruption."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from model.checkpoint import under, write_atomically
from model.windows import Windows
from simulators.recordings.recording import Recording

BESIDE = "windows.safetensors"


class WindowFiles:
    """The windows of recordings in a directory; their frames are read as if they were in memory.

    An hour of frames takes ten gigabytes: what is not being looked at stays on disk. ``origin``
    tells what the windows were made of: those of another origin are made anew.
    """

    def __init__(self, directory: Path, origin: str) -> None:
        self._directory, self._origin = directory, origin
        self._shapes: dict[str, tuple[int, ...]] = {}

    def recalled(self) -> Windows | None:
        """Return the windows that an earlier run finished, if they are of the same origin.

        What cannot be read costs a fresh start, nothing else.
        """
        try:
            with safe_open(str(self._directory / BESIDE), framework="np") as file:
                if (file.metadata() or {}).get("origin") != self._origin:
                    return None
                keys: list[str] = list(file.keys())
                kept: dict[str, np.ndarray] = {key: file.get_tensor(key) for key in keys}
            self._shapes = {key: tuple(shape) for key, shape in under("shape.", kept).items()}
            frames = self.frames()
        except (OSError, SafetensorError, ValueError):  # not there, damaged, frames cut short
            return None
        return Windows(
            images=frames,
            previous=under("previous.", kept),
            vectors=under("vectors.", kept),
            present=under("present.", kept),
            episode=kept["episode"],
        )

    def begin(self) -> None:
        """Make room for new windows."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for stale in (self._directory / BESIDE, *self._directory.glob("*.frames")):
            stale.unlink(missing_ok=True)
        self._shapes = {}

    def keep(self, windows: Windows) -> Windows:
        """Put an episode's frames behind those there are; return it with frames from the file."""
        kept = {}
        for name, frames in windows.images.items():
            count, *size = self._shapes.get(name, (0, *frames.shape[1:]))
            with self._path(name).open("ab") as file:
                file.write(frames.tobytes())
            self._shapes[name] = (count + len(frames), *size)
            kept[name] = self.frames()[name][count:]
        return replace(windows, images=kept)

    def frames(self) -> dict[str, np.ndarray]:
        """Every frame so far, uint8 (N, H, W, 3), by modality."""
        return {
            name: np.memmap(self._path(name), np.uint8, "r", shape=shape)
            for name, shape in self._shapes.items()
        }

    def finish(self, windows: Windows) -> None:
        """Keep the rest of all windows, so that they can be recalled."""
        named = {
            "shape.": {name: np.array(shape) for name, shape in self._shapes.items()},
            "previous.": windows.previous,
            "vectors.": windows.vectors,
            "present.": windows.present,
        }
        arrays = {f"{kind}{name}": x for kind, each in named.items() for name, x in each.items()}
        whole = save({"episode": windows.episode, **arrays}, metadata={"origin": self._origin})
        write_atomically(self._directory / BESIDE, whole)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.frames"


def origin_of(recordings: Iterable[Recording], map_path: Path | None, settings: str) -> str:
    """Return what tells these episodes of these recordings, read by this map, from all others."""
    parts: list[object] = [settings, *([] if map_path is None else _dated(map_path))]
    for one in recordings:
        parts += _dated(one.path)
        parts += [[episode.number, episode.start_ns, episode.end_ns] for episode in one.episodes]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _dated(path: Path) -> list[tuple[str, int, int]]:
    """The size and the date of a file, or of all in a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(str(one), one.stat()) for one in files]
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
