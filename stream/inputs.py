"""A plant's own topics and formats, mapped to readings."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stream.config import StationSettings
from stream.images import sniff
from stream.input_settings import CAPTURE, InputSettings
from stream.json_payload import read_json, short
from stream.messages import Frame, Kind, Malformed, Reading, Samples, Source, TimeSource
from stream.topics import KafkaTopics, Topics
from stream.transports.transport import Delivery
from stream.wire import (
    check_samples,
    check_times,
    decode_frame,
    decode_samples,
)

TIME_HEADER = "weldfusion-time-ns"
MODALITY_HEADER = "modality"
STATION_LEVELS = ("enterprise", "site", "area", "line", "cell")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a delivery belongs to."""

    station: str
    modality: str
    settings: InputSettings


class Inputs:
    """Which topics to subscribe to, and what their payloads mean. Pure."""

    def __init__(
        self,
        settings: Sequence[InputSettings],
        stations: Sequence[StationSettings],
        topics: Topics,
    ) -> None:
        self._stations = {station.id: station for station in stations}
        self._by_key = {station.id.replace("/", "."): station.id for station in stations}
        self._routes: dict[str, Route] = {}
        self._own = not settings
        self._kafka = isinstance(topics, KafkaTopics)
        shared = {topics.data("", kind, "").topic for kind in Kind} if self._kafka else ()
        self._shared = frozenset(shared)  # by all modalities, which a header tells apart
        self._patterns = [(_pattern(one.topic, self._kafka), one) for one in settings]
        if self._own:
            self._add_own_topics(topics)

    def _add_own_topics(self, topics: Topics) -> None:
        for station in self._stations.values():
            for name, modality in station.modalities.items():
                topic = topics.data(station.id, modality.kind, name).topic
                settings = InputSettings(topic=topic, modality=name)
                route = Route(station=station.id, modality=name, settings=settings)
                self._routes[f"{topic}|{name}|{station.id}" if self._kafka else topic] = route

    def subscriptions(self) -> list[str]:
        """The broker's topics: filters on MQTT, names or regular expressions on Kafka."""
        if self._own:
            return sorted({route.settings.topic for route in self._routes.values()})
        return sorted({_subscription(one.topic, self._kafka) for _, one in self._patterns})

    def topics_of(self, station: str, modality: str) -> list[str]:
        """Concrete topics known to carry a modality, to pause or ask whether they are exhausted."""
        return [
            key.split("|")[0]
            for key, route in self._routes.items()
            if (route.station, route.modality) == (station, modality)
        ]

    def route(self, delivery: Delivery) -> Route:
        """Find station and modality; raises Malformed for what belongs to none."""
        if delivery.misrouted:
            detail = f"partition {delivery.partition} is not that of the key {delivery.key!r}"
            raise Malformed("misrouted", detail)
        if self._own and not self._kafka:
            route = self._routes.get(delivery.topic)
        elif self._own:
            route = self._route_by_key(delivery)
        else:
            route = self._route_by_pattern(delivery)
        if route is None:
            raise _belongs_nowhere("unknown_station", delivery)
        return route

    def _route_by_key(self, delivery: Delivery) -> Route | None:
        station = self._by_key.get(delivery.key, "")
        modality = delivery.headers.get(MODALITY_HEADER) or _modality_inside(delivery)
        route = self._routes.get(f"{delivery.topic}|{modality}|{station}")
        if route is None and station:
            raise _belongs_nowhere("unknown_modality", delivery, modality)
        return route

    def _route_by_pattern(self, delivery: Delivery) -> Route | None:
        if delivery.topic in self._routes and not self._kafka:
            return self._routes[delivery.topic]
        shared = delivery.topic in self._shared
        named = delivery.headers.get(MODALITY_HEADER) if shared else None
        strange = None
        for pattern, settings in self._patterns:
            match = pattern.fullmatch(delivery.topic)
            if match is None:
                continue
            captures = self._captures(match.groupdict(), delivery)
            station = _filled(settings.station, captures)
            station = self._by_key.get(station, station)
            modality = _filled(settings.modality, captures)
            known = self._stations.get(station)
            fits = named in (None, modality)
            if known is not None and modality in known.modalities and fits:
                route = Route(station=station, modality=modality, settings=settings)
                key = f"{delivery.topic}|{modality}|{station}" if self._kafka else delivery.topic
                self._routes[key] = route
                return route
            strange = (named or modality) if known is not None else strange
        if strange is not None:
            raise _belongs_nowhere("unknown_modality", delivery, strange)
        return None

    def _captures(self, captured: dict[str, str], delivery: Delivery) -> dict[str, str]:
        """What the topic says, and the station if key or topic leave only one that it can be."""
        if delivery.key in self._by_key:
            return {"station": self._by_key[delivery.key], **captured}
        levels = {level: captured[level] for level in STATION_LEVELS if level in captured}
        fitting = [
            station
            for station in self._stations
            if levels.items() <= dict(zip(STATION_LEVELS, station.split("/"), strict=True)).items()
        ]
        return {"station": fitting[0], **captured} if len(fitting) == 1 else captured

    def read(self, route: Route, delivery: Delivery) -> Reading:
        """Turn a payload into a reading, images still encoded; raises Malformed."""
        modality = self._stations[route.station].modalities[route.modality]
        offset_ns = round(modality.clock_offset_ms * 1e6)
        reading = _read(route, modality.kind, delivery)
        return _shifted(reading, offset_ns, delivery)


def _read(route: Route, kind: Kind, delivery: Delivery) -> Reading:
    settings = route.settings
    if settings.format == "weldfusion":
        if kind is Kind.IMAGE:
            return decode_frame(delivery.payload, route.modality)
        return decode_samples(delivery.payload, route.modality)
    if settings.format == "json":
        if kind is not Kind.VECTOR:
            raise Malformed("wrong_kind", f"{route.modality} is an image, the input says json")
        return _read_json(route, delivery)
    if kind is not Kind.IMAGE:
        raise Malformed("wrong_kind", f"{route.modality} is a vector, the input says an image")
    found = sniff(delivery.payload)
    time_ns, time_source = _outer_time(settings, delivery)
    return Frame(
        modality=route.modality,
        time_ns=time_ns,
        data=delivery.payload,
        format=found,
        time_source=time_source,
    )


def _read_json(route: Route, delivery: Delivery) -> Samples:
    fields = route.settings.json_fields
    assert fields is not None
    outer_ns, time_source = None, TimeSource.CAPTURE
    if route.settings.time != "payload":
        outer_ns, time_source = _outer_time(route.settings, delivery)
    times_ns, rows = read_json(delivery.payload, fields, outer_ns)
    samples = Samples(
        modality=route.modality,
        times_ns=np.array(times_ns, np.int64),
        values=np.array(rows, np.float64) * fields.scale,
        time_source=time_source,
    )
    check_samples(samples)
    return samples


def _outer_time(settings: InputSettings, delivery: Delivery) -> tuple[int, TimeSource]:
    """A time that is not in the payload; a broker that stamps nothing leaves the arrival."""
    if settings.time == "broker" and delivery.broker_time_ns > 0:
        check_times(delivery.broker_time_ns, delivery.broker_time_ns)  # a producer may set it
        return delivery.broker_time_ns, TimeSource.BROKER
    if settings.time in ("broker", "arrival"):
        return delivery.received_ns, TimeSource.ARRIVAL
    stamp = delivery.headers.get(TIME_HEADER, "")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) < 20):
        raise Malformed("bad_time", f"header {TIME_HEADER} is {short(stamp)}, not nanoseconds")
    check_times(int(stamp), int(stamp))
    return int(stamp), TimeSource.CAPTURE


def _shifted(reading: Reading, offset_ns: int, delivery: Delivery) -> Reading:
    if isinstance(reading, Samples):
        if not offset_ns:
            return reading
        times_ns = reading.times_ns + offset_ns
        check_times(int(times_ns.min()), int(times_ns.max()))
        return replace(reading, times_ns=times_ns)
    check_times(reading.time_ns + offset_ns, reading.time_ns + offset_ns)
    source = Source(topic=delivery.topic, partition=delivery.partition, offset=delivery.offset)
    return replace(reading, time_ns=reading.time_ns + offset_ns, source=source)


def _belongs_nowhere(reason: str, delivery: Delivery, modality: str = "") -> Malformed:
    return Malformed(reason, " ".join(filter(None, (delivery.topic, delivery.key, modality))))


def _modality_inside(delivery: Delivery) -> str:
    """Our own payloads name their modality; a foreign producer may have set no header."""
    for decode in (decode_samples, decode_frame):
        try:
            return decode(delivery.payload).modality
        except Malformed:
            continue
    return ""


def _pattern(topic: str, kafka: bool) -> re.Pattern[str]:
    """A station's five levels are divided by slashes, and by dots on Kafka."""
    level = "[^.]+" if kafka else "[^/]+"
    five = (r"\." if kafka else "/").join([level] * len(STATION_LEVELS))
    parts = CAPTURE.split(topic)
    text = "".join(
        f"(?P<{part}>{five if part == 'station' else level})" if at % 2 else re.escape(part)
        for at, part in enumerate(parts)
    )
    return re.compile(text)


def _subscription(topic: str, kafka: bool) -> str:
    if not CAPTURE.search(topic):
        return topic
    if kafka:
        return "^" + re.sub(r"\?P<\w+>", "", _pattern(topic, kafka).pattern) + "$"
    wide = topic.replace("{station}", "/".join("+" * len(STATION_LEVELS)))
    return "/".join("+" if CAPTURE.search(level) else level for level in wide.split("/"))


def _filled(template: str, captures: Mapping[str, str]) -> str:
    return CAPTURE.sub(lambda match: captures.get(match[1], match[0]), template)
