"""The README of a bundle."""

from collections.abc import Mapping

from rtl_gen.dma.axi import BURST_BEATS
from sim.ports import top_ports
from spec.config import Config
from spec.dram import DEFAULT_DRAM, dram_preset

__all__ = ["readme"]

_PORTS = {
    "clk": "the only clock; rising edge",
    "rst": "synchronous reset, active high, at least one cycle",
    "s_axil_*": "AXI4-Lite slave, 32 bits of data, 12 of address: the registers",
    "m_axi_*": "AXI4 master, {bus} bits of data, 32 of address: program, weights, images, results",
    "interrupt": "level, high in DONE and in ERROR if INTERRUPT_ENABLE is 1",
    "trace_*": "writes of results, for simulation; leave open",
}


def _port_table(config: Config) -> str:
    """Ports by group, with their number of bits."""
    bits = dict.fromkeys(_PORTS, 0)
    for name, width, _ in top_ports(config):
        group = next(key for key in _PORTS if name.startswith(key.rstrip("*")))
        bits[group] += width
    rows = [
        f"| `{name}` | {bits[name]} | {words.format(bus=config.bus_bits)} |"
        for name, words in _PORTS.items()
    ]
    return "\n".join(["| port | bits | |", "| --- | ---: | --- |", *rows])


def readme(config: Config, core: str, files: Mapping[str, str], model: str, images: int) -> str:
    """Markdown: what the files are, how to check the bundle, how to build it in.

    core : the bundle's name in FuseSoC
    files : name -> what it is
    """
    timing = dram_preset(DEFAULT_DRAM)
    table = "\n".join(f"| `{name}` | {words} |" for name, words in files.items())
    groups = f"{config.head_groups} x " if config.head_groups > 1 else ""
    return f"""# sievit, preset {config.name}

A vision-transformer accelerator: {groups}{config.banks} x {config.lanes} MACs, \
{config.sram_bytes / 1024:,.1f} KiB of SRAM,
configuration digest {config.digest():016x}. Written by `sievit emit --bundle`; the same release
writes the same bytes. Licence: Apache-2.0, see LICENSE; `registers/html` also holds styles and
scripts of peakrdl-html (LGPL-3.0) and fonts under licences of their own.

| file | |
| --- | --- |
{table}

## Check it

    make lint        # verilator --lint-only -Wall
    make icarus      # the testbench under Icarus Verilog 11 or later
    make verilator   # the same under Verilator 5
    fusesoc --cores-root . run --target=lint {core}
    fusesoc --cores-root . run --target=sim {core}
    fusesoc --cores-root . run --target=sim --tool=verilator {core}

The testbench runs {images} image{"s" if images > 1 else ""} of model `{model}` and compares every
logit with those of the integer golden model. It ends with `PASS`, or with `FAIL` and an exit status
that is not 0. Its DRAM answers after {timing.latency} cycles and moves {timing.bandwidth} beats in
10 cycles; `make icarus PLUSARGS="+latency=200 +stall=64"` changes that.

## Build it in

{_port_table(config)}

- The master makes incrementing bursts of full width, at most {BURST_BEATS} beats, aligned, never
  across 4 KiB, all with ID 0: answers must come in order. It has no `cache`, `prot`, `lock` or
  `qos` signals: tie those of the interconnect (0011, 000, 0 and 0000 will do). It does not look
  into a processor's caches: flush or bypass them for the windows below.
- The slave answers every access with OKAY, one at a time. Its registers are in `registers/`.
- Memories are plain arrays with one clock, and infer block RAM.
- `sievit.sdc`, `sievit.xdc` and `sievit.lpf` hold constraints to start from.

## Run it

1. Read ID, VERSION and CONFIG_DIGEST; they must be those of `registers/sievit.rdl`.
2. Put the compiled program and weights into memory, and an image's patches; give each window
   (PROGRAM, WEIGHTS, SCRATCH, INPUT, RESULT) its first byte, a multiple of 64, and its bytes.
3. Write 1 to INTERRUPT_ENABLE and START to CONTROL; wait for the interrupt.
4. STATUS reads DONE: the logits (int16) are in the RESULT window. It reads ERROR: ERROR_CODE and
   ERROR_PC say why and where.
5. Write CLEAR, wait until STATUS reads 0, and go to 2 for the next image.

`tb_sievit.v` does all of this, in that order. `sievit compile` makes programs for this machine
(`--preset {config.name}`).
"""
