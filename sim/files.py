"""Where simulations are built, and a lock so that parallel test processes build each one once."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sim.errors import SimulationError

__all__ = ["BUILD", "ROOT", "locked", "require_program"]

ROOT = Path(__file__).resolve().parent.parent
"""The clone."""
BUILD = ROOT / "build"
"""Everything generated; not in git, removed by `make clean`."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on file `path` (created if missing) between processes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def require_program(program: str, package: str) -> str:
    """Path of a program; `SimulationError` names the Debian package that holds it."""
    found = shutil.which(program)
    if found is None:
        raise SimulationError(f"'{program}' is missing: sudo apt-get install {package}")
    return found
