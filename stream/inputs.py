"""A plant's own topics and formats, mapped to readings."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.config import InputSettings, JsonFields, StationSettings
from stream.images import sniff
from stream.messages import Frame, Kind, Malformed, Reading, Samples, Source
from stream.topics import KafkaTopics, Topics
from stream.transports.transport import Delivery
from stream.wire import MAX_CHANNELS, check_samples, decode_frame, decode_samples, parse_rfc3339

UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
TIME_HEADER = "weldfusion-time-ns"
MODALITY_HEADER = "modality"
STATION_LEVELS = ("enterprise", "site", "area", "line", "cell")
CAPTURE = re.compile(r"\{(\w+)\}")


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
        self._patterns = [(_pattern(one.topic), one) for one in settings]
        self._own = not settings
        self._kafka = isinstance(topics, KafkaTopics)
        if self._own:
            self._add_own_topics(topics)

    def _add_own_topics(self, topics: Topics) -> None:
        for station in self._stations.values():
            for name, modality in station.modalities.items():
                topic = topics.data(station.id, modality.kind, name).topic
                settings = InputSettings(topic=topic)
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
        if self._own and not self._kafka:
            route = self._routes.get(delivery.topic)
        elif self._own:
            route = self._route_by_key(delivery)
        else:
            route = self._route_by_pattern(delivery)
        if route is None:
            raise Malformed("unknown_station", f"{delivery.topic} {delivery.key}".strip())
        return route

    def _route_by_key(self, delivery: Delivery) -> Route | None:
        station = self._by_key.get(delivery.key, "")
        modality = delivery.headers.get(MODALITY_HEADER) or _modality_inside(delivery)
        return self._routes.get(f"{delivery.topic}|{modality}|{station}")

    def _route_by_pattern(self, delivery: Delivery) -> Route | None:
        if delivery.topic in self._routes and not self._kafka:
            return self._routes[delivery.topic]
        for pattern, settings in self._patterns:
            match = pattern.fullmatch(delivery.topic)
            if match is None:
                continue
            captures = self._captures(match.groupdict(), delivery)
            station = _filled(settings.station, captures)
            modality = _filled(settings.modality, captures)
            known = self._stations.get(station)
            if known is not None and modality in known.modalities:
                route = Route(station=station, modality=modality, settings=settings)
                key = f"{delivery.topic}|{modality}|{station}" if self._kafka else delivery.topic
                self._routes[key] = route
                return route
        return None

    def _captures(self, captured: dict[str, str], delivery: Delivery) -> dict[str, str]:
        captures = {**captured}
        if delivery.key in self._by_key:
            captures.setdefault("station", self._by_key[delivery.key])
        if all(level in captures for level in STATION_LEVELS):
            captures.setdefault("station", "/".join(captures[one] for one in STATION_LEVELS))
        if len(self._stations) == 1:
            captures.setdefault("station", next(iter(self._stations)))
        return captures

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
    return Frame(
        modality=route.modality,
        time_ns=_outer_time_ns(settings, delivery),
        data=delivery.payload,
        format=found,
    )


def _read_json(route: Route, delivery: Delivery) -> Samples:
    fields = route.settings.json_fields
    assert fields is not None
    try:
        document = json.loads(delivery.payload, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Malformed("undecodable_json", str(error)) from None
    rows = _rows(document, fields)
    if route.settings.time == "payload":
        times = _times_ns(_pointed(document, fields.time or ""), fields.time_unit)
    else:
        times = [_outer_time_ns(route.settings, delivery)]
    if len(times) != len(rows):
        raise Malformed("wrong_shape", f"{len(times)} times for {len(rows)} samples")
    samples = Samples(
        modality=route.modality,
        times_ns=np.array(times, np.int64),
        values=np.array(rows, np.float64) * fields.scale,
    )
    check_samples(samples)
    return samples


def _rows(document: Any, fields: JsonFields) -> list[list[float]]:
    if isinstance(fields.values, str):
        found = _pointed(document, fields.values)
        rows = (
            found if isinstance(found, list) and found and isinstance(found[0], list) else [found]
        )
    else:
        rows = [[_pointed(document, pointer) for pointer in fields.values]]
    for row in rows:
        if not isinstance(row, list) or not 0 < len(row) <= MAX_CHANNELS:
            raise Malformed("wrong_shape", f"{fields.values!r} holds no row of numbers")
        if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in row):
            raise Malformed("not_a_number", f"in {fields.values!r}")
    if len({len(row) for row in rows}) > 1:
        raise Malformed("wrong_shape", "rows of different lengths")
    try:
        return [[float(one) for one in row] for row in rows]
    except OverflowError:
        raise Malformed("not_finite", f"in {fields.values!r}") from None


def _pointed(document: Any, pointer: str) -> Any:
    """RFC 6901."""
    node = document
    for token in pointer.split("/")[1:]:
        token = token.replace("~1", "/").replace("~0", "~")
        try:
            node = node[int(token)] if isinstance(node, list) else node[token]
        except (KeyError, IndexError, ValueError, TypeError):
            raise Malformed("missing_field", f"no {pointer}") from None
    return node


def _times_ns(found: Any, unit: str) -> list[int]:
    return [_time_ns(one, unit) for one in (found if isinstance(found, list) else [found])]


def _time_ns(found: Any, unit: str) -> int:
    if unit == "rfc3339":
        return parse_rfc3339(str(found))
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Malformed("bad_time", f"{found!r} is no number of {unit}")
    scaled = found * UNITS_NS[unit]
    if not 0 <= scaled < 1 << 62:
        raise Malformed("bad_time", f"{found!r} {unit}")
    return round(scaled)


def _outer_time_ns(settings: InputSettings, delivery: Delivery) -> int:
    if settings.time == "broker":
        return delivery.broker_time_ns or delivery.received_ns
    if settings.time == "arrival":
        return delivery.received_ns
    stamp = delivery.headers.get(TIME_HEADER, "")
    if not stamp.isdigit() or int(stamp) >= 1 << 62:
        raise Malformed("bad_time", f"header {TIME_HEADER} is {stamp!r}, not nanoseconds")
    return int(stamp)


def _shifted(reading: Reading, offset_ns: int, delivery: Delivery) -> Reading:
    if isinstance(reading, Samples):
        times = reading.times_ns + offset_ns if offset_ns else reading.times_ns
        return Samples(
            modality=reading.modality,
            times_ns=times,
            values=reading.values,
            names=reading.names,
            units=reading.units,
        )
    source = Source(topic=delivery.topic)
    if isinstance(delivery.position, tuple) and len(delivery.position) == 2:
        source = Source(
            topic=delivery.topic, partition=delivery.position[0], offset=delivery.position[1]
        )
    return Frame(
        modality=reading.modality,
        time_ns=reading.time_ns + offset_ns,
        data=reading.data,
        format=reading.format,
        source=source,
    )


def _modality_inside(delivery: Delivery) -> str:
    """Our own payloads name their modality; a foreign producer may have set no header."""
    for decode in (decode_samples, decode_frame):
        try:
            return decode(delivery.payload).modality
        except Malformed:
            continue
    return ""


def _pattern(topic: str) -> re.Pattern[str]:
    parts = CAPTURE.split(topic)
    text = "".join(
        f"(?P<{part}>{'.+' if part == 'station' else '[^/]+'})" if at % 2 else re.escape(part)
        for at, part in enumerate(parts)
    )
    return re.compile(text)


def _subscription(topic: str, kafka: bool) -> str:
    if not CAPTURE.search(topic):
        return topic
    if kafka:
        return "^" + CAPTURE.sub("[^/]+", topic.replace(".", r"\.")) + "$"
    return CAPTURE.sub(lambda m: "/".join("+" * 5) if m[1] == "station" else "+", topic)


def _filled(template: str, captures: Mapping[str, str]) -> str:
    return CAPTURE.sub(lambda match: captures.get(match[1], match[0]), template)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")
