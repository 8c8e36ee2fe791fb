"""Which broker, and how to identify to it."""

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stream.transports.transport import TransportError

_SCHEMES = ("mqtt", "mqtts", "kafka", "kafka+ssl", "memory")
_PORTS = {"mqtt": 1883, "mqtts": 8883, "kafka": 9092, "kafka+ssl": 9092}
_URL = re.compile(r"(?P<scheme>[a-z+]+)://(?P<servers>[^/@?#]+)/?")
_SERVER = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A broker's URL, taken apart; Kafka may name several servers."""

    scheme: str
    servers: tuple[tuple[str, int], ...]

    @property
    def encrypted(self) -> bool:
        """Whether TLS protects what is sent."""
        return self.scheme in ("mqtts", "kafka+ssl")

    @property
    def is_local(self) -> bool:
        """Whether nothing leaves this machine."""
        return self.scheme == "memory" or all(_is_loopback(host) for host, _ in self.servers)


def parse_url(url: str) -> Address:
    """Take a broker's URL apart. Raises ValueError saying what is wrong, never the URL itself."""
    if "@" in url:
        raise ValueError(
            "credentials do not belong into a URL; give username and password_file or password_env"
        )
    scheme = url.partition("://")[0]
    if scheme not in _SCHEMES:
        raise ValueError(f"unknown scheme; a broker's URL begins with {'://, '.join(_SCHEMES)}://")
    if not (found := _URL.fullmatch(url)):
        raise ValueError(f"no broker's URL; expected {scheme}://host[:port]")
    if scheme == "memory":
        return Address(scheme=scheme, servers=((found["servers"], 0),))
    servers = tuple(_server(text, _PORTS[scheme]) for text in found["servers"].split(","))
    if len(servers) > 1 and scheme.startswith("mqtt"):
        raise ValueError("MQTT takes one server; only Kafka's URL may name several")
    return Address(scheme=scheme, servers=servers)


class BrokerConfig(BaseModel):
    """A broker, and how to identify to it. Secrets come from a file or the environment."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str
    insecure: bool = False
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: str = ""
    group: str = ""
    username: str = ""
    password_file: Path | None = None
    password_env: str | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    keepalive_s: Annotated[int, Field(ge=1, le=65_535)] = 30
    receive_maximum: Annotated[int, Field(ge=1, le=65_535)] | None = None
    partitions: Annotated[int, Field(ge=1)] = 1
    max_message_bytes: Annotated[int, Field(ge=1, le=256 * 1024**2)] = 4 * 1024**2

    @model_validator(mode="before")
    @classmethod
    def _refuse_secrets(cls, content: Any) -> Any:
        if isinstance(content, dict) and "password" in content:
            raise ValueError("a password does not belong here; give password_file or password_env")
        return content

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parse_url(url)
        return url

    @model_validator(mode="after")
    def _check_credentials(self) -> "BrokerConfig":
        if self.password_file and self.password_env:
            raise ValueError("give either password_file or password_env, not both")
        if (self.password_file or self.password_env) and not self.username:
            raise ValueError("a password needs a username")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together")
        if (self.ca_file or self.cert_file) and not self.address.encrypted:
            raise ValueError("certificates need TLS: a URL with mqtts:// or kafka+ssl://")
        if self.address.scheme.startswith("kafka") and self.username and not self._has_password:
            raise ValueError("Kafka's SCRAM-SHA-512 needs password_file or password_env")
        return self

    @property
    def _has_password(self) -> bool:
        return bool(self.password_file or self.password_env)

    @property
    def address(self) -> Address:
        """The URL, taken apart."""
        return parse_url(self.url)

    def password(self) -> str | None:
        """Read the password. Raises TransportError naming the place where it is missing."""
        if self.password_env:
            if not (value := os.environ.get(self.password_env)):
                raise TransportError(f"the environment has no {self.password_env} (password_env)")
            return value
        if self.password_file:
            try:
                value = self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as error:
                raise TransportError(f"password_file cannot be read: {error}") from error
            except UnicodeDecodeError:
                value = ""
            if not value:
                raise TransportError(f"password_file holds no text: {self.password_file}")
            return value
        return None


def rejected(config: BrokerConfig) -> str:
    """Give in words that a broker does not take us, with what to do; names no secret."""
    if config.username:
        return f"it does not take user {config.username!r} with this password"
    if config.cert_file:
        return f"it does not take the certificate in {config.cert_file}"
    return "it takes nobody without a name; give username and password_file or password_env"


def _server(text: str, default_port: int) -> tuple[str, int]:
    if not (found := _SERVER.fullmatch(text)):
        raise ValueError("no server in the broker's URL; expected host[:port]")
    port = int(found["port"] or default_port)
    if not 0 < port < 65_536:
        raise ValueError(f"port {port} is not between 1 and 65535")
    return found["host"].strip("[]"), port


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
