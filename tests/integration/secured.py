"""Brokers that let nobody in who does not identify: one of each kind, with a listener for each way.

Certificates and passwords are made by the test run and lie in its temporary directory.
"""

import json
import os
import shutil
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import pbkdf2_hmac
from pathlib import Path
from secrets import token_hex
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from simulators.brokers.broker import EmbeddedBroker, free_port
from simulators.brokers.kafka import Kafka
from simulators.brokers.mosquitto import _program
from stream.transports.broker import BrokerConfig
from stream.transports.kafka_topics import create
from tests.certificates import EXPIRED, Authority

USERS = ("worker", "stranger")
# Allowed is what begins with this; a stranger is known, and allowed nothing.
ALLOWED = "allowed"
_ITERATIONS = 101
_TOPIC, _GROUP, _PREFIXED, _ALLOW = 2, 3, 4, 3  # as Kafka's protocol numbers them
_READ, _WRITE, _CREATE, _DESCRIBE = 3, 4, 5, 8


class Credentials:
    """Everything that a client or a server can show, in files."""

    def __init__(self, directory: Path) -> None:
        authority = Authority(directory, "authority")
        stranger = Authority(directory / "strange", "stranger")
        self.directory = directory
        self.ca_file, self.strange_ca_file = authority.certificate, stranger.certificate
        self.server = authority.sign("server", host="localhost")
        self.expired = authority.sign("expired", host="localhost", days=EXPIRED)
        self.client = authority.sign("worker")
        self.strange_client = stranger.sign("worker")
        self.passwords = {user: token_hex(16) for user in USERS}
        for user, password in self.passwords.items():
            self.password_file(user).write_text(f"{password}\n")

    def password_file(self, user: str) -> Path:
        return self.directory / f"{user}.password"

    def user(self, name: str = "worker") -> dict[str, Any]:
        """What a user with a password has in its configuration."""
        return {
            "username": name,
            "password_file": self.password_file(name),
            "ca_file": self.ca_file,
        }

    def bearer(self) -> dict[str, Any]:
        """What a client with a certificate has in its configuration."""
        return _bearer(self.client, self.ca_file)

    def stranger(self) -> dict[str, Any]:
        """The same, with a certificate that somebody else has signed."""
        return _bearer(self.strange_client, self.ca_file)


def _bearer(files: tuple[Path, Path], ca_file: Path) -> dict[str, Any]:
    return {"cert_file": files[0], "key_file": files[1], "ca_file": ca_file}


class SecuredMosquitto(EmbeddedBroker):
    """One Mosquitto: ``password`` asks for one, ``mutual`` for a certificate; ``strict`` is plain
    and refuses subscriptions, which an access list cannot; ``expired`` shows an old certificate.
    """

    name = "mosquitto"
    scheme = "mqtts"

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self._credentials = credentials
        self.ports = {name: free_port() for name in ("mutual", "strict", "expired")}
        self.ports["password"] = self.port
        self.allowed = ALLOWED

    def url_of(self, listener: str, host: str = "localhost") -> str:
        scheme = "mqtt" if listener == "strict" else "mqtts"
        return f"{scheme}://{host}:{self.ports[listener]}"

    def _prepare(self) -> tuple[Sequence[str], Mapping[str, str]]:
        program, environment = _program()
        made = {user: _hashed(word) for user, word in self._credentials.passwords.items()}
        lines = [f"{user}:$7${_ITERATIONS}${salt}${key}" for user, (salt, key) in made.items()]
        (self.directory / "passwords").write_text("\n".join(lines) + "\n")
        access = f"user worker\ntopic readwrite {self.allowed}/#\n"
        (self.directory / "acl").write_text(access)
        (self.directory / "dynamic.json").write_text(json.dumps(_dynamic(made, self.allowed)))
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(self._configuration(_plugin(program)))
        return [program, "-c", str(configuration)], environment

    def _configuration(self, plugin: Path) -> str:
        credentials, here = self._credentials, self.directory
        access = f"acl_file {here}/acl"
        return "\n".join(
            [
                "per_listener_settings true",
                "log_dest stderr",
                *(["user root"] if os.geteuid() == 0 else []),
                *self._listener("password", credentials.server),
                *("allow_anonymous false", f"password_file {here}/passwords", access),
                *self._listener("mutual", credentials.server),
                *("require_certificate true", f"cafile {credentials.ca_file}"),
                *("use_identity_as_username true", access),
                *self._listener("expired", credentials.expired),
                "allow_anonymous true",
                *self._listener("strict", None),
                *("allow_anonymous false", f"plugin {plugin}"),
                f"plugin_opt_config_file {here}/dynamic.json",
                "",
            ]
        )

    def _listener(self, name: str, shown: tuple[Path, Path] | None) -> list[str]:
        lines = [f"listener {self.ports[name]} 127.0.0.1"]
        return lines + ([f"certfile {shown[0]}", f"keyfile {shown[1]}"] if shown else [])


def _hashed(password: str) -> tuple[str, str]:
    salt = os.urandom(12)
    key = pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return b64encode(salt).decode(), b64encode(key).decode()


def _dynamic(made: Mapping[str, tuple[str, str]], allowed: str) -> dict[str, Any]:
    """Who may do what, for Mosquitto's dynamic security plugin."""
    kinds = ("subscribePattern", "publishClientSend", "publishClientReceive")
    acls = [{"acltype": kind, "topic": f"{allowed}/#", "allow": True} for kind in kinds]
    clients = [
        {
            **{"username": user, "salt": salt, "password": key, "iterations": _ITERATIONS},
            "roles": [{"rolename": user}],
        }
        for user, (salt, key) in made.items()
    ]
    nothing = dict.fromkeys(("publishClientSend", "publishClientReceive", "subscribe"), False)
    return {
        "defaultACLAccess": {**nothing, "unsubscribe": True},
        "clients": clients,
        "groups": [],
        "roles": [{"rolename": "worker", "acls": acls}, {"rolename": "stranger", "acls": []}],
    }


def _plugin(program: str) -> Path:
    """Where Mosquitto's own plugin lies, in a tree of packages as well as in a system."""
    root = Path(shutil.which(program) or program).resolve().parents[2]
    return next(root.glob("**/lib/**/mosquitto_dynamic_security.so"))


class SecuredKafka(Kafka):
    """One Kafka: ``tls`` shows a certificate, ``mutual`` asks for one, ``password`` for a
    password, ``expired`` shows an old certificate. Its plain listener is the administrator's.
    """

    def __init__(self, credentials: Credentials) -> None:
        super().__init__(passwords=credentials.passwords)
        self._credentials = credentials
        self.ports = {name: free_port() for name in ("tls", "mutual", "password", "expired")}
        self._settings |= self._listeners() | {
            "inter.broker.listener.name": "PLAINTEXT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.password.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
        }

    def url_of(self, listener: str, host: str = "localhost") -> str:
        return f"kafka+ssl://{host}:{self.ports[listener]}"

    async def grant(self) -> None:
        """Let the worker use topics and groups that begin with ALLOWED, and see ``listed.a``."""
        admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{self.port}")
        await admin.start()
        rights = [(_TOPIC, one) for one in (_READ, _WRITE, _CREATE, _DESCRIBE)]
        for kind, operation in (*rights, (_GROUP, _READ)):
            await self.allow(admin, kind, ALLOWED, operation)
        await self.allow(admin, _TOPIC, "listed", _DESCRIBE)
        await create(admin, ["listed.a"], partitions=1, max_message_bytes=1000)
        await admin.close()

    @staticmethod
    async def allow(admin: AIOKafkaAdminClient, kind: int, name: str, operation: int) -> None:
        rule = (kind, name, _PREFIXED, "User:worker", "*", operation, _ALLOW)
        answer = await admin._send_to_controller(CreateAclsRequest(*rule))
        assert [code for code, _ in answer.creation_responses] == [0]

    def _listeners(self) -> dict[str, str]:
        credentials = self._credentials
        ports = {"PLAINTEXT": self.port, **{one.upper(): p for one, p in self.ports.items()}}
        addresses = ",".join(f"{one}://localhost:{port}" for one, port in ports.items())
        kinds = {"PLAINTEXT": "PLAINTEXT", "CONTROLLER": "PLAINTEXT", "PASSWORD": "SASL_SSL"}
        kinds |= dict.fromkeys(("TLS", "MUTUAL", "EXPIRED"), "SSL")
        found = {
            "listeners": f"{addresses},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": addresses,
            "listener.security.protocol.map": ",".join(f"{k}:{v}" for k, v in kinds.items()),
            "listener.name.mutual.ssl.client.auth": "required",
            "listener.name.mutual.ssl.truststore.type": "PEM",
            "listener.name.mutual.ssl.truststore.location": str(credentials.ca_file),
            "listener.name.mutual.ssl.principal.mapping.rules": "RULE:^CN=([a-z]+)$/$1/",
        }
        for name in self.ports:
            shown = credentials.expired if name == "expired" else credentials.server
            keystore = self.directory / f"{name}.pem"
            keystore.write_text("".join(file.read_text() for file in reversed(shown)))
            found[f"listener.name.{name}.ssl.keystore.type"] = "PEM"
            found[f"listener.name.{name}.ssl.keystore.location"] = str(keystore)
        return found


def config(url: str, **settings: object) -> BrokerConfig:
    """A broker's configuration with so many settings."""
    return BrokerConfig.model_validate({"url": url, **settings})
