"""`sievit build`: from a board and a compiled model to a bitstream that meets its clock."""

import hashlib
import time
from pathlib import Path
from typing import Any

from boards import ecp5, yowasp
from boards.board_file import BoardFile
from boards.board_top import BoardTop
from boards.collisions import free_collisions
from boards.errors import SynthesisError
from boards.place_and_route import Tried, place_and_route
from spec.board_memory import board_memory
from spec.config import Config
from spec.image import Image

__all__ = ["DEFAULT_SEEDS", "build"]

NAME = "board"
"""Of the top module, and of the files."""
DEFAULT_SEEDS = 8
BLOCK_BYTES = 2048
"""Of a DP16KD that holds bytes."""


def build(
    board: BoardFile,
    config: Config | None,
    image: Image | None,
    *,
    route: bool = True,
    seeds: int = DEFAULT_SEEDS,
    first_seed: int = 1,
    progress: yowasp.Tell | None = None,
) -> dict[str, Any]:
    """Synthesise, place, route and pack a board; files go to build/synth/<board>.

    config : the machine; None builds the link and its memory alone, to try a board's pins
    image : lies in the board's memory when the bitstream has been loaded; compiled for `config`
    route : else stop after placement, with an estimate of the clock and no bitstream
    seeds : of the placement, tried until one meets the clock
    progress : told what is being done

    Returns the report `spec.reports.BUILD`; `met` says whether the clock was met. There is a
    bitstream only if it was. `SynthesisError`: missing or failing tool, the design does not fit, or
    memories or multipliers were not inferred.
    """
    tell = progress or (lambda _: None)
    content = board_memory(image, board.memory_bytes).content if image else b""
    folder = yowasp.prepare(
        (yowasp.YOSYS, yowasp.PLACEMENT, yowasp.PACK),
        board.name if config else f"{board.name}-link",
        tell,
    )
    (folder / f"{NAME}.bit").unlink(missing_ok=True)
    begin = time.monotonic()
    _synthesize(BoardTop(board, config, content), folder, tell)
    synthesis_s = time.monotonic() - begin
    tried: list[Tried] = []
    for seed in range(first_seed, first_seed + seeds):
        tell(f"seed {seed} ({seed - first_seed + 1} of {seeds}): placing")
        tried.append(place_and_route(board, folder, seed, tell, route=route))
        if tried[-1].met or not route:
            break
        tell(f"seed {seed}: {tried[-1].fmax_mhz:.1f} MHz is below {board.clock_hz / 1e6:g}")
    best = max(tried, key=lambda one: one.fmax_mhz)
    _check_inferred(board, config, best.resources)
    bitstream = _pack(best.file, folder, tell) if route and best.met else None
    return {
        "board": board.name,
        "preset": config.name if config else None,
        "model": image.model_digest if image else None,
        "device": board.device,
        "macs": config.macs if config else 0,
        "memory_bytes": board.memory_bytes,
        "image_bytes": len(content),
        "resources": best.resources,
        "clock_mhz": board.clock_hz / 1e6,
        "fmax_mhz": best.fmax_mhz,
        "met": best.met,
        "routed": route,
        "critical_path": best.critical_path,
        "seeds": [
            {"seed": one.seed, "fmax_mhz": one.fmax_mhz, "wall_s": round(one.wall_s, 1)}
            for one in tried
        ],
        "bitstream": str(bitstream) if bitstream else None,
        "sha256": hashlib.sha256(bitstream.read_bytes()).hexdigest() if bitstream else None,
        "synthesis_s": round(synthesis_s, 1),
        "wall_s": round(time.monotonic() - begin, 1),
    }


def _synthesize(top: BoardTop, folder: Path, tell: yowasp.Tell) -> None:
    """Netlist and pin constraints, through the board's platform."""
    tell("elaborating")
    files = top.board.platform().prepare(top, NAME, emit_src=False).files
    texts = {end: _text(files[f"{NAME}.{end}"]) for end in ("il", "lpf")}
    (folder / f"{NAME}.il").write_text(free_collisions(texts["il"]))
    (folder / f"{NAME}.lpf").write_text(texts["lpf"])
    tell("synthesising (minutes)")
    script = (f"read_rtlil {NAME}.il", *ecp5.script(NAME, f"{NAME}.json"))
    yowasp.run(yowasp.YOSYS, ["-q", "-l", "yosys.log", "-p", "; ".join(script)], folder)
    ecp5.move_registers(folder / f"{NAME}.json", NAME)


def _text(content: str | bytes) -> str:
    return content.decode() if isinstance(content, bytes) else content


def _check_inferred(
    board: BoardFile, config: Config | None, resources: dict[str, dict[str, int]]
) -> None:
    """Memories must be block RAM, and the array's products multipliers, but for `logic_lanes`."""
    wanted = {
        "DP16KD": -(-board.memory_bytes // BLOCK_BYTES),
        "MULT18X18D": config.macs * (config.lanes - config.logic_lanes) // config.lanes
        if config
        else 0,
    }
    missing = [
        f"{resources.get(name, {}).get('used', 0)} {name}, at least {least} expected"
        for name, least in wanted.items()
        if resources.get(name, {}).get("used", 0) < least
    ]
    if missing:
        raise SynthesisError(f"{board.name}: not inferred as blocks: {'; '.join(missing)}")


def _pack(config_file: Path, folder: Path, tell: yowasp.Tell) -> Path:
    tell("packing the bitstream")
    yowasp.run(yowasp.PACK, ["--compress", config_file.name, "--bit", f"{NAME}.bit"], folder)
    return folder / f"{NAME}.bit"
