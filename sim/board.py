"""Builds boards for simulation and runs the benches of `sim.tb_board` on them.

simulation = BoardSimulation.build(preset("tiny"), image, "verilator")
simulation.run("images", inputs=inputs, logits=logits)
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.bench import WHOLE_VERILATOR, WHOLE_VERILATOR_MAKE, build_model, run_model
from sim.files import BUILD, ROOT
from spec.board_memory import board_memory
from spec.config import Config
from spec.image import Image, save
from spec.registers import MAGIC

__all__ = ["CLOCK_HZ", "CYCLES_PER_BIT", "REQUEST", "TIMEOUT_CYCLES", "BoardSimulation"]

REQUEST = "SIEVIT_BOARD_REQUEST"
"""Environment variable: the folder with what the bench is to do."""
CLOCK_HZ = 100_000_000
"""What the board is told; the benches' clock."""
CYCLES_PER_BIT = 4
"""The fastest line there is: most of a simulation is bytes on it."""
TIMEOUT_CYCLES = 400
"""Ten bytes."""
_PAGE = 4096


@cache
def _emitted(config: Config, memory_bytes: int, content: bytes) -> str:
    """Verilog of the board; emission takes seconds, so once a process."""
    from rtl_gen.emit import board_verilog

    return board_verilog(
        config,
        memory_bytes=memory_bytes,
        clock_hz=CLOCK_HZ,
        cycles_per_bit=CYCLES_PER_BIT,
        timeout_cycles=TIMEOUT_CYCLES,
        content=content,
    )


@dataclass(frozen=True, kw_only=True)
class BoardSimulation:
    """A built board whose memory holds an image at first."""

    image: Image
    memory_bytes: int
    simulator: str
    folder: Path

    @classmethod
    def build(cls, config: Config, image: Image, simulator: str) -> "BoardSimulation":
        """Emit and build a board, once for each configuration, image and simulator.

        Its memory is what the image takes, in whole pages.
        """
        memory = board_memory(image)
        memory_bytes = -(-memory.size_bytes // _PAGE) * _PAGE
        text = _emitted(config, memory_bytes, memory.content)
        harness = (ROOT / "sim" / "board_harness.v").read_text()
        fast = simulator == "verilator"
        folder = build_model(
            f"board-{config.file_name}",
            "board_harness",
            {"board_harness.v": harness, "sievit_board.v": text},
            simulator,
            arguments=WHOLE_VERILATOR if fast else (),
            make=WHOLE_VERILATOR_MAKE if fast else (),
        )
        return cls(image=image, memory_bytes=memory_bytes, simulator=simulator, folder=folder)

    def run(
        self,
        test: str,
        *,
        inputs: Sequence[NDArray[np.int8]],
        logits: Sequence[NDArray[np.int16]],
        other: Image | None = None,
        other_logits: Sequence[NDArray[np.int16]] = (),
        **more: Any,
    ) -> None:
        """Run one test of `sim.tb_board`; `SimulationError` with its message if it fails.

        inputs, logits : int8 [patches, patch_dim] each, and the right answers
        other, other_logits : a second model, and its answers to the same inputs
        more : what else the test wants to know, values that JSON can hold
        """
        (BUILD / "runs").mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=BUILD / "runs", prefix="board-"))
        try:
            save(self.image, folder / "image.safetensors")
            if other is not None:
                save(other, folder / "other.safetensors")
            np.savez(
                folder / "arrays.npz",
                inputs=np.stack(inputs),
                logits=np.stack(logits),
                other_logits=np.array(other_logits),
            )
            more |= {"memory_bytes": self.memory_bytes, "id": MAGIC}
            (folder / "request.json").write_text(json.dumps(more))
            run_model(
                self.folder,
                "board_harness",
                "sim.tb_board",
                self.simulator,
                variables={REQUEST: str(folder)},
                test=test,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
