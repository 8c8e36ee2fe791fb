"""A certificate authority, and certificates signed by it: made anew for every run of the tests."""

import subprocess
from pathlib import Path

DAYS = 2
EXPIRED = -1
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")


class Authority:
    """A certificate authority of its own in a directory, by way of openssl."""

    def __init__(self, directory: Path, name: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._key = directory / f"{name}.key"
        self.certificate = directory / f"{name}.crt"
        extensions = ("-addext", "basicConstraints=critical,CA:TRUE")
        extensions += ("-addext", "keyUsage=critical,keyCertSign,cRLSign")
        _openssl(
            *("req", "-x509", *_KEY, "-days", DAYS, "-subj", f"/CN={name}", *extensions),
            *("-keyout", self._key, "-out", self.certificate),
        )

    def sign(self, name: str, *, host: str = "", days: int = DAYS) -> tuple[Path, Path]:
        """Give the files of a certificate and its key: a server's for ``host``, else a client's."""
        certificate, key, request = (
            self._directory / f"{name}.{end}" for end in ("crt", "key", "csr")
        )
        _openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        extensions = self._directory / f"{name}.extensions"
        extensions.write_text(f"subjectAltName=DNS:{host}\n" if host else "")
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key),
            *("-CAcreateserial", "-days", days, "-extfile", extensions, "-out", certificate),
        )
        return certificate, key


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
