"""MCAP recordings: our own, those of ``weldfusion record``, and any with foxglove images."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from mcap.reader import SeekingReader
from mcap.records import Channel, Message, Schema
from mcap.summary import Summary

from simulators.recordings import mcap_metadata
from simulators.recordings.episodes import EVERY_EPISODE, EpisodeChoice
from simulators.recordings.mcap_metadata import LoggedEpisode
from simulators.recordings.mcap_writer import CLEAN, IMAGE_SCHEMA, VECTOR_SCHEMA, McapWriter
from simulators.recordings.recording import Episode, Modality, Record, RecordingError
from simulators.recordings.timeline import NS, modality_name, times_of
from stream.images import header_size_px
from stream.messages import Frame, Kind, Malformed, Reading, TimesNs
from stream.wire import decode_frame, decode_samples

__all__ = ["McapRecording", "McapWriter"]

MAGIC = b"\x89MCAP0\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Topic:
    """A channel that holds readings; ``clean`` marks the noise-free twin of a modality."""

    modality: str
    kind: Kind
    clean: bool


@dataclass(slots=True)
class _Contents:
    """What the end of the file says it holds, channels by id."""

    topics: dict[int, _Topic] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    start_ns: int = 0
    end_ns: int = 0
    described: dict[str, Modality] = field(default_factory=dict)
    logged: list[LoggedEpisode] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


class McapRecording:
    """An MCAP opened for reading; a foreign one is a single episode, numbered 0.

    Raises RecordingError for a file that is none, is cut short or damaged, or holds no
    protobuf ``foxglove.CompressedImage`` and no ``weldfusion.v1.VectorBatch``.
    """

    format = "MCAP"

    def __init__(self, path: Path, choice: EpisodeChoice = EVERY_EPISODE) -> None:
        self.path = path
        _check_ends(path)
        contents = self._read_contents()
        self._topics = contents.topics
        self.metadata: Mapping[str, str] = contents.metadata
        self._logged = {logged.episode.number: logged for logged in contents.logged}
        episodes = tuple(logged.episode for logged in contents.logged)
        self.episodes: tuple[Episode, ...] = choice.pick(episodes, path)
        self.modalities: Mapping[str, Modality] = self._describe(contents)

    def records(self, only: Kind | None = None) -> Iterator[Record]:
        """Yield the records of ``episodes`` in log time, each with its noise-free twin if any."""
        for episode in self.episodes:
            yield from self._episode_records(self._logged[episode.number], only)

    def capture_times(self, episode: Episode) -> Mapping[str, TimesNs]:
        """Capture times of each modality, from the payloads; no image is decoded."""
        return times_of(self._episode_records(self._logged[episode.number]))

    def _episode_records(self, logged: LoggedEpisode, only: Kind | None = None) -> Iterator[Record]:
        twins: dict[str, Reading] = {}
        for topic, message in self._messages(logged.first_log_ns, logged.last_log_ns):
            if only is not None and self.modalities[topic.modality].kind is not only:
                continue
            reading = self._decode(topic, message)
            if topic.clean:
                twins[topic.modality] = reading
                continue
            twin = twins.pop(topic.modality, None)
            yield Record(
                log_time_ns=message.log_time,
                episode=logged.episode.number,
                reading=reading,
                clean=twin if twin is not None and twin.time_ns == reading.time_ns else None,
            )

    def _messages(self, first_log_ns: int, last_log_ns: int) -> Iterator[tuple[_Topic, Message]]:
        with self.path.open("rb") as file:
            messages = SeekingReader(file, validate_crcs=True).iter_messages(
                starting_at=first_log_ns, ending_at=last_log_ns
            )
            while True:
                try:
                    _, channel, message = next(messages)
                except StopIteration:
                    return
                except Exception as error:  # damage shows as any error of any codec
                    raise RecordingError(f"{self.path}: damaged: {error}") from error
                if channel.id in self._topics:
                    yield self._topics[channel.id], message

    def _decode(self, topic: _Topic, message: Message) -> Reading:
        decode = decode_frame if topic.kind is Kind.IMAGE else decode_samples
        try:
            return decode(message.data, topic.modality)
        except Malformed as error:
            raise RecordingError(
                f"{self.path}: message {message.sequence} of {topic.modality} "
                f"at log time {message.log_time} ns: {error}"
            ) from None

    def _read_contents(self) -> _Contents:
        with self.path.open("rb") as file:
            try:
                return _contents(file)
            except RecordingError as error:
                raise RecordingError(f"{self.path}: {error}") from None
            except Exception as error:  # damage shows as any error of any codec
                raise RecordingError(f"{self.path}: damaged: {error!r}") from error

    def _describe(self, contents: _Contents) -> dict[str, Modality]:
        """The modalities, those that the file does not describe judged by their first message."""
        gaps: Counter[str] = Counter()
        for channel, topic in contents.topics.items():
            if not topic.clean and contents.counts[channel]:
                gaps[topic.modality] += contents.counts[channel] - 1
        seconds = max(1, contents.end_ns - contents.start_ns) / NS
        first = self._first_readings(gaps.keys() - contents.described.keys())
        judged = {
            name: _judged(first[name], gaps[name] / seconds) for name in gaps if name in first
        }
        return contents.described | judged

    def _first_readings(self, names: set[str]) -> dict[str, Reading]:
        found: dict[str, Reading] = {}
        if not names:
            return found
        logs = self._logged.values()
        first_ns = min(logged.first_log_ns for logged in logs)
        last_ns = max(logged.last_log_ns for logged in logs)
        for topic, message in self._messages(first_ns, last_ns):
            if not topic.clean and topic.modality in names - found.keys():
                found[topic.modality] = self._decode(topic, message)
                if found.keys() == names:
                    break
        return found


def _check_ends(path: Path) -> None:
    """Raise RecordingError unless the file begins and ends as an MCAP does."""
    try:
        with path.open("rb") as file:
            first = file.read(len(MAGIC))
            size = file.seek(0, 2)
            file.seek(max(0, size - len(MAGIC)))
            last = file.read()
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from None
    if first != MAGIC:
        raise RecordingError(f"{path}: not an MCAP file, it begins with {first.hex() or 'nothing'}")
    if last != MAGIC or size < 2 * len(MAGIC):
        raise RecordingError(
            f"{path}: truncated, no closing mark after {size} bytes; "
            "'mcap recover' of the MCAP command line saves what is whole"
        )


def _contents(file: IO[bytes]) -> _Contents:
    reader = SeekingReader(file)
    summary = reader.get_summary()
    if summary is None or summary.statistics is None:
        raise RecordingError("no summary with statistics; 'mcap recover' writes one")
    statistics = summary.statistics
    contents = _Contents(topics=_topics(summary))
    contents.counts.update(statistics.channel_message_counts)
    contents.start_ns, contents.end_ns = statistics.message_start_time, statistics.message_end_time
    if not any(contents.counts[channel] for channel in contents.topics):
        raise RecordingError(
            f"no messages of {IMAGE_SCHEMA} or {VECTOR_SCHEMA} in protobuf; {_listed(summary)}"
        )
    for record in reader.iter_metadata():
        _take(contents, record.name, record.metadata)
    if not contents.logged:
        bounds = contents.start_ns, contents.end_ns
        whole = Episode(number=0, start_ns=bounds[0], end_ns=bounds[1])
        logged = LoggedEpisode(episode=whole, first_log_ns=bounds[0], last_log_ns=bounds[1])
        contents.logged.append(logged)
    return contents


def _take(contents: _Contents, name: str, fields: Mapping[str, str]) -> None:
    """File one Metadata record; those of other programs are left alone."""
    if name == mcap_metadata.RECORDING:
        version = fields.get(mcap_metadata.LAYOUT)
        if version != mcap_metadata.VERSION:
            raise RecordingError(
                f"layout version {version!r}, this program reads {mcap_metadata.VERSION!r}"
            )
        own = {key: text for key, text in fields.items() if key != mcap_metadata.LAYOUT}
        contents.metadata.update(own)
    elif name == mcap_metadata.MODALITY:
        modality = mcap_metadata.read_modality(fields)
        contents.described[modality.name] = modality
    elif name == mcap_metadata.EPISODE:
        contents.logged.append(mcap_metadata.read_episode(fields))


def _topics(summary: Summary) -> dict[int, _Topic]:
    """The channels that hold readings, by id."""
    names = {channel.topic for channel in summary.channels.values()}
    topics: dict[int, _Topic] = {}
    sources: dict[tuple[str, bool], str] = {}
    for channel in summary.channels.values():
        kind = _kind(channel, summary.schemas.get(channel.schema_id))
        if kind is None:
            continue
        stem = channel.topic.removesuffix(CLEAN)
        clean = stem != channel.topic and stem in names
        name = modality_name(stem if clean else channel.topic)
        source = sources.setdefault((name, clean), channel.topic)
        if source != channel.topic:
            raise RecordingError(f"topics {source} and {channel.topic} would both be {name!r}")
        topics[channel.id] = _Topic(modality=name, kind=kind, clean=clean)
    return topics


def _kind(channel: Channel, schema: Schema | None) -> Kind | None:
    """What a channel carries; None for what this program has no use for."""
    if schema is None or channel.message_encoding != "protobuf":
        return None
    return {IMAGE_SCHEMA: Kind.IMAGE, VECTOR_SCHEMA: Kind.VECTOR}.get(schema.name)


def _judged(reading: Reading, messages_per_s: float) -> Modality:
    if isinstance(reading, Frame):
        return Modality(
            name=reading.modality,
            kind=Kind.IMAGE,
            rate_hz=round(messages_per_s, 3),
            size_px=_size_px(reading.data),
        )
    return Modality(
        name=reading.modality,
        kind=Kind.VECTOR,
        rate_hz=round(messages_per_s * len(reading.times_ns), 3),
        names=reading.names or tuple(f"c{column}" for column in range(reading.values.shape[1])),
        units=reading.units,
    )


def _size_px(data: bytes) -> tuple[int, int] | None:
    """None for a damaged first image: the stream refuses that one and goes on."""
    try:
        return header_size_px(data)
    except Malformed:
        return None


def _listed(summary: Summary) -> str:
    """The channels there are instead, for a message."""
    found = []
    for channel in summary.channels.values():
        schema = summary.schemas.get(channel.schema_id)
        found.append(
            f"{channel.topic} ({channel.message_encoding} {schema.name if schema else ''})"
        )
    return f"its channels: {', '.join(found) or 'none'}"
