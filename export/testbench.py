"""The stand-alone testbench: one Verilog file, and the two files of vectors that it reads."""

from pathlib import Path

import numpy as np

from export.vectors import Vectors
from perf_model.roofline import roofline
from sim.sources import DRAM, with_parameters
from spec.config import Config
from spec.dram import DEFAULT_DRAM, dram_preset
from spec.isa import Window
from spec.model_config import ModelConfig
from spec.registers import (
    MAGIC,
    REGISTERS,
    VERSION,
    Control,
    Status,
    counter_address,
    window_address,
)

__all__ = ["dram_words", "expected_words", "testbench"]

_TEMPLATE = Path(__file__).resolve().parent / "tb_sievit.v"
_MINIMUM_DRAM_BYTES = 4096
_TOLERANCE = 50
"""A run of more than so many times the least possible cycles counts as hung."""
_SLACK_CYCLES = 100_000
_WATCHDOG_CYCLES = 100_000


def _constant(value: int) -> str:
    """A 32-bit constant of Verilog."""
    return f"32'h{value:08x}"


def testbench(config: Config, model: ModelConfig, found: Vectors) -> str:
    """Verilog of `tb_sievit` and of the DRAM beside it; knows where everything lies."""
    digest, timing = config.digest(), dram_preset(DEFAULT_DRAM)
    size = 1 << max(len(found.dram), _MINIMUM_DRAM_BYTES).bit_length()
    values: dict[str, int | str] = {
        "BUS_BITS": config.bus_bits,
        "DRAM_BYTES": size,
        "BEATS": len(found.dram) // config.bus_bytes,
        "IMAGES": found.logits.shape[0],
        "CLASSES": found.logits.shape[1],
        "LATENCY": timing.latency,
        "BANDWIDTH": timing.bandwidth,
        "LIMIT": roofline(model, config).cycles * _TOLERANCE + _SLACK_CYCLES,
        "WATCHDOG_CYCLES": _WATCHDOG_CYCLES,
        "ID_VALUE": _constant(MAGIC),
        "VERSION_VALUE": VERSION,
        "DIGEST_LOW_VALUE": _constant(digest & 0xFFFFFFFF),
        "DIGEST_HIGH_VALUE": _constant(digest >> 32),
        "CYCLES": counter_address("cycles"),
        "START": Control.START.value,
        "CLEAR": Control.CLEAR.value,
        "DONE": Status.DONE.value,
        "DRAINING": Status.DRAINING.value,
        "INPUT_STEP": found.input_step,
    }
    for name in (
        *("ID", "VERSION", "CONFIG_DIGEST_LOW", "CONFIG_DIGEST_HIGH", "CONTROL", "STATUS"),
        *("ERROR_CODE", "ERROR_PC", "INTERRUPT_ENABLE", "WATCHDOG"),
    ):
        values[name] = REGISTERS[name]
    for window in Window:
        base, limit = window_address(window)
        values[f"{window.name}_BASE"], values[f"{window.name}_LIMIT"] = base, limit
        values[f"{window.name}_AT"] = found.bases[window]
        values[f"{window.name}_BYTES"] = found.limits[window]
    return with_parameters(_TEMPLATE.read_text(), values) + "\n" + DRAM.read_text()


def dram_words(found: Vectors, config: Config) -> str:
    """The DRAM for $readmemh: one beat a line, its last byte first."""
    beats = np.frombuffer(found.dram, np.uint8).reshape(-1, config.bus_bytes)
    return "".join(f"{beat[::-1].tobytes().hex()}\n" for beat in beats)


def expected_words(found: Vectors) -> str:
    """The logits for $readmemh: one a line, of the first image first."""
    return "".join(f"{int(logit) & 0xFFFF:04x}\n" for logit in found.logits.reshape(-1))
