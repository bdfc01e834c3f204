"""Lists the longest paths of a placed design, one for each two units: `python -m boards.paths`."""

import argparse
import sys
from pathlib import Path

from boards.timing import longest_between

__all__ = ["main"]


def main() -> None:
    """Print them, with the nets on their way when asked for."""
    parser = argparse.ArgumentParser(prog="python -m boards.paths", description=__doc__)
    parser.add_argument("sdf", type=Path, help="delays of a placement: machine.sdf")
    parser.add_argument("--count", type=int, default=30, help="pairs of units (default: 30)")
    parser.add_argument("--above", type=float, default=15, help="ns (default: 15)")
    parser.add_argument("--lines", action="store_true", help="all segments of each path")
    options = parser.parse_args()
    with options.sdf.open() as sdf:
        pairs = longest_between(sdf, options.count, int(options.above * 1000))
    for path, times in pairs:
        cells = sum(not segment.net for segment in path.segments)
        sys.stdout.write(
            f"{path.delay_ps / 1000:6.2f} ns  {cells:3} cells  x{times:<5} "
            f"{_short(path.segments[0].source)} -> {_short(path.segments[-1].sink)}\n"
        )
        if options.lines:
            sys.stdout.writelines(f"    {line}\n" for line in path.lines())


def _short(pin: str) -> str:
    """A register's name, without what synthesis made of it."""
    cell, _, port = pin.rpartition("/")
    for kind in ("_TRELLIS", "_LUT4", "_CCU2C", "_PFUMX", "_L6MUX", "_DP16KD", "_MULT18"):
        cell = cell.partition(kind)[0]
    return f"{cell.removeprefix('machine.')}/{port}"


if __name__ == "__main__":
    main()
