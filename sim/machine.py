"""Simulates the emitted machine: many images through one simulator run, with traces.

simulation = Simulation.build(preset("tiny"), "verilator")
for outcome in simulation.run(image, inputs, Options(latency=64)):
outcome.logits, outcome.cycles, assemble_tensors(image, outcome.writes)
"""

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden_model.trace import Writes
from sim.bench import (
    INPUTS_VARIABLE,
    WHOLE_VERILATOR,
    WHOLE_VERILATOR_MAKE,
    build_model,
    run_model,
)
from sim.errors import SimulationError
from sim.files import BUILD
from sim.ports import top_ports
from sim.sources import DRAM, HARNESS, with_parameters
from sim.trace import RunTrace, read_traces
from spec.config import Config
from spec.image import Image
from spec.registers import Error, Status

__all__ = ["Options", "Outcome", "Simulation"]

_PAGE = 4096
_MINIMUM_DRAM_BYTES = 1 << 24
_KNOBS = "latency stall fault fault_first fault_last image dump dump_first dump_last"
_FAULTS = {"none": 0, "silent": 1, "slverr": 2, "decerr": 3}


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the world around the machine behaves in a run."""

    latency: int = 0
    """DRAM cycles from a burst to its first beat or response, 0..65,535 (0 is as 1)."""
    bandwidth: int = 10
    """Beats that each data channel moves in 10 cycles at most, 1..10."""
    stall: int = 0
    """Chance in 256, for each channel and cycle, that the DRAM is not ready."""
    fault: str = "none"
    """Answer to bursts that touch [fault_first, fault_last]: none, silent, slverr, decerr."""
    fault_window: str = ""
    """Window whose bytes fault_first .. fault_last answer so; empty: absolute addresses."""
    fault_first: int = 0
    fault_last: int = 0
    watchdog_cycles: int = 100_000
    max_cycles: int = 100_000_000
    """A run longer than this is reported with `ended` = "limit"."""
    clear_after_cycles: int = 0
    """Stop the program after so many cycles (0: let it end)."""
    trace: bool = True
    windows: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Window -> (bytes to add to the base, limit) instead of the image's own; for tests."""
    timeout_s: int = 3600


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one image did."""

    ended: str
    """`interrupt`, `stopped` (by clear_after_cycles) or `limit`."""
    status: Status
    error: Error
    error_pc: int
    counters: dict[str, int]
    result: bytes
    """The RESULT window."""
    logits: NDArray[np.int16] | None
    """None after an error."""
    writes: dict[int, Writes] | None
    """By program counter, as the golden machine gives them; None without a trace."""
    last_write: dict[int, int]
    """Cycle of each instruction's last traced write; empty without a trace."""
    violations: int
    """AXI rules broken, one bit each (see sim/axi_dram.v); 0 in a good run."""
    status_after_clear: Status
    outstanding: int
    """Bursts in flight after CLEAR."""
    wall_s: float

    @property
    def cycles(self) -> int:
        """Cycles of the run, as the machine counts them."""
        return self.counters["cycles"]


def _pages(size: int) -> int:
    return max(-(-size // _PAGE), 1) * _PAGE


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where the windows lie in the DRAM: inputs and results of all images side by side."""

    bases: dict[str, int]
    limits: dict[str, int]
    steps: dict[str, int]
    bytes: int

    def windows(self, number: int, changes: dict[str, tuple[int, int]]) -> dict[str, list[int]]:
        """Base and limit of each window for image `number`."""
        windows = {}
        for name, base in self.bases.items():
            windows[name] = [base + number * self.steps[name], self.limits[name]]
            if name in changes:
                add, limit = changes[name]
                windows[name] = [windows[name][0] + add, limit]
        return windows


@cache
def _emitted(config: Config) -> str:
    """Verilog of the machine; emission takes seconds, so once a process."""
    from rtl_gen.emit import verilog

    return verilog(config)


def _layout(image: Image, count: int) -> _Layout:
    limits = {
        "PROGRAM": image.program.size,
        "WEIGHTS": image.weights.size,
        "SCRATCH": image.scratch_bytes,
        "INPUT": image.input_bytes,
        "RESULT": image.result_bytes,
    }
    bases, steps, at = {}, {}, 0
    for name, limit in limits.items():
        copies = count if name in ("INPUT", "RESULT") else 1
        bases[name] = at
        steps[name] = _pages(limit) if copies > 1 else 0
        at += _pages(limit) * copies
    return _Layout(bases=bases, limits=limits, steps=steps, bytes=at)


class Simulation:
    """A built machine; `run` may be called any number of times."""

    def __init__(self, config: Config, simulator: str, verilog: str) -> None:
        self.config, self.simulator, self.verilog = config, simulator, verilog
        self._dram_bytes, self._folder = 0, Path()
        self._ensure(_MINIMUM_DRAM_BYTES)

    @classmethod
    def build(
        cls, config: Config, simulator: str, verilog: Callable[[Config], str] | None = None
    ) -> "Simulation":
        """Emit and build the machine, once for each configuration and simulator.

        verilog : emits module `sievit_top`; `rtl_gen.emit.verilog` if not given
        """
        return cls(config, simulator, (verilog or _emitted)(config))

    def _ensure(self, size: int) -> None:
        """Build with a DRAM of at least `size` bytes."""
        if size <= self._dram_bytes:
            return
        size = 1 << max(math.ceil(math.log2(size)), _MINIMUM_DRAM_BYTES.bit_length() - 1)
        config = self.config
        values = {
            "BUS_BITS": config.bus_bits,
            "LANES": config.lanes,
            "BANKS": config.banks,
            "GROUPS": config.head_groups,
            "PLACES": int(config.attention_masks),
            "DRAM_BYTES": size,
        }
        self._folder = build_model(
            f"top-{config.file_name}",
            "harness",
            {
                "harness.v": with_parameters(HARNESS.read_text(), values),
                "axi_dram.v": DRAM.read_text(),
                "sievit_top.v": self.verilog,
            },
            self.simulator,
            arguments=WHOLE_VERILATOR if self.simulator == "verilator" else ("-Wall",),
            make=WHOLE_VERILATOR_MAKE if self.simulator == "verilator" else (),
        )
        self._dram_bytes = size

    def run(
        self,
        image: Image,
        inputs: Sequence[NDArray[np.int8]],
        options: Options | Sequence[Options] | None = None,
    ) -> list[Outcome]:
        """Run images one after the other, with CLEAR between them.

        inputs : int8 [patches, patch_dim] each (as `Image.pack_input` takes it)
        options : one for all, or one for each image (`trace` and `timeout_s` of the first hold)
        Raises `SimulationError` when the simulator itself fails; an error of the machine is an
        outcome. After an image that cannot be cleared, the rest is missing from the result.
        """
        options = options or Options()
        each = [options] * len(inputs) if isinstance(options, Options) else list(options)
        if not inputs or len(each) != len(inputs):
            raise SimulationError(f"{len(inputs)} inputs and {len(each)} options do not fit")
        layout = _layout(image, len(inputs))
        self._ensure(layout.bytes)
        (BUILD / "runs").mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=BUILD / "runs", prefix=f"{self.config.file_name}-"))
        try:
            return self._run(folder, layout, image, inputs, each)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _run(
        self,
        folder: Path,
        layout: _Layout,
        image: Image,
        inputs: Sequence[NDArray[np.int8]],
        options: list[Options],
    ) -> list[Outcome]:
        beat = self.config.bus_bytes
        self._write_dram(folder / "dram.bin", layout, image, inputs)
        results = layout.bases["RESULT"]
        request = {
            "config_digest": self.config.digest(),
            "watchdog_cycles": sum(one.max_cycles + 100_000 for one in options),
            "runs": [self._request(layout, n, one) for n, one in enumerate(options)],
            "dump": [results // beat, layout.bytes // beat - 1],
        }
        (folder / "request.json").write_text(json.dumps(request))
        plusargs = [f"+dram={folder / 'dram.bin'}", f"+dump={folder / 'dump.hex'}"]
        if options[0].trace:
            plusargs.append(f"+trace={folder / 'trace.txt'}")
        run_model(
            self._folder,
            "harness",
            "sim.tb_top",
            self.simulator,
            variables={
                "SIEVIT_REQUEST": str(folder / "request.json"),
                "SIEVIT_REPLY": str(folder / "reply.json"),
                INPUTS_VARIABLE: json.dumps(self._inputs()),
            },
            plusargs=plusargs,
            timeout_s=options[0].timeout_s,
        )
        replies = json.loads((folder / "reply.json").read_text())
        windows = self._read_dump(folder / "dump.hex")
        traces: list[RunTrace | None] = [None] * len(replies)
        if options[0].trace:
            traces = list(
                read_traces(
                    folder / "trace.txt",
                    len(replies),
                    self.config.banks,
                    self.config.lanes,
                    in_groups=self.config.head_groups > 1,
                )
            )
        outcomes = []
        for number, reply in enumerate(replies):
            at = number * layout.steps["RESULT"]
            result = windows[at : at + image.result_bytes]
            outcomes.append(_outcome(reply, image, result, traces[number]))
        return outcomes

    def _inputs(self) -> list[str]:
        """Inputs of the harness that start at 0: AXI4-Lite and the knobs."""
        ports = top_ports(self.config)
        host = [name for name, _, output in ports if name.startswith("s_axil") and not output]
        return host + _KNOBS.split()

    def _request(self, layout: _Layout, number: int, options: Options) -> dict[str, Any]:
        if options.fault not in _FAULTS:
            raise SimulationError(f"fault must be one of {', '.join(_FAULTS)}")
        windows = layout.windows(number, options.windows)
        base = windows[options.fault_window][0] if options.fault_window else 0
        return {
            "windows": windows,
            "knobs": {
                "latency": options.latency,
                "bandwidth": options.bandwidth,
                "stall": options.stall,
                "fault": _FAULTS[options.fault],
                "fault_first": base + options.fault_first,
                "fault_last": base + options.fault_last,
            },
            "watchdog_cycles": options.watchdog_cycles,
            "max_cycles": options.max_cycles,
            "clear_after_cycles": options.clear_after_cycles,
        }

    def _write_dram(
        self, path: Path, layout: _Layout, image: Image, inputs: Sequence[NDArray[np.int8]]
    ) -> None:
        """Contents of the DRAM, the bytes of each beat in reverse (see harness.v)."""
        memory = np.zeros(layout.bytes, np.uint8)
        items = [("PROGRAM", 0, image.program.tobytes()), ("WEIGHTS", 0, image.weights.tobytes())]
        items += [("INPUT", number, image.pack_input(one)) for number, one in enumerate(inputs)]
        for name, number, content in items:
            at = layout.bases[name] + number * layout.steps[name]
            memory[at : at + len(content)] = np.frombuffer(content, np.uint8)
        memory.reshape(-1, self.config.bus_bytes)[:, ::-1].tofile(path)

    def _read_dump(self, path: Path) -> bytes:
        """Bytes of a $writememh dump."""
        beat, content = self.config.bus_bytes, bytearray()
        for line in path.read_text().splitlines():
            text = line.partition("//")[0].strip()
            if text and not text.startswith("@"):
                text = text.lower().replace("x", "0")
                content += int(text, 16).to_bytes(beat, "little")
        return bytes(content)


def _outcome(reply: dict[str, Any], image: Image, result: bytes, trace: RunTrace | None) -> Outcome:
    status = Status(reply["status"])
    return Outcome(
        ended=reply["ended"],
        status=status,
        error=Error(reply["error"]),
        error_pc=reply["error_pc"],
        counters=reply["counters"],
        result=result,
        logits=image.unpack_result(result) if status == Status.DONE else None,
        writes=trace.writes if trace else None,
        last_write=trace.last_write if trace else {},
        violations=reply["violations"],
        status_after_clear=Status(reply["status_after_clear"]),
        outstanding=reply["outstanding"],
        wall_s=reply["wall_s"],
    )
