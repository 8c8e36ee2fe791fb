"""Our own protobuf payloads to readings and back."""

from datetime import UTC, datetime

import numpy as np
from google.protobuf.message import DecodeError

from stream.images import sniff
from stream.messages import Frame, Malformed, Reading, Samples
from stream.proto.compressed_image_pb2 import CompressedImage
from stream.proto.weldfusion_pb2 import VectorBatch

NS = 1_000_000_000
MAX_SAMPLES = 1024
MAX_CHANNELS = 256
LAST_TIME_NS = 1 << 62  # the year 2116: sums of two times must fit 64 bits


def encode_reading(reading: Reading) -> bytes:
    """A reading of either kind as its own message."""
    return encode_frame(reading) if isinstance(reading, Frame) else encode_samples(reading)


def encode_frame(frame: Frame) -> bytes:
    """A frame as foxglove.CompressedImage."""
    message = CompressedImage(frame_id=frame.modality, data=frame.data, format=frame.format)
    message.timestamp.seconds, message.timestamp.nanos = divmod(frame.time_ns, NS)
    return message.SerializeToString()


def decode_frame(payload: bytes, modality: str = "") -> Frame:
    """foxglove.CompressedImage as a frame, not yet decoded; raises Malformed."""
    message = CompressedImage()
    try:
        message.ParseFromString(payload)
    except DecodeError as error:
        raise Malformed("undecodable_protobuf", f"CompressedImage: {error}") from None
    if not message.HasField("timestamp") or not message.data:
        raise Malformed("missing_field", "CompressedImage needs timestamp and data")
    time_ns = message.timestamp.seconds * NS + message.timestamp.nanos
    check_times(time_ns, time_ns)
    return Frame(
        modality=modality or message.frame_id,
        time_ns=time_ns,
        data=message.data,
        format=sniff(message.data),
    )


def encode_samples(samples: Samples) -> bytes:
    """Vector samples as weldfusion.v1.VectorBatch."""
    return VectorBatch(
        modality=samples.modality,
        names=samples.names,
        units=samples.units,
        times_ns=samples.times_ns.tolist(),
        values=samples.values.ravel(order="F").tolist(),
    ).SerializeToString()


def decode_samples(payload: bytes, modality: str = "") -> Samples:
    """weldfusion.v1.VectorBatch as samples; raises Malformed."""
    message = VectorBatch()
    try:
        message.ParseFromString(payload)
    except DecodeError as error:
        raise Malformed("undecodable_protobuf", f"VectorBatch: {error}") from None
    count = len(message.times_ns)
    if count == 0 or len(message.values) % count or not message.values:
        raise Malformed("wrong_shape", f"{len(message.values)} values do not fill {count} samples")
    check_size(count, len(message.values) // count)
    check_times(min(message.times_ns), max(message.times_ns))
    values = np.array(message.values, np.float64).reshape(-1, count).T
    samples = Samples(
        modality=modality or message.modality,
        times_ns=np.array(message.times_ns, np.int64),
        values=values,
        names=tuple(message.names),
        units=tuple(message.units),
    )
    check_samples(samples)
    return samples


def check_times(first_ns: int, last_ns: int) -> None:
    """Raise Malformed for capture times before 1970 or beyond what the stream can count with."""
    if first_ns < 0 or last_ns >= LAST_TIME_NS:
        wrong_ns = first_ns if first_ns < 0 else last_ns
        raise Malformed("bad_time", f"{wrong_ns} ns since 1970 is no capture time")


def check_size(count: int, channels: int) -> None:
    """Raise Malformed for too many samples or channels."""
    if count > MAX_SAMPLES or channels > MAX_CHANNELS:
        raise Malformed("too_large", f"{count} samples of {channels} channels")


def check_samples(samples: Samples) -> None:
    """Raise Malformed for too many samples or channels, NaN, infinity and misnamed columns."""
    count, channels = samples.values.shape
    check_size(count, channels)
    for what, told in (("names", samples.names), ("units", samples.units)):
        if told and len(told) != channels:
            raise Malformed("wrong_shape", f"{len(told)} {what} for {channels} channels")
    if not np.isfinite(samples.values).all():
        row, column = np.argwhere(~np.isfinite(samples.values))[0]
        raise Malformed("not_finite", f"sample {row}, channel {column}")


def rfc3339(time_ns: int) -> str:
    """Event time as RFC 3339 in UTC with microseconds."""
    seconds, rest = divmod(time_ns, NS)
    stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{stamp}.{rest // 1000:06d}Z"


def parse_rfc3339(text: str) -> int:
    """Nanoseconds since the epoch; raises Malformed. Fractions beyond microseconds are cut."""
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        raise Malformed("bad_time", f"{text!r} is not RFC 3339") from None
    if stamp.tzinfo is None:
        raise Malformed("bad_time", f"{text!r} has no time zone")
    whole = int(stamp.replace(microsecond=0).timestamp())
    return whole * NS + stamp.microsecond * 1000
