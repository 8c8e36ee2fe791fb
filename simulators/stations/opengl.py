"""OpenGL without a screen and without root: EGL with Mesa's software renderer."""

import ctypes
import os
import sys
from pathlib import Path

from simulators.debian import DebianError, fetch, library_path

# What Debian 12's EGL and Mesa need beyond what apt and Python themselves depend on; the first
# four bring the rest where apt may install.
PACKAGES = (
    "libegl1",
    "libopengl0",
    "libegl-mesa0",
    "libgl1-mesa-dri",
    "libglvnd0",
    "libglapi-mesa",
    "libgbm1",
    "libllvm15",
    "libz3-4",
    "libedit2",
    "libbsd0",
    "libmd0",
    "libxml2",
    "libicu72",
    "libelf1",
    "libffi8",
    "libexpat1",
    "libsensors5",
    "libdrm2",
    "libdrm-amdgpu1",
    "libdrm-intel1",
    "libdrm-nouveau2",
    "libdrm-radeon1",
    "libpciaccess0",
    "libwayland-client0",
    "libwayland-server0",
    "libx11-6",
    "libx11-xcb1",
    "libxau6",
    "libxdmcp6",
    "libxshmfence1",
    "libxcb1",
    "libxcb-dri2-0",
    "libxcb-dri3-0",
    "libxcb-present0",
    "libxcb-randr0",
    "libxcb-sync1",
    "libxcb-xfixes0",
)
_TO_INSTALL = "libegl1 libopengl0 libgl1-mesa-dri"


class OpenGLError(Exception):
    """No way to render without a screen: says what to install."""


def prepare_opengl() -> None:
    """Make headless rendering possible in this process and in those that it starts.

    Has to be called before mujoco is imported. Chooses EGL unless MUJOCO_GL says otherwise, and
    fetches it where the machine has none. Raises OpenGLError where that fails.
    """
    if sys.platform != "linux":
        return
    if os.environ.setdefault("MUJOCO_GL", "egl") != "egl" or _is_there("libEGL.so.1"):
        return
    try:
        _use(fetch(PACKAGES))
    except DebianError as error:
        raise OpenGLError(
            f"rendering needs libEGL.so.1: install it with `sudo apt-get install {_TO_INSTALL}` "
            f"(fetching it without root failed: {_reason(error)})"
        ) from error


def _reason(error: DebianError) -> str:
    """Why, without the forty packages that the error names before and after."""
    names = " ".join(PACKAGES)
    return str(error).removeprefix(f"cannot download {names}: ").partition("; install")[0]


def _is_there(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _use(tree: Path) -> None:
    """Load the libraries of an unpacked tree, and tell them where their drivers lie."""
    directories = [Path(place) for place in library_path(tree).split(":")]
    drivers = [place / "dri" for place in directories if (place / "dri").is_dir()]
    os.environ["__EGL_VENDOR_LIBRARY_DIRS"] = str(tree / "usr/share/glvnd/egl_vendor.d")
    os.environ["LIBGL_DRIVERS_PATH"] = ":".join(map(str, drivers))
    _load(sorted(file for place in directories for file in place.glob("*.so.*")))
    if not _is_there("libEGL.so.1"):
        raise OpenGLError(
            f"rendering needs libEGL.so.1, and the one in {tree} cannot be loaded: "
            f"install it with `sudo apt-get install {_TO_INSTALL}`"
        )


def _load(libraries: list[Path]) -> None:
    """Load all that can be loaded, whatever their order: each waits until those it needs are in.

    The dynamic linker reads LD_LIBRARY_PATH only at the process's start, but a library that is
    in the process already is found by its name.
    """
    waiting = libraries
    while waiting:
        left = [file for file in waiting if not _is_there(str(file))]
        if len(left) == len(waiting):
            return
        waiting = left
