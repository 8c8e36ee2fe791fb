"""Pictures that lie in files of their own."""

from pathlib import Path

from simulators.recordings.pictures import jpeg_frame, shrunk_size
from simulators.recordings.recording import RecordingError
from stream.images import check, decode, header_size_px, sniff
from stream.messages import Frame, Malformed


def still_frame(file: Path, modality: str, time_ns: int, max_size_px: int | None) -> Frame:
    """The file's bytes as they are, or as JPEG where the longer side is to be smaller.

    Raises RecordingError.
    """
    data = _bytes(file)
    try:
        pixels = decode(data)
        format_ = sniff(data)
    except Malformed as error:
        raise RecordingError(f"{file}: {error}") from None
    size_px = shrunk_size((pixels.shape[0], pixels.shape[1]), max_size_px)
    if size_px != pixels.shape[:2]:
        return jpeg_frame(modality, time_ns, pixels, size_px)
    return Frame(modality=modality, time_ns=time_ns, data=data, format=format_, pixels=pixels)


def still_size_px(file: Path) -> tuple[int, int]:
    """(height, width) from the file's header; raises RecordingError."""
    try:
        return header_size_px(_bytes(file))
    except Malformed as error:
        raise RecordingError(f"{file}: {error}") from None


def whats_wrong(file: Path) -> str | None:
    """Why a picture cannot be read, as far as its first and last bytes tell; None if it can."""
    try:
        check(_bytes(file))
    except (Malformed, RecordingError) as error:
        return str(error)
    return None


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise RecordingError(f"{file}: {error.strerror}") from None
