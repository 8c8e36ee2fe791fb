"""Pictures out of video files, one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from simulators.recordings.recording import RecordingError
from stream.images import encode_jpeg, fit
from stream.messages import Frame, Pixels

JPEG_QUALITY = 90
# Containers count frames that a decoder may not give back at their very end.
FRAMES_THAT_MAY_LACK = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """A video file as its container describes it; ``size_px`` is (height, width)."""

    path: Path
    size_px: tuple[int, int]
    rate_hz: float
    frames: int
    opencv: bool  # whether OpenCV can decode it, else PyAV must


def probe(path: Path) -> Video:
    """Open a video with OpenCV, else with PyAV; raises RecordingError where neither can."""
    if not path.is_file():
        raise RecordingError(f"{path}: no such video file")
    return _probe_opencv(path) or probe_with_av(path)


def probe_with_av(path: Path) -> Video:
    """Describe a video with PyAV alone; raises RecordingError."""
    with _av_stream(path) as (container, stream), _named(path):
        rate = stream.average_rate or stream.guessed_rate
        frames = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
        height, width = stream.codec_context.height, stream.codec_context.width
        return Video(
            path=path,
            size_px=(height, width),
            rate_hz=float(rate or 0),
            frames=frames,
            opencv=False,
        )


def pictures(video: Video) -> Iterator[Pixels]:
    """Decode frame after frame to uint8 RGB (height, width, 3); raises RecordingError."""
    decoded = 0
    for pixels in _opencv_pictures(video) if video.opencv else _av_pictures(video):
        decoded += 1
        yield pixels
    if decoded == 0 or decoded < video.frames - FRAMES_THAT_MAY_LACK:
        raise RecordingError(
            f"{video.path}: frame {decoded} of {video.frames} cannot be decoded, "
            "the file is truncated or damaged"
        )


def shrunk_size(size_px: tuple[int, int], max_size_px: int | None) -> tuple[int, int]:
    """(height, width) with the longer side at most ``max_size_px``, in the same proportions."""
    longer = max(size_px)
    if max_size_px is None or longer <= max_size_px:
        return size_px
    height, width = (max(1, round(side * max_size_px / longer)) for side in size_px)
    return height, width


def jpeg_frame(modality: str, time_ns: int, pixels: Pixels, size_px: tuple[int, int]) -> Frame:
    """A frame of ``size_px`` as JPEG, out of decoded pixels."""
    data = encode_jpeg(fit(pixels, size_px), JPEG_QUALITY)
    return Frame(modality=modality, time_ns=time_ns, data=data, format="jpeg")


def _probe_opencv(path: Path) -> Video | None:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        done, bgr = capture.read()
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if not done or bgr is None or frames <= 0:
            return None
        return Video(
            path=path,
            size_px=(bgr.shape[0], bgr.shape[1]),
            rate_hz=float(capture.get(cv2.CAP_PROP_FPS)),
            frames=frames,
            opencv=True,
        )
    finally:
        capture.release()


def _opencv_pictures(video: Video) -> Iterator[Pixels]:
    capture = cv2.VideoCapture(str(video.path), cv2.CAP_FFMPEG)
    try:
        while True:
            done, bgr = capture.read()
            if not done:
                return
            yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    finally:
        capture.release()


def _av_pictures(video: Video) -> Iterator[Pixels]:
    with _av_stream(video.path) as (container, stream):
        decoded = iter(container.decode(stream))
        while True:
            with _named(video.path):
                frame = next(decoded, None)
                if frame is None:
                    return
                pixels = frame.to_ndarray(format="rgb24")
            yield pixels


@contextmanager
def _av_stream(path: Path) -> Iterator[tuple[Any, Any]]:
    """PyAV's container and its first video stream."""
    try:
        import av
    except ImportError:
        raise RecordingError(
            f"{path}: OpenCV cannot decode it and PyAV is not installed: "
            "pip install 'weldfusion[lerobot]'"
        ) from None
    with _named(path):
        container = av.open(str(path))
    with container:
        if not container.streams.video:
            raise RecordingError(f"{path}: holds no video")
        yield container, container.streams.video[0]


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn PyAV's errors, which know no file, into ours."""
    import av

    try:
        yield
    except (av.FFmpegError, OSError, ValueError) as error:
        raise RecordingError(f"{path}: cannot be decoded: {error}") from None
