"""Placement and routing of a board's netlist with one seed."""

import re
import time
from dataclasses import dataclass
from pathlib import Path

from boards import yowasp
from boards.board_file import BoardFile
from boards.nextpnr import Placed, place

__all__ = ["Tried", "place_and_route"]

_STAGES = (
    (re.compile(r"Packing constants"), "packing"),
    (re.compile(r"Creating initial analytic placement for (\d+) cells"), "placing {0} cells"),
    (re.compile(r"at iteration #(\d+), type ALL"), "placing, iteration {0}"),
    (re.compile(r"simulated annealing placer for refinement"), "refining the placement"),
    (re.compile(r"Running main router loop"), "routing"),
)
"""Lines of nextpnr's log, and what to tell of them."""
_ROUTING = re.compile(r"^Info:\s+iter=\d+ wires=\d+ overused=(\d+)")
"""Router's progress: the last is what two nets want."""
ROUTER = "router2"
"""By negotiated congestion; the tool's first router tears up nets without end on a full chip."""
EACH_S = 20
"""Seconds between two lines about one stage."""


@dataclass(frozen=True, kw_only=True)
class Tried(Placed):
    """A board's netlist, placed with one seed."""

    seed: int
    met: bool
    """Whether the board's clock was met."""
    file: Path
    """The chip's configuration, for the packer; of an estimate there is none."""
    wall_s: float


def place_and_route(
    board: BoardFile, folder: Path, seed: int, tell: yowasp.Tell, *, route: bool
) -> Tried:
    """Place folder/board.json, and route it or estimate its wires."""
    name = f"seed-{seed}"
    file = folder / f"{name}.config"
    arguments = [f"--{board.device}", "--package", board.package, "--speed", board.speed]
    arguments += ["--lpf", "board.lpf", "--seed", str(seed), "--router", ROUTER]
    begin = time.monotonic()
    placed = place(
        folder,
        "board.json",
        name,
        [*arguments, "--textcfg", file.name] if route else arguments,
        frequency_mhz=board.clock_hz / 1e6,
        route=route,
        subject=f"board '{board.name}'",
        line=_Teller(tell, seed),
    )
    return Tried(
        **vars(placed),
        seed=seed,
        met=placed.fmax_mhz * 1e6 >= board.clock_hz,
        file=file,
        wall_s=time.monotonic() - begin,
    )


class _Teller:
    """Tells of the log's lines, not too often."""

    def __init__(self, tell: yowasp.Tell, seed: int) -> None:
        self._tell, self._seed, self._last = tell, seed, 0.0

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        left = _ROUTING.match(line)
        if left and now - self._last > EACH_S:
            self._say(f"routing, {int(left[1]):,} wires in conflict", now)
        for pattern, text in _STAGES:
            found = pattern.search(line)
            if found and ("iteration" not in text or now - self._last > EACH_S):
                self._say(text.format(*found.groups()), now)

    def _say(self, text: str, now: float) -> None:
        self._last = now
        self._tell(f"seed {self._seed}: {text}")
