"""Placement and routing of a board's netlist with one seed."""

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

from boards import report, yowasp
from boards.board_file import BoardFile
from boards.errors import SynthesisError
from boards.timing import longest_path

__all__ = ["Routed", "estimate_placed", "place_and_route"]

_STAGES = (
    (re.compile(r"Packing constants"), "packing"),
    (re.compile(r"Creating initial analytic placement for (\d+) cells"), "placing {0} cells"),
    (re.compile(r"at iteration #(\d+), type ALL"), "placing, iteration {0}"),
    (re.compile(r"simulated annealing placer for refinement"), "refining the placement"),
    (re.compile(r"Routing (\d+) arcs"), "routing {0} wires"),
)
"""Lines of nextpnr's log, and what to tell of them."""
_ROUTING = re.compile(r"^Info:\s+\d+ \|\s+\d+\s+\d+ \|\s+\d+\s+\d+ \|\s+(\d+)\|")
"""Router's progress: the last column is what is left to route."""
EACH_S = 20
"""Seconds between two lines about one stage."""


@dataclass(frozen=True, kw_only=True)
class Routed:
    """A netlist placed, and routed unless it is an estimate."""

    seed: int
    fmax_mhz: float
    resources: dict[str, dict[str, int]]
    critical_path: list[str]
    file: Path
    """The chip's configuration, for the packer; of an estimate there is none."""
    wall_s: float


def place_and_route(board: BoardFile, folder: Path, seed: int, tell: yowasp.Tell) -> Routed:
    """Run nextpnr on folder/board.json; its report says what the clock can be."""
    name = f"seed-{seed}"
    outputs = ["--report", f"{name}.rep", "--textcfg", f"{name}.config"]
    wall_s = _run(board, folder, seed, outputs, tell)
    found = json.loads((folder / f"{name}.rep").read_text())
    return _routed(folder, seed, wall_s, report.routed_path(found))


def estimate_placed(board: BoardFile, folder: Path, seed: int, tell: yowasp.Tell) -> Routed:
    """The same without routing: the clock is that of predicted wires."""
    name = f"seed-{seed}"
    outputs = ["--report", f"{name}.rep", "--no-route", "--sdf", f"{name}.sdf"]
    wall_s = _run(board, folder, seed, outputs, tell)
    with (folder / f"{name}.sdf").open() as delays:
        path = longest_path(delays)
    return _routed(folder, seed, wall_s, path.lines() if path else [])


def _routed(folder: Path, seed: int, wall_s: float, path: list[str]) -> Routed:
    name = f"seed-{seed}"
    fmax_mhz = report.clock_mhz((folder / f"{name}.log").read_text())
    if fmax_mhz is None:
        raise SynthesisError(f"{yowasp.PLACEMENT} reported no clock frequency")
    return Routed(
        seed=seed,
        fmax_mhz=fmax_mhz,
        resources=report.resources(json.loads((folder / f"{name}.rep").read_text())),
        critical_path=path,
        file=folder / f"{name}.config",
        wall_s=wall_s,
    )


def _run(board: BoardFile, folder: Path, seed: int, outputs: list[str], tell: yowasp.Tell) -> float:
    """Seconds it took. A clock that is missed is for the caller to judge."""
    name = f"seed-{seed}"
    arguments = [f"--{board.device}", "--package", board.package, "--speed", board.speed]
    arguments += ["--json", "board.json", "--lpf", "board.lpf", "--log", f"{name}.log"]
    arguments += ["--freq", f"{board.clock_hz / 1e6:g}", "--timing-allow-fail"]
    arguments += ["--seed", str(seed), *outputs]
    for stale in folder.glob(f"{name}.*"):
        stale.unlink()
    begin = time.monotonic()
    try:
        yowasp.follow(yowasp.PLACEMENT, arguments, folder, _Teller(tell, seed))
    except SynthesisError as error:
        log = folder / f"{name}.log"
        lacking = report.overflow(log.read_text()) if log.exists() else []
        if not lacking:
            raise
        raise SynthesisError(f"board '{board.name}': {'; '.join(lacking)}") from error
    return time.monotonic() - begin


class _Teller:
    """Tells of the log's lines, not too often."""

    def __init__(self, tell: yowasp.Tell, seed: int) -> None:
        self._tell, self._seed, self._last = tell, seed, 0.0

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        left = _ROUTING.match(line)
        if left and now - self._last > EACH_S:
            self._say(f"routing, {int(left[1]):,} wires left", now)
        for pattern, text in _STAGES:
            found = pattern.search(line)
            if found and ("iteration" not in text or now - self._last > EACH_S):
                self._say(text.format(*found.groups()), now)

    def _say(self, text: str, now: float) -> None:
        self._last = now
        self._tell(f"seed {self._seed}: {text}")
