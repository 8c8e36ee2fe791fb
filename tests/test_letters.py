"""A refusal is written and read again, and its original leaves as it came."""

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.dead_letters import line, preview, visible
from stream.letters import ENVELOPE_LIMIT_BYTES, Letter, obstacle, original_of, read_letter
from stream.messages import Malformed, Rejected, Samples
from stream.outbox import Outbox
from stream.topics import KafkaTopics, MqttTopics, carries_readings
from stream.transports.transport import Delivery, Message
from tests.fuzz.mutations import mutated, strange_json

TIME = 1_700_000_000 * 10**9
CELL = "acme/plant1/hall2/line3/cell4"
BROKERS = pytest.mark.parametrize("kafka", [False, True], ids=["mqtt", "kafka"])
HEADERS = {"weldfusion-time-ns": "17", "content-type": "image/jpeg"}


def outbox(kafka: bool) -> Outbox:
    return Outbox(KafkaTopics() if kafka else MqttTopics())


def heard(message: Message) -> Delivery:
    headers = dict(message.headers)
    return Delivery(
        topic=message.topic,
        payload=message.payload,
        key=message.key,
        headers=headers,
        received_ns=TIME,
    )


def refused(kafka: bool, **changed: Any) -> Delivery:
    """What a camera sent, with a key and a place in the log on Kafka."""
    place = {"partition": 2, "offset": 17, "key": "cam-4"} if kafka else {}
    facts = {"topic": "plant/cam", "payload": b"\xff\xd8 half", "received_ns": TIME}
    return Delivery(**{**facts, "headers": HEADERS, **place, **changed})


def letter_of(delivery: Delivery, kafka: bool, reason: str = "truncated_image") -> Letter:
    written = outbox(kafka).dead_letter(delivery, CELL, "camera", reason, "no end")
    return read_letter(heard(written), kafka=kafka)


@BROKERS
def test_an_original_leaves_as_it_came(kafka: bool) -> None:
    delivery = refused(kafka)
    letter = letter_of(delivery, kafka)
    assert (letter.reason, letter.detail) == ("truncated_image", "no end")
    assert (letter.station, letter.modality) == (CELL, "camera")
    assert (letter.partition, letter.offset) == (delivery.partition, delivery.offset)
    assert obstacle(letter) == ""
    again = original_of(letter)
    assert (again.topic, again.payload, again.key) == ("plant/cam", b"\xff\xd8 half", delivery.key)
    assert again.content_type == "image/jpeg"
    assert again.headers["weldfusion-time-ns"] == "17"
    assert not [name for name in again.headers if name.startswith(("__connect", "weldfusion.l"))]


@BROKERS
def test_a_letter_of_a_letter_tells_only_the_last_reason(kafka: bool) -> None:
    first = original_of(letter_of(refused(kafka), kafka, "not_an_image"))
    again = refused(kafka, payload=first.payload, headers=first.headers)
    assert letter_of(again, kafka).reason == "truncated_image"


@BROKERS
def test_an_original_over_the_limit_is_told_by_hash_and_not_sent(kafka: bool) -> None:
    letter = letter_of(refused(kafka, payload=bytes(ENVELOPE_LIMIT_BYTES + 1)), kafka)
    assert (letter.original, letter.size) == (None, ENVELOPE_LIMIT_BYTES + 1)
    assert len(letter.sha256) == 64
    assert "only hash and length" in obstacle(letter)
    assert letter.sha256 in preview(letter)


@BROKERS
def test_what_belongs_to_no_station_has_none_in_its_letter(kafka: bool) -> None:
    written = outbox(kafka).dead_letter(refused(kafka), "", "", "unknown_station", "", site_of=CELL)
    letter = read_letter(heard(written), kafka=kafka)
    assert (letter.station, letter.modality) == ("", "")
    assert original_of(letter).topic == "plant/cam"


def rejected(samples: Samples) -> Rejected:
    return Rejected(
        modality="arm", reason="wrong_channels", detail="3", time_ns=TIME, reading=samples
    )


@BROKERS
def test_a_reading_that_was_refused_at_once_can_be_sent_again_as_it_came(kafka: bool) -> None:
    samples = Samples(modality="arm", times_ns=np.array([TIME]), values=np.zeros((1, 3)))
    delivery = refused(kafka, payload=b'{"axes": [0, 0, 0]}', topic="plant/robot")
    whole = outbox(kafka).refused_reading(CELL, rejected(samples), delivery)
    letter = read_letter(heard(whole), kafka=kafka)
    assert original_of(letter).payload == delivery.payload
    part = read_letter(heard(outbox(kafka).refused_reading(CELL, rejected(samples))), kafka=kafka)
    assert "after it had been read" in obstacle(part)


@pytest.mark.parametrize(
    "topic",
    [
        f"{CELL}/_weldfusion/v1/command/inject",
        f"{CELL}/_weldfusion/v2/data/image/camera",
        "acme/plant1/_weldfusion/v1/dlq",
        *("weldfusion.dlq.v1", "weldfusion.commands.v1", "__consumer_offsets", "$SYS/x", ""),
    ],
)
def test_nothing_is_ever_sent_to_a_topic_that_carries_no_readings(topic: str) -> None:
    assert not carries_readings(topic)
    assert obstacle(letter_of(refused(True, topic=topic), True))


@pytest.mark.parametrize(
    "topic", [f"{CELL}/_weldfusion/v1/data/image/camera", "weldfusion.images.v1", "plant/cam"]
)
def test_readings_are_sent_to_a_plants_topics_and_to_our_own(topic: str) -> None:
    assert carries_readings(topic)


@BROKERS
@given(random=st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_a_damaged_letter_is_read_or_malformed_and_can_always_be_shown(
    kafka: bool, random: Any
) -> None:
    whole = outbox(kafka).dead_letter(refused(kafka), CELL, "camera", "jump", "a year")
    payload = mutated(random, whole.payload)
    headers = {name: str(mutated(random, text.encode())) for name, text in whole.headers.items()}
    if not kafka and random.random() < 0.7:
        payload = strange_json(random, json.loads(whole.payload))
    message = Message(topic=whole.topic, payload=payload, headers=headers if kafka else {})
    with suppress(Malformed):
        assert line(read_letter(heard(message), kafka=kafka)).plain.isprintable()


def test_what_is_shown_cannot_command_the_terminal() -> None:
    delivery = refused(True, payload=b"\x1b[2Jgone", topic="a\x1b]0;b\n[red]c")
    shown = line(letter_of(delivery, True)).plain
    assert shown.isprintable()
    assert "[red]c" in shown
    assert visible("x" * 50, 10) == "x" * 10 + "…"
