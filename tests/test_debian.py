from pathlib import Path

import pytest

from simulators import debian


def test_without_apt_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    advice = "apt-get and dpkg-deb not found; install with `sudo apt-get install one two` instead"
    with pytest.raises(debian.DebianError, match=advice):
        debian.fetch(["one", "two"], cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.fixture
def apt_with_one_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An apt-get on PATH that has just the package ``good``, made with the real dpkg-deb."""
    programs, package = tmp_path / "bin", tmp_path / "package"
    programs.mkdir()
    (package / "DEBIAN").mkdir(parents=True)
    (package / "usr/lib").mkdir(parents=True)
    (package / "usr/lib/libgood.so").write_text("a library")
    (package / "DEBIAN/control").write_text(
        "Package: good\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\n"
        "Description: for a test\n"
    )
    (programs / "apt-get").write_text(
        "#!/bin/sh\n"
        'for last; do :; done; echo "$last" >> ' + f"{tmp_path}/calls\n"
        f'[ "$last" = good ] && exec dpkg-deb --build {package} good.deb\n'
        'echo "E: Unable to locate package $last" >&2; exit 100\n'
    )
    (programs / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return tmp_path


def test_packages_are_unpacked_once_into_one_tree(apt_with_one_package: Path) -> None:
    cache = apt_with_one_package / "cache"
    tree = debian.fetch(["good"], cache=cache)
    assert (tree / "usr/lib/libgood.so").read_text() == "a library"
    assert debian.library_path(tree) == str(tree / "usr/lib")
    assert debian.fetch(["good"], cache=cache) == tree
    assert (apt_with_one_package / "calls").read_text() == "good\n"


def test_a_package_that_does_not_exist_leaves_nothing_behind(apt_with_one_package: Path) -> None:
    cache = apt_with_one_package / "cache"
    with pytest.raises(debian.DebianError, match="Unable to locate package bad; install with"):
        debian.fetch(["bad"], cache=cache)
    assert list(cache.iterdir()) == []
