"""Publishing to Kafka: many messages at once, in the order of the calls."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    BrokerResponseError,
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    RecordListTooLargeError,
    UnknownProducerId,
    UnknownTopicOrPartitionError,
)

from stream.transports import kafka_topics
from stream.transports.broker import BrokerConfig
from stream.transports.kafka_connection import partition_for, record_headers
from stream.transports.kafka_topics import RECORD_OVERHEAD_BYTES, Topic
from stream.transports.transport import Message, TooLarge, TransportError

STOP_LIMIT_S = 2.0
_BACK_OFF_S = (0.25, 8.0)
# Small records are joined up to this size while a request is under way; nothing waits for it.
_BATCH_BYTES = 128 * 1024
_NEEDS_NEW_PRODUCER = (
    DuplicateSequenceNumber,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    OutOfOrderSequenceNumber,
    UnknownProducerId,
)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Call:
    """Somebody waits until this message is published."""

    number: int
    message: Message
    done: asyncio.Future[None]

    def end(self, error: Exception | None = None) -> None:
        if self.done.done():
            return  # nobody waits any more
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)


class KafkaWriter:
    """One producer, what it has to know of topics, and the calls that wait for it.

    The producer would let a new call overtake those that wait for a full batch, and fails a whole
    batch for one of its records. So calls are handed to it one after the other, and what fails is
    published again one by one, before anything that came later.
    """

    def __init__(
        self,
        admin: AIOKafkaAdminClient,
        *,
        config: BrokerConfig,
        connection: Mapping[str, Any],
        ensure_topics: Callable[[Sequence[str]], Awaitable[None]],
        failures: Counter[str],
    ) -> None:
        self._admin, self._config, self._connection = admin, config, connection
        self._ensure_topics, self._failures = ensure_topics, failures
        self._producer: AIOKafkaProducer | None = None
        self._topics: dict[str, Topic] = {}
        self._making = asyncio.Lock()
        self._numbers = count()
        self._calls: deque[_Call] = deque()  # not yet with the producer
        self._sent: dict[asyncio.Future[Any], _Call] = {}  # with it
        self._failed: list[_Call] = []
        self._due = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    @property
    def client(self) -> Any:
        """The producer's connections; None while there is no producer."""
        return self._producer.client if self._producer else None

    @property
    def producer_arguments(self) -> dict[str, Any]:
        """What every producer for this broker is told."""
        return {
            **self._connection,
            "enable_idempotence": True,
            "acks": "all",
            "linger_ms": 0,
            "max_batch_size": _BATCH_BYTES,
            "max_request_size": self._config.max_message_bytes + RECORD_OVERHEAD_BYTES,
            "partitioner": partition_for,
        }

    async def close(self) -> None:
        """Flush for a moment; who still waits then is told that it was too late."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._producer is not None:
            await stopped(self._producer)
        for call in (*self._sent.values(), *self._failed, *self._calls):
            call.end(TransportError(f"the connection to {self._config.url} was closed"))

    async def publish(self, message: Message) -> None:
        """Return once all replicas have it, or raise TransportError."""
        done = asyncio.get_running_loop().create_future()
        self._calls.append(_Call(number=next(self._numbers), message=message, done=done))
        self._due.set()
        await done

    async def prepare(self, topics: Sequence[str]) -> None:
        """Create what is missing, start the producer, and let it find each topic's leaders."""
        if all(topic in self._topics for topic in topics):
            return
        async with self._making:
            for topic in topics:
                await self._learn(topic)

    def fit(self, producer: AIOKafkaProducer) -> None:
        """Have a producer join no more records than every topic known here takes at once."""
        limits = [one.max_message_bytes for one in self._topics.values() if one.max_message_bytes]
        batches = producer._message_accumulator
        batches._batch_size = min([batches._batch_size, *limits])

    def refusal(self, message: Message) -> str:
        """Why a message can never be published; empty where it can or nothing is known."""
        topic = self._topics.get(message.topic)
        try:
            if topic is not None:
                self._check(message, topic)
        except TooLarge as error:
            return str(error)
        return ""

    # Calls to the producer and back

    async def _run(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            while self._calls and not self._failed:
                await self._hand_over(self._calls[0])
                self._calls.popleft()
            if self._failed:
                await self._repeat()
                self._due.set()

    async def _hand_over(self, call: _Call) -> None:
        if call.done.done():
            return
        try:
            sent = await self._send(call.message)
        except KafkaError:
            self._failed.append(call)
        except Exception as error:  # whatever it is, it is the caller's
            call.end(error)
        else:
            self._sent[sent] = call
            sent.add_done_callback(self._on_sent)

    def _on_sent(self, sent: asyncio.Future[Any]) -> None:
        call = self._sent.pop(sent)
        if sent.cancelled() or sent.exception() is not None:
            self._failed.append(call)
            self._due.set()
        else:
            call.end()

    async def _repeat(self) -> None:
        """Publish what failed, once nothing else is under way."""
        while self._sent:
            await asyncio.wait(self._sent)
        self._failures["publish"] += 1
        _log.warning("to be published one by one", messages=len(self._failed))
        for call in sorted(self._failed, key=lambda call: call.number):
            await self._publish_alone(call)
        self._failed.clear()

    async def _publish_alone(self, call: _Call) -> None:
        """Try for as long as the broker is away; what it refuses now is this message's own."""
        topic, delay_s = call.message.topic, _BACK_OFF_S[0]
        while not call.done.done():
            producer = self._producer
            try:
                await (await self._send(call.message))
                call.end()
            except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
                call.end(TooLarge(f"too large for {topic}: {error}"))
            except KafkaError as error:
                if _is_final(error):
                    call.end(TransportError(f"{self._config.url} refuses {topic}: {error}"))
                    return
                self._failures["publish"] += 1
                _log.warning("to be published again", topic=topic, reason=repr(error))
                if isinstance(error, UnknownTopicOrPartitionError):
                    self._topics.pop(topic, None)
                else:
                    await self._give_up(producer)
                await asyncio.sleep(delay_s)
                delay_s = min(delay_s * 2, _BACK_OFF_S[1])
            except Exception as error:  # whatever it is, it is the caller's
                call.end(error)

    async def _send(self, message: Message) -> asyncio.Future[Any]:
        key = message.key.encode() or None
        value = message.payload if message.payload or key is None else None
        producer = await self._made_ready(message)
        sent: asyncio.Future[Any] = await producer.send(
            message.topic,
            value,
            key,
            timestamp_ms=message.time_ns // 1_000_000 or None,
            headers=record_headers(message),
        )
        return sent

    # The producer and its topics

    async def _made_ready(self, message: Message) -> AIOKafkaProducer:
        """The producer, once the topic is known and takes the message."""
        async with self._making:
            topic = self._topics.get(message.topic) or await self._learn(message.topic)
            self._check(message, topic)
            return await self._open_producer()

    def _check(self, message: Message, topic: Topic) -> None:
        most = self._config.max_message_bytes
        if topic.max_message_bytes is not None:
            overhead = len(message.key) + sum(map(len, message.headers.values())) + 512
            most = min(most, max(topic.max_message_bytes - overhead, 0))
        if len(message.payload) > most:
            raise TooLarge(
                f"too large for {message.topic}: {len(message.payload)} bytes, at most {most}"
            )

    async def _learn(self, name: str) -> Topic:
        await self._ensure_topics([name])
        topics = await kafka_topics.describe(self._admin, [name])
        if name not in topics:
            raise UnknownTopicOrPartitionError(f"the topic {name} was just created")
        producer = await self._open_producer()
        # All at once: told of one topic, it forgets those it was not told of.
        await producer.client.set_topics([*self._topics, name])
        await producer.partitions_for(name)  # or each message would ask
        self._topics[name] = topics[name]
        self.fit(producer)
        return topics[name]

    async def _open_producer(self) -> AIOKafkaProducer:  # within self._making
        if self._producer is None:
            producer = AIOKafkaProducer(**self.producer_arguments)
            try:
                await producer.start()
            except BaseException:
                await producer.stop()
                raise
            self._producer = producer
        return self._producer

    async def _give_up(self, producer: AIOKafkaProducer | None) -> None:
        # After a fatal error it never sends again.
        if producer is None or self._producer is not producer:
            return
        self._producer = None
        self._topics.clear()  # its successor has yet to find their leaders
        await stopped(producer)


async def stopped(producer: AIOKafkaProducer) -> None:
    """End a producer whatever has become of it; then it has no task and no connection left."""
    await _within_limit(producer.stop())
    # what had gone wrong with it may have ended that early
    await _within_limit(producer._sender.close())
    await _within_limit(producer.client.close())


async def _within_limit(stopping: Coroutine[Any, Any, None]) -> None:
    """Not wait_for and suppress: a task that was given up must not look as if we were."""
    task = asyncio.ensure_future(stopping)
    try:
        await asyncio.wait({task}, timeout=STOP_LIMIT_S)
    finally:
        task.cancel()
        task.add_done_callback(lambda done: done.cancelled() or done.exception())


def _is_final(error: KafkaError) -> bool:
    """Whether the broker would answer the same to any producer."""
    return (
        isinstance(error, BrokerResponseError)
        and not error.retriable
        and not isinstance(error, _NEEDS_NEW_PRODUCER)
    )
