"""Q of an encoder block spilled to DRAM, plain and behind ViTCoD's auto-encoder, on the Verilog.

Usage: python -m sim.spilled_codes [--preset P] [--tokens N] [--heads H] [--hidden C] [--head-dim D]
"""

import argparse
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from compiler.spilled_codes import Mix, spilled_program
from golden_model.machine import run_program
from sim.errors import SimulationError
from sim.machine import Options, Simulation
from spec.config import Config
from spec.image import Image
from spec.isa import Window
from spec.presets import preset
from spec.registers import Status

__all__ = ["study"]

SHIFT = 22
"""With a multiplier of 2**15, results of these random layers take up most of int8."""
DDR = Options(latency=64, bandwidth=9)


def study(
    config: Config, tokens: int, heads: int, head_dim: int, hidden: int, simulator: str
) -> dict[str, dict[str, int]]:
    """Cycles and DRAM bytes of both programs; raises if a write differs from the golden machine's.

    hidden : heads behind the encoder
    result : `plain` and `encoded`, by counter
    """
    rng = np.random.default_rng(0)
    width = heads * head_dim

    def matrix(inputs: int, outputs: int) -> np.ndarray:
        return rng.integers(-127, 128, (inputs, outputs)).astype(np.int8)

    project = Mix(weight=matrix(width, width), multiplier=1 << 15, shift=SHIFT + 4)
    codes = tuple(
        Mix.of_heads(matrix(*shape), head_dim, 1 << 15, SHIFT)
        for shape in ((heads, hidden), (hidden, heads))
    )
    inputs = rng.integers(-127, 128, (tokens, width)).astype(np.int8)
    machine = Simulation.build(config, simulator)
    found = {}
    for name, image in (
        ("plain", spilled_program(config, tokens, project)),
        ("encoded", spilled_program(config, tokens, project, (codes[0], codes[1]))),
    ):
        found[name] = _run(machine, image, inputs)
    return found


def _run(machine: Simulation, image: Image, inputs: np.ndarray) -> dict[str, int]:
    """The counters of a run whose every write is the golden machine's."""
    (outcome,) = machine.run(image, [inputs], DDR)
    if outcome.status != Status.DONE or outcome.writes is None:
        raise SimulationError(f"the machine stopped with error {outcome.error.name}")
    windows = {
        Window.WEIGHTS: image.weights.tobytes(),
        Window.INPUT: image.pack_input(inputs),
        Window.SCRATCH: bytes(image.scratch_bytes),
    }
    execution = run_program(machine.config, image.program, windows)
    for pc, writes in execution.writes.items():
        seen = outcome.writes.get(pc)
        if len(writes.token_address) and (
            seen is None or not np.array_equal(seen.token_data, writes.token_data)
        ):
            raise SimulationError(f"instruction {pc} wrote other data than the golden machine")
    return outcome.counters


def _table(found: dict[str, dict[str, int]], config: Config, title: str) -> Table:
    """Both programs beside each other."""
    table = Table(title=title)
    table.add_column("figure")
    for name in (*found, "encoded - plain"):
        table.add_column(name, justify="right")
    rows: dict[str, Any] = {
        "cycles": "cycles",
        "array busy, cycles": "array_busy_cycles",
        "bytes of Q stored and loaded": "dram_scratch_bytes",
        "bytes of weights and tables": "dram_weights_bytes",
    }
    for label, counter in rows.items():
        plain, encoded = (found[name][counter] for name in found)
        table.add_row(label, f"{plain:,}", f"{encoded:,}", f"{encoded - plain:+,}")
    saved = found["plain"]["dram_scratch_bytes"] - found["encoded"]["dram_scratch_bytes"]
    table.add_row(
        "cycles of the bus that the saved bytes are", "", "", f"{saved / config.bus_bytes:,.0f}"
    )
    return table


def main() -> None:
    """Run both programs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", default="asic512")
    parser.add_argument("--simulator", default="verilator")
    for name, default in (("tokens", 197), ("heads", 3), ("hidden", 2), ("head-dim", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    config = preset(options.preset)
    sizes = (options.tokens, options.heads, options.head_dim, options.hidden)
    found = study(config, *sizes, simulator=options.simulator)
    title = (
        f"{options.tokens} tokens, {options.heads} heads encoded to {options.hidden}, "
        f"{config.name}, every write that of the golden machine"
    )
    Console().print(_table(found, config, title))


if __name__ == "__main__":
    main()
