"""Debian packages as an ordinary user: downloaded and unpacked into a cache, never installed.

Brokers and rendering libraries come from here on machines where nobody has root. The packages
named are unpacked as they are; what they depend on has to be named too.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_DOWNLOAD_LIMIT_S = 300


class DebianError(Exception):
    """Packages that cannot be had here: says which, and what to install instead."""


def default_cache() -> Path:
    """Where unpacked packages are kept: ``~/.cache/weldfusion/debian``, or below XDG_CACHE_HOME."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "weldfusion" / "debian"


def library_path(tree: Path) -> str:
    """Give the ``LD_LIBRARY_PATH`` that finds the shared libraries of an unpacked tree."""
    triplet = f"{platform.machine()}-linux-gnu"
    places = [tree / "usr/lib" / triplet, tree / "lib" / triplet, tree / "usr/lib", tree / "lib"]
    return ":".join(str(place) for place in places if place.is_dir())


def fetch(packages: Sequence[str], *, cache: Path | None = None) -> Path:
    """Give the root of one tree that holds all ``packages``, downloading on first use.

    The tree is put in place with one rename, so that an interrupted download leaves none.
    Raises DebianError with one line saying what to install where that is impossible.
    """
    cache = cache or default_cache()
    tree = cache / _fingerprint(packages)
    if tree.is_dir():
        return tree
    if missing := [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]:
        raise DebianError(_advice(packages, f"{' and '.join(missing)} not found"))
    cache.mkdir(parents=True, exist_ok=True)
    with _beside(cache) as work:
        _download(packages, work)
        _unpack(sorted((work / "packages").glob("*.deb")), work / "tree")
        _put_in_place(work / "tree", tree)
    return tree


def _fingerprint(packages: Sequence[str]) -> str:
    # The release is part of it: libraries of another Debian may need another libc.
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    system = [release.get("ID", ""), release.get("VERSION_ID", ""), platform.machine()]
    return hashlib.sha256(" ".join([*system, *sorted(packages)]).encode()).hexdigest()[:16]


@contextmanager
def _beside(cache: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as name:
        yield Path(name)


def _download(packages: Sequence[str], work: Path) -> None:
    (work / "packages").mkdir()
    command = ["download", *packages]
    first = _apt_get(command, work, [])
    if first.returncode == 0:
        return
    # The machine's package lists may be empty or stale, and only root could renew them.
    lists = _private_lists(work)
    _apt_get(["update"], work, lists)
    second = _apt_get(command, work, lists)
    if second.returncode != 0:
        raise DebianError(_advice(packages, _last_error(second.stderr)))


def _private_lists(work: Path) -> list[str]:
    (work / "lists" / "partial").mkdir(parents=True)
    (work / "archives" / "partial").mkdir(parents=True)
    return [
        "-o", f"Dir::State::lists={work / 'lists'}",
        "-o", f"Dir::Cache={work}",
        "-o", f"Dir::Cache::archives={work / 'archives'}",
    ]  # fmt: skip


def _apt_get(
    command: list[str], work: Path, options: list[str]
) -> subprocess.CompletedProcess[str]:
    # As root apt would hand over to the user _apt, who may not write into a private directory.
    as_root = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    try:
        return subprocess.run(
            ["apt-get", "-q", "-y", *as_root, *options, *command],
            cwd=work / "packages",
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"E: apt-get {command[0]} took longer than {_DOWNLOAD_LIMIT_S} s"
        return subprocess.CompletedProcess(command, 1, "", reason)


def _unpack(archives: Sequence[Path], tree: Path) -> None:
    tree.mkdir()
    for archive in archives:
        done = subprocess.run(
            ["dpkg-deb", "-x", str(archive), str(tree)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DebianError(f"{archive.name} cannot be unpacked: {_last_error(done.stderr)}")


def _put_in_place(work: Path, tree: Path) -> None:
    try:
        work.rename(tree)
    except OSError:
        # Another process was faster: its tree holds the same packages.
        if not tree.is_dir():
            raise


def _last_error(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith("E:")]
    lines = lines or stderr.splitlines() or ["no reason was given"]
    return lines[0].removeprefix("E:").strip()


def _advice(packages: Sequence[str], reason: str) -> str:
    names = " ".join(packages)
    return f"cannot download {names}: {reason}; install with `sudo apt-get install {names}` instead"
