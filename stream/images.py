"""Encoded images in, RGB arrays out, with every refusal given a reason."""

import struct

import cv2
import numpy as np

from stream.messages import Malformed, Pixels

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_FIRST = len(PNG_MAGIC)
PNG_AROUND = 12  # length, kind and checksum of a chunk
JPEG_MAGIC = b"\xff\xd8\xff"
# Start-of-frame markers carry the size; C4, C8 and CC lie in their range but are none.
JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_BARE = frozenset(range(0xD0, 0xD8)) | {0x01}
JPEG_FIRST = 0xC0
JPEG_SCAN = b"\xff\xda"
MAX_SCANS = 100  # a progressive picture has about ten; each costs a pass over all pixels
DEFAULT_MAX_PIXELS = 16_000_000


def sniff(data: bytes) -> str:
    """Tell "jpeg" from "png" by the first bytes; raises Malformed for anything else."""
    if data.startswith(JPEG_MAGIC):
        return "jpeg"
    if data.startswith(PNG_MAGIC):
        return "png"
    raise Malformed("not_an_image", f"starts with {data[:4].hex() or 'nothing'}")


def header_size_px(data: bytes) -> tuple[int, int]:
    """(height, width) from the header alone, so that a bomb is refused before it unfolds."""
    try:
        return _png_size(data) if sniff(data) == "png" else _jpeg_size(data)
    except (struct.error, IndexError):
        raise Malformed("truncated_image", f"header ends after {len(data)} bytes") from None


def _png_size(data: bytes) -> tuple[int, int]:
    (_, kind), (width, height) = _png_chunk(data, PNG_FIRST), struct.unpack_from(">II", data, 16)
    if kind != b"IHDR":
        raise Malformed("undecodable_image", f"a PNG that begins with {kind!r}")
    return height, width


def _png_chunk(data: bytes, at: int) -> tuple[int, bytes]:
    """(length, kind) of the chunk at a byte; refuses one that claims more than there is."""
    length, kind = struct.unpack_from(">I4s", data, at)
    if at + PNG_AROUND + length > len(data):
        raise Malformed(
            "truncated_image", f"{kind!r} at byte {at} of {len(data)} claims {length} bytes"
        )
    return length, kind


def _check_png(data: bytes) -> None:
    """Walk the chunks, since OpenCV takes whatever memory one of them claims, four GB at most.

    What could hide a size other than that of the first chunk is refused.
    """
    at, kind = PNG_FIRST, b""
    while kind != b"IEND":
        length, kind = _png_chunk(data, at)
        if kind == b"acTL" or (kind == b"IHDR" and at > PNG_FIRST):
            raise Malformed("undecodable_image", f"{kind!r} in a PNG: more than one picture")
        at += PNG_AROUND + length


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        if data[at] != 0xFF:
            raise Malformed("undecodable_image", f"no JPEG marker at byte {at}")
        marker = data[at + 1]
        if marker < JPEG_FIRST and marker not in JPEG_BARE:
            # To a decoder it is filling, not a segment: behind it another size could be hidden.
            raise Malformed("undecodable_image", f"no JPEG marker at byte {at}")
        if marker == 0xFF or marker in JPEG_BARE:
            at += 1 if marker == 0xFF else 2
        elif marker in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + length


def _check_jpeg(data: bytes) -> None:
    if (scans := data.count(JPEG_SCAN)) > MAX_SCANS:
        raise Malformed("image_too_large", f"{scans} scans, the limit is {MAX_SCANS}")
    if not data.rstrip(b"\x00").endswith(b"\xff\xd9"):
        raise Malformed("truncated_image", f"no end marker in {len(data)} bytes")


def check(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
    """Raise Malformed where an image is too large, empty or cut short."""
    height, width = header_size_px(data)
    if height * width == 0:
        raise Malformed("undecodable_image", f"{width}x{height} px hold no picture")
    if height * width > max_pixels:
        raise Malformed("image_too_large", f"{width}x{height} px, the limit is {max_pixels} px")
    look_through = _check_png if data.startswith(PNG_MAGIC) else _check_jpeg
    try:
        look_through(data)
    except struct.error:
        raise Malformed("truncated_image", f"no end marker in {len(data)} bytes") from None


def decode(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Pixels:
    """Decode JPEG or PNG (grey, RGB, RGBA, 8 or 16 bit) to uint8 RGB (height, width, 3)."""
    check(data, max_pixels)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise Malformed("undecodable_image", str(error)) from None
    if bgr is None:
        raise Malformed("undecodable_image", f"{len(data)} bytes of {sniff(data)}")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def fit(pixels: Pixels, size_px: tuple[int, int]) -> Pixels:
    """Resize to (height, width) by area; the same array where nothing changes."""
    if pixels.shape[:2] == size_px:
        return pixels
    height, width = size_px
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def encode_jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    """Encode uint8 RGB (height, width, 3) as JPEG."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"cannot encode an array of shape {pixels.shape} as JPEG")
    return data.tobytes()
