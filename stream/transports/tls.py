"""TLS to a broker: how it is set up, and in plain words why it failed."""

import asyncio
import ssl
from pathlib import Path

from stream.transports.broker import BrokerConfig
from stream.transports.transport import TransportError

_PROBE_LIMIT_S = 2.0
_EXPIRED, _NOT_YET_VALID, _WRONG_HOST, _WRONG_ADDRESS = 10, 9, 62, 64
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
# What the other side says of us (RFC 8446, section 6.2), and what says that it speaks no TLS.
_WANTS_CERTIFICATE = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE")
_REFUSES_CERTIFICATE = (
    "UNKNOWN_CA",
    "BAD_CERTIFICATE",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN",
)
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_EOF")
_OLD_TLS = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION")


def tls_context(config: BrokerConfig) -> ssl.SSLContext:
    """TLS 1.2 or newer that checks the broker's certificate and its host name.

    Raises TransportError naming the file that cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=config.ca_file)
    except OSError as error:
        raise _unusable("ca_file", config.ca_file, error) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.cert_file is not None:
        try:
            # An encrypted key is an error: nobody is there to be asked for its password.
            context.load_cert_chain(config.cert_file, config.key_file, password="")
        except OSError as error:
            files = f"{config.cert_file}, {config.key_file}"
            raise _unusable("cert_file and key_file", files, error) from error
    return context


async def tls_refusal(config: BrokerConfig) -> str:
    """Give why TLS to the broker's first server fails, "" where it does not.

    A broker that misses or refuses our certificate says so only after the handshake (TLS 1.3).
    """
    host, port = config.address.servers[0]
    try:
        async with asyncio.timeout(_PROBE_LIMIT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls_context(config))
            try:
                await reader.read(1)
            finally:
                writer.close()
    except ssl.SSLError as error:
        return explain(error, config)
    except ConnectionResetError:
        return "it closes the connection before TLS is agreed on; does it speak TLS on this port?"
    except OSError:  # of which a timeout is one: it speaks TLS, and waits for us to begin
        return ""
    return ""


def explain(error: ssl.SSLError, config: BrokerConfig) -> str:
    """Give in words what is wrong with a broker's certificate, or with ours."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _about_its_certificate(error, config)
    reason = error.reason or str(error)
    if any(one in reason for one in _REFUSES_CERTIFICATE):
        return f"it refuses the certificate in {config.cert_file}"
    if any(one in reason for one in _WANTS_CERTIFICATE):
        return "it asks for a client certificate; give cert_file and key_file"
    if any(one in reason for one in _NO_TLS):
        return "it speaks no TLS on this port"
    if any(one in reason for one in _OLD_TLS):
        return "it speaks no TLS 1.2 or newer"
    return f"TLS fails: {reason}"


def _about_its_certificate(error: ssl.SSLCertVerificationError, config: BrokerConfig) -> str:
    if error.verify_code == _EXPIRED:
        return "its certificate has expired"
    if error.verify_code == _NOT_YET_VALID:
        return "its certificate is not yet valid; is the clock right?"
    if error.verify_code in (_WRONG_HOST, _WRONG_ADDRESS):
        return f"its certificate is for another host: {error.verify_message}"
    if error.verify_code in _UNKNOWN_AUTHORITY:
        known = f"the authority in {config.ca_file}" if config.ca_file else "a known authority"
        return f"its certificate is not signed by {known}; give its authority's as ca_file"
    return f"its certificate is not valid: {error.verify_message}"


def _unusable(setting: str, files: Path | str | None, error: OSError) -> TransportError:
    reason = error.strerror or str(error)
    return TransportError(f"{setting} cannot be used ({files}): {reason}")
