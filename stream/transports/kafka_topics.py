"""Topics of a Kafka cluster: what they are like, and making those that are missing."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from stream.topics import CHANGELOG_TOPIC, KAFKA_COMPACTED
from stream.transports.kafka_connection import FORBIDDEN
from stream.transports.transport import TransportError

# State of which only the newest value for each key matters.
COMPACTED = frozenset(KAFKA_COMPACTED)
# Beside the payload a record has a key, headers and the frame of its batch.
RECORD_OVERHEAD_BYTES = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
_ALREADY_EXISTS = 36
_CONFIGURED = ("cleanup.policy", "max.message.bytes")
_USABLE_LIMIT_S = 10.0
_USABLE_POLL_S = 0.02
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """What has to be known of a topic before it is read or written."""

    name: str
    partitions: tuple[int, ...]
    compacted: bool
    max_message_bytes: int | None


async def describe(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, Topic]:
    """Give those of the topics that exist."""
    if not names:
        return {}
    found = {
        topic["topic"]: tuple(sorted(part["partition"] for part in topic["partitions"]))
        for topic in await admin.describe_topics(list(names))
        if topic["error_code"] == 0 and all(part["leader"] >= 0 for part in topic["partitions"])
    }
    settings = await _settings(admin, found)
    return {name: _topic(name, parts, settings.get(name, {})) for name, parts in found.items()}


async def existing(admin: AIOKafkaAdminClient, pattern: re.Pattern[str]) -> list[str]:
    """Give the names of all topics that match."""
    return [name for name in await admin.list_topics() if pattern.match(name)]


async def create(
    admin: AIOKafkaAdminClient,
    names: Iterable[str],
    *,
    partitions: int,
    compacted: Iterable[str] = COMPACTED,
    max_message_bytes: int,
) -> None:
    """Create topics that take messages of ``max_message_bytes``; existing ones stay as they are.

    Raises TransportError where the broker refuses.
    """
    names = list(names)
    if wrong := [name for name in names if not _NAME.fullmatch(name)]:
        raise TransportError(f"not a Kafka topic: {', '.join(wrong)}")
    policies = {name: "compact" if name in set(compacted) else "delete" for name in names}
    most = str(max_message_bytes + RECORD_OVERHEAD_BYTES)
    new = [_new_topic(name, partitions, policy, most) for name, policy in policies.items()]
    if not new:
        return
    for name, code, *reason in (await admin.create_topics(new)).topic_errors:
        if code not in (0, _ALREADY_EXISTS):
            why = next((text for text in reason if text), for_code(code).__name__)
            if for_code(code) in FORBIDDEN:
                why = "it is missing or not to be seen, and making topics is forbidden to this user"
            raise TransportError(f"the topic {name} cannot be created: {why}")
    await _wait_for(admin, names)


async def _wait_for(admin: AIOKafkaAdminClient, names: Sequence[str]) -> None:
    # Created is not yet usable: a client that looks too early looks again seconds later only.
    try:
        async with asyncio.timeout(_USABLE_LIMIT_S):
            while missing := set(names) - (await describe(admin, names)).keys():  # noqa: ASYNC110
                await asyncio.sleep(_USABLE_POLL_S)
    except TimeoutError:
        raise TransportError(f"created, but without a leader: {', '.join(missing)}") from None


def _new_topic(name: str, partitions: int, policy: str, most: str) -> NewTopic:
    return NewTopic(
        name,
        partitions,
        -1,  # as many copies as the cluster's own default, which aiokafka accepts with the next
        replica_assignments={},
        topic_configs={"cleanup.policy": policy, "max.message.bytes": most, **_limits(name)},
    )


def _limits(name: str) -> dict[str, str]:
    """A changelog is read whole whenever a partition changes hands: it has to stay short."""
    if name != CHANGELOG_TOPIC:
        return {}
    return {"segment.bytes": str(16 << 20), "min.cleanable.dirty.ratio": "0.1"}


async def _settings(
    admin: AIOKafkaAdminClient, names: Iterable[str]
) -> dict[str, Mapping[str, str]]:
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(_CONFIGURED)) for name in names
    ]
    try:
        answers: Sequence[Any] = await admin.describe_configs(resources) if resources else []
    except KafkaError as error:
        _log.warning("the topics' configuration cannot be read", reason=str(error))
        return {}
    return {
        resource[3]: {entry[0]: entry[1] for entry in resource[4]}
        for answer in answers
        for resource in answer.resources
    }


def _topic(name: str, partitions: tuple[int, ...], settings: Mapping[str, str]) -> Topic:
    most = settings.get("max.message.bytes")
    return Topic(
        name=name,
        partitions=partitions,
        compacted="compact" in settings.get("cleanup.policy", ""),
        max_message_bytes=int(most) if most else None,
    )
