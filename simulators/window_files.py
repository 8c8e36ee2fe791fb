"""Windows on disk: an hour of frames, decoded once, and not decoded again after an interruption."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model.windows import Windows
from simulators.recordings.recording import Recording

BESIDE = "windows.npz"


class WindowFiles:
    """The windows of recordings in a directory; their frames are read as if they were in memory.

    An hour of frames takes ten gigabytes: what is not being looked at stays on disk. ``origin``
    tells what the windows were made of: those of another origin are made anew.
    """

    def __init__(self, directory: Path, origin: str) -> None:
        self._directory, self._origin = directory, origin
        self._shapes: dict[str, tuple[int, ...]] = {}

    def recalled(self) -> Windows | None:
        """Return the windows that an earlier run finished, if they are of the same origin."""
        if not (self._directory / BESIDE).exists():
            return None
        with np.load(self._directory / BESIDE) as kept:
            if str(kept["origin"]) != self._origin:
                return None
            self._shapes = {key: tuple(shape) for key, shape in _under("shape.", kept).items()}
            return Windows(
                images=self.frames(),
                previous=_under("previous.", kept),
                vectors=_under("vectors.", kept),
                present=_under("present.", kept),
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
        arrays: dict[str, Any] = {
            f"{kind}{name}": one for kind, each in named.items() for name, one in each.items()
        }
        unfinished = self._directory / f"unfinished-{BESIDE}"
        np.savez(unfinished, origin=self._origin, episode=windows.episode, **arrays)
        unfinished.replace(self._directory / BESIDE)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.frames"


def origin_of(recordings: Iterable[Recording], *settings: str) -> str:
    """Return what tells these episodes of these recordings, as they are now, from all others."""
    parts: list[object] = list(settings)
    for one in recordings:
        paths = sorted(one.path.rglob("*")) if one.path.is_dir() else [one.path]
        files = [path for path in paths if path.is_file()]
        parts += [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
        parts += [[episode.number, episode.start_ns, episode.end_ns] for episode in one.episodes]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _under(prefix: str, kept: "np.lib.npyio.NpzFile") -> dict[str, np.ndarray]:
    return {key.removeprefix(prefix): kept[key] for key in kept.files if key.startswith(prefix)}
