"""Recordings written as MCAP, with the wire's own payloads, to be opened in Foxglove too."""

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from mcap.writer import CompressionType, Writer

from simulators.recordings import mcap_metadata
from simulators.recordings.recording import Episode, Modality, Record, RecordingError
from simulators.recordings.timeline import first_time_ns
from stream.messages import Frame, Reading
from stream.proto.compressed_image_pb2 import CompressedImage
from stream.proto.weldfusion_pb2 import VectorBatch
from stream.wire import encode_frame, encode_samples

IMAGE_SCHEMA = CompressedImage.DESCRIPTOR.full_name
VECTOR_SCHEMA = VectorBatch.DESCRIPTOR.full_name
CLEAN = "/clean"  # the topic of the noise-free channel is the modality's with this behind it
NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(slots=True, kw_only=True)
class _Span:
    """What was written of one episode so far."""

    first_log_ns: int
    last_log_ns: int
    start_ns: int
    end_ns: int


class McapWriter:
    """Write one recording; nothing bears the final name until all of it is on the disk.

    ``modalities`` and ``metadata`` are read when the file is closed, so that they may still
    grow while a live station is being recorded. Where the ``with`` block fails, what was
    written stays readable as ``<name>.part``.
    """

    def __init__(
        self,
        path: Path,
        modalities: Mapping[str, Modality],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.path = path
        self.modalities = modalities
        self.metadata = {} if metadata is None else metadata
        self._part = path.with_name(path.name + ".part")
        self._declared: dict[int, Episode] = {}
        self._spans: dict[int, _Span] = {}
        self._channels: dict[str, int] = {}
        self._sequences: dict[int, int] = {}

    def __enter__(self) -> Self:
        try:
            self._file = self._part.open("wb")
        except OSError as error:
            raise RecordingError(f"{self._part}: {error.strerror}") from None
        self._writer = Writer(self._file, compression=CompressionType.ZSTD)
        self._writer.start(profile="", library="weldfusion")
        self._schemas = {
            message.DESCRIPTOR.full_name: self._writer.register_schema(
                message.DESCRIPTOR.full_name, "protobuf", _file_descriptor_set(message.DESCRIPTOR)
            )
            for message in (CompressedImage, VectorBatch)
        }
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            self._finish()
            os.replace(self._part, self.path)
            return
        with suppress(OSError):  # the disk may be what failed
            self._finish()
            error.add_note(f"what was recorded until then is in {self._part}")

    def episode(self, episode: Episode) -> None:
        """Give an episode's bounds, before or after its records; else they are taken from those."""
        self._declared[episode.number] = episode

    def write(self, record: Record) -> None:
        """Append a record; raises RecordingError where an episode begins before the last ended."""
        self._note(record)
        # The noise-free twin goes first, so that a reader has it when the reading comes.
        if record.clean is not None:
            self._add(record.log_time_ns, record.clean, CLEAN)
        self._add(record.log_time_ns, record.reading, "")

    def _add(self, log_time_ns: int, reading: Reading, suffix: str) -> None:
        schema, payload = (
            (IMAGE_SCHEMA, encode_frame(reading))
            if isinstance(reading, Frame)
            else (VECTOR_SCHEMA, encode_samples(reading))
        )
        channel = self._channel(reading.modality, suffix, schema)
        sequence = self._sequences[channel] = self._sequences[channel] + 1
        self._writer.add_message(
            channel_id=channel,
            log_time=log_time_ns,
            publish_time=reading.time_ns,
            data=payload,
            sequence=sequence,
        )

    def _channel(self, modality: str, suffix: str, schema: str) -> int:
        topic = f"/{modality}{suffix}"
        if topic not in self._channels:
            if NAME.fullmatch(modality) is None:
                raise RecordingError(
                    f"{self.path}: modality {modality!r} may hold letters, digits, - and _ only"
                )
            channel = self._writer.register_channel(topic, "protobuf", self._schemas[schema])
            self._channels[topic], self._sequences[channel] = channel, 0
        return self._channels[topic]

    def _note(self, record: Record) -> None:
        start_ns, end_ns = first_time_ns(record.reading), record.reading.time_ns
        log_ns = record.log_time_ns
        span = self._spans.get(record.episode)
        if span is not None and record.episode != next(reversed(self._spans)):
            raise RecordingError(f"{self.path}: episode {record.episode} had ended already")
        if span is None:
            self._check_follows(record)
            self._spans[record.episode] = _Span(
                first_log_ns=log_ns, last_log_ns=log_ns, start_ns=start_ns, end_ns=end_ns
            )
            return
        span.first_log_ns = min(span.first_log_ns, log_ns)
        span.last_log_ns = max(span.last_log_ns, log_ns)
        span.start_ns, span.end_ns = min(span.start_ns, start_ns), max(span.end_ns, end_ns)

    def _check_follows(self, record: Record) -> None:
        previous = next(reversed(self._spans.values()), None)
        if previous is not None and record.log_time_ns <= previous.last_log_ns:
            raise RecordingError(
                f"{self.path}: episode {record.episode} begins at log time "
                f"{record.log_time_ns} ns, the one before ended at {previous.last_log_ns} ns"
            )

    def _finish(self) -> None:
        add = self._writer.add_metadata
        add(mcap_metadata.RECORDING, {**self.metadata, mcap_metadata.LAYOUT: mcap_metadata.VERSION})
        for modality in self.modalities.values():
            add(mcap_metadata.MODALITY, mcap_metadata.write_modality(modality))
        for number, span in self._spans.items():
            add(mcap_metadata.EPISODE, mcap_metadata.write_episode(self._logged(number, span)))
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _logged(self, number: int, span: _Span) -> mcap_metadata.LoggedEpisode:
        taken = Episode(number=number, start_ns=span.start_ns, end_ns=span.end_ns)
        return mcap_metadata.LoggedEpisode(
            episode=self._declared.get(number, taken),
            first_log_ns=span.first_log_ns,
            last_log_ns=span.last_log_ns,
        )


def _file_descriptor_set(message: object) -> bytes:
    """The message's file and all it imports, imports first, as MCAP's protobuf schemas want."""
    ordered: dict[str, FileDescriptor] = {}

    def visit(file: FileDescriptor) -> None:
        for imported in file.dependencies:
            visit(imported)
        ordered.setdefault(file.name, file)

    visit(message.file)  # type: ignore[attr-defined]
    files = FileDescriptorSet()
    for file in ordered.values():
        file.CopyToProto(files.file.add())
    return files.SerializeToString()
