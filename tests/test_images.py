import struct
import zlib
from collections.abc import Callable
from contextlib import suppress

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.images import PNG_MAGIC, check, decode, encode_jpeg, fit, header_size_px, sniff
from stream.messages import Malformed, Pixels


def picture(height: int = 48, width: int = 37) -> Pixels:
    """RGB with a different slope in each channel, so that swapped channels show."""
    rows, columns = np.mgrid[:height, :width]
    slopes = [rows * 4, columns * 5, (rows + columns) * 2]
    return np.stack(slopes, axis=-1).clip(0, 255).astype(np.uint8)


def png(array: np.ndarray) -> bytes:
    done, data = cv2.imencode(".png", array)
    assert done
    return data.tobytes()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with_header(width: int, height: int) -> bytes:
    """A tiny file whose header promises any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 64)
    return PNG_MAGIC + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_with_header(width: int, height: int) -> bytes:
    data = bytearray(encode_jpeg(picture()))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def reason(act: Callable[[], object]) -> str:
    with pytest.raises(Malformed) as caught:
        act()
    assert caught.value.detail
    return caught.value.reason


# What is read


def test_a_png_comes_back_bit_for_bit_in_rgb() -> None:
    pixels = picture()
    assert np.array_equal(decode(png(pixels[..., ::-1])), pixels)


def test_a_jpeg_comes_back_nearly_as_it_was_in_rgb() -> None:
    pixels = picture()
    got = decode(encode_jpeg(pixels, quality=95))
    assert (got.dtype, got.shape) == (np.uint8, pixels.shape)
    assert np.abs(got.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("size_px", [(1, 1), (1, 9), (7, 3), (37, 101), (256, 255)])
def test_odd_sizes_are_read(size_px: tuple[int, int]) -> None:
    pixels = picture(*size_px)
    for data in (png(pixels), encode_jpeg(pixels)):
        assert header_size_px(data) == size_px
        assert decode(data).shape == (*size_px, 3)


def test_grey_and_alpha_and_sixteen_bits_become_eight_bit_rgb() -> None:
    pixels = picture()
    grey = pixels[..., 0]
    grey_rgb = np.repeat(grey[..., None], 3, axis=-1)
    assert np.array_equal(decode(png(grey)), grey_rgb)
    rgba = np.dstack([pixels[..., ::-1], np.full(grey.shape, 9, np.uint8)])
    assert np.array_equal(decode(png(rgba)), pixels)
    deep = decode(png(grey.astype(np.uint16) * 257))
    assert deep.dtype == np.uint8
    assert np.array_equal(deep, grey_rgb)
    deep_rgb = decode(png(pixels[..., ::-1].astype(np.uint16) * 257))
    assert np.array_equal(deep_rgb, pixels)


def test_a_grey_jpeg_becomes_rgb() -> None:
    grey = picture()[..., 0]
    done, data = cv2.imencode(".jpg", grey)
    assert done
    got = decode(data.tobytes())
    assert got.shape == (*grey.shape, 3)
    assert np.array_equal(got[..., 0], got[..., 2])


def test_a_progressive_jpeg_is_read_like_any_other() -> None:
    done, data = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert done
    assert b"\xff\xc2" in data.tobytes()
    assert decode(data.tobytes()).shape == (48, 37, 3)


def test_an_orientation_tag_turns_nothing_so_that_the_header_tells_the_shape() -> None:
    tag = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)  # rotate by 90 degrees
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + tag + struct.pack(">I", 0)
    plain = encode_jpeg(picture())
    turned = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
    assert np.array_equal(decode(turned), decode(plain))
    assert header_size_px(turned) == (48, 37)


def test_zeros_that_a_camera_pads_a_jpeg_with_are_no_truncation() -> None:
    data = encode_jpeg(picture())
    assert np.array_equal(decode(data + b"\0" * 500), decode(data))


def test_fitting_resizes_and_leaves_what_fits_alone() -> None:
    pixels = picture(64, 32)
    assert fit(pixels, (64, 32)) is pixels
    small = fit(pixels, (16, 8))
    assert (small.dtype, small.shape) == (np.uint8, (16, 8, 3))
    assert abs(small.mean() - pixels.mean()) < 2


# What is refused


def test_what_is_neither_jpeg_nor_png_is_refused() -> None:
    assert sniff(encode_jpeg(picture())) == "jpeg"
    assert sniff(png(picture())) == "png"
    for data in (b"", b"GIF89a", b"\x00" * 100):
        assert reason(lambda data=data: decode(data)) == "not_an_image"


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_an_image_cut_short_is_refused(kept: float) -> None:
    for data in (encode_jpeg(picture(100, 100)), png(picture(100, 100))):
        cut = data[: max(int(len(data) * kept), 12)]
        assert reason(lambda cut=cut: decode(cut)) == "truncated_image"


@pytest.mark.parametrize("whole", [png_with_header, jpeg_with_header])
def test_a_hundred_megapixels_promised_by_a_tiny_file_are_refused_unread(
    whole: Callable[[int, int], bytes],
) -> None:
    data = whole(10_000, 10_000)
    assert len(data) < 3_000
    assert header_size_px(data) == (10_000, 10_000)
    assert reason(lambda: decode(data)) == "image_too_large"
    assert reason(lambda: check(whole(5_000, 3_201))) == "image_too_large"
    check(whole(5_000, 3_200))


def test_a_png_that_promises_four_gigapixels_a_side_is_refused() -> None:
    assert reason(lambda: decode(png_with_header(2**32 - 1, 2**32 - 1))) == "image_too_large"


def test_a_png_chunk_that_claims_more_than_there_is_is_refused_before_memory_is_taken() -> None:
    data = bytearray(png_with_header(16, 16))
    at = data.index(b"IDAT") - 4
    data[at : at + 4] = struct.pack(">I", 2**31 - 2**20)  # OpenCV would take it all
    assert reason(lambda: decode(bytes(data))) == "truncated_image"


@pytest.mark.parametrize(
    "hidden",
    [
        chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)),
        chunk(b"acTL", struct.pack(">II", 2, 0)),
    ],
    ids=["a second header", "an animation"],
)
def test_a_png_with_more_than_one_picture_is_refused(hidden: bytes) -> None:
    whole = png(picture())
    at = whole.index(b"IDAT") - 4
    assert reason(lambda: decode(whole[:at] + hidden + whole[at:])) == "undecodable_image"


@pytest.mark.parametrize("whole", [png_with_header, jpeg_with_header])
def test_an_image_without_pixels_is_refused(whole: Callable[[int, int], bytes]) -> None:
    assert reason(lambda: decode(whole(0, 10))) == "undecodable_image"


def test_a_header_without_a_picture_is_refused() -> None:
    assert reason(lambda: decode(png_with_header(640, 480))) == "undecodable_image"
    assert reason(lambda: decode(b"\xff\xd8\xff\xd8\x00\x00\xff\xd9")) == "undecodable_image"
    assert reason(lambda: decode(b"\xff\xd8" + b"\xff" * 50)) == "truncated_image"


@given(
    data=st.sampled_from([encode_jpeg(picture()), png(picture())]),
    hits=st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 5_000),
)
@settings(max_examples=150, deadline=None)
def test_a_damaged_image_is_decoded_or_malformed_and_nothing_else(
    data: bytes, hits: list[tuple[int, int]], cut: int
) -> None:
    damaged = bytearray(data)
    for at, value in hits:
        damaged[at % len(damaged)] = value
    for one in (bytes(damaged), bytes(damaged[: cut % len(damaged)])):
        with suppress(Malformed):
            pixels = decode(one, max_pixels=1_000_000)
            assert pixels.dtype == np.uint8
            assert pixels.shape[2:] == (3,)


@given(st.binary(max_size=300), st.sampled_from([b"", PNG_MAGIC, b"\xff\xd8\xff"]))
@settings(max_examples=200, deadline=None)
def test_garbage_is_malformed_with_a_reason(data: bytes, magic: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        decode(magic + data)
    assert caught.value.reason
