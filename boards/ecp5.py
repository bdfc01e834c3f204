"""Synthesis for the ECP5: whether a machine fits, and how fast it is."""

import json
import time
from pathlib import Path
from typing import Any

from boards import yowasp
from boards.dsp_registers import absorb_registers
from boards.errors import SynthesisError
from boards.fan_out import copy_registers
from boards.framed import READ, Chip, count, map_framed
from boards.harness import HARNESS
from boards.nextpnr import place
from spec.config import Config

__all__ = ["DEVICES", "SynthesisError", "estimate", "move_registers", "script", "synthesize"]

DEVICES = {
    "25k": {"LUT4": 24_288, "FF": 24_288, "DP16KD": 56, "MULT18X18D": 28},
    "45k": {"LUT4": 43_848, "FF": 43_848, "DP16KD": 108, "MULT18X18D": 72},
    "85k": {"LUT4": 83_640, "FF": 83_640, "DP16KD": 208, "MULT18X18D": 156},
}
"""ECP5 sizes and what they have, as the placement tool says; all come in the package used here."""
PACKAGE = "CABGA381"
TAKES: dict[str, tuple[str, float]] = {
    "LUT4": ("LUT4", 1),
    "CCU2C": ("LUT4", 2),
    "TRELLIS_DPR16X4": ("LUT4", 4),
    "TRELLIS_FF": ("FF", 1),
    "DP16KD": ("DP16KD", 1),
    "MULT18X18D": ("MULT18X18D", 1),
}
"""Cell of Yosys: the resource it takes, and how much of it."""
FREE = ("PFUMX", "L6MUX21", "INV")
"""The multiplexers stand beside the LUTs, inverters go into them."""


def script(top: str, netlist: str | None = None) -> tuple[str, ...]:
    """Commands of Yosys that map a design to the chip's cells.

    netlist : JSON file to write, if any
    """
    return (
        f"synth_ecp5 -top {top} -run begin:map_luts",
        # Yosys 0.70 fails to put ABC9's result back when wires that nothing needs are left
        "opt_clean -purge",
        f"synth_ecp5 -top {top} -run map_luts:" + (f" -json {netlist}" if netlist else ""),
    )


def move_registers(netlist: Path, top: str) -> None:
    """Change a netlist in a file for shorter wires: registers in multipliers, copies of others."""
    content = json.loads(netlist.read_text())
    module = content["modules"][top]
    absorb_registers(module)
    copy_registers(module)
    netlist.write_text(json.dumps(content))


def estimate(
    config: Config,
    *,
    device: str = "85k",
    progress: yowasp.Tell | None = None,
) -> dict[str, Any]:
    """Count what a machine takes of an ECP5, without placing it: it need not fit.

    The same synthesis as in `synthesize`, so the same frame. The placement tool takes some more
    LUTs, to lead signals into and out of carry chains (6 % in `ulx3s`).

    progress : told what is being done, before each step

    Returns the report `spec.reports.ESTIMATE`. `SynthesisError`: unknown device, missing or
    failing tool.
    """
    _check_device(device)
    chip = Chip(
        name=device,
        available=DEVICES[device],
        commands=script(HARNESS),
        takes=TAKES,
        free=FREE,
    )
    return count(config, "ecp5", chip, progress)


def synthesize(
    config: Config,
    *,
    device: str = "85k",
    frequency_mhz: float = 50.0,
    route: bool = False,
    progress: yowasp.Tell | None = None,
) -> dict[str, Any]:
    """Synthesise, place and (if asked) route a machine; returns what it takes and how fast it is.

    The machine stands between shift registers (see `boards.harness`), with its trace ports open.
    Without `route`, clock and path are those after placement, with predicted wires: the delays of
    the tool's own estimate. Takes minutes; files stay in build/synth/<preset>-<device>.

    frequency_mhz : the clock that placement aims at; a slower result is reported, not an error
    progress : told what is being done, before each step

    Returns preset, target, device, resources (name: used, available), fmax_mhz, critical_path
    (lines), frequency_mhz, placed, routed, wall_s. `SynthesisError`: unknown device, missing or
    failing tool, or the machine does not fit.
    """
    _check_device(device)
    if frequency_mhz <= 0:
        raise SynthesisError(f"frequency_mhz must be positive, not {frequency_mhz:g}")
    tell = progress or (lambda _: None)
    begin = time.monotonic()
    folder = yowasp.prepare((yowasp.YOSYS, yowasp.PLACEMENT), f"{config.file_name}-{device}", tell)
    map_framed(config, (READ, *script(HARNESS, "machine.json")), folder, tell)
    move_registers(folder / "machine.json", HARNESS)
    tell(f"placing{' and routing' if route else ''} (minutes)")
    # Any pins will do
    placed = place(
        folder,
        "machine.json",
        "machine",
        [f"--{device}", "--package", PACKAGE, "--lpf-allow-unconstrained"],
        frequency_mhz=frequency_mhz,
        route=route,
        subject=f"preset '{config.name}' does not fit an ECP5-{device.upper()}",
    )
    return {
        "preset": config.name,
        "target": "ecp5",
        "device": device,
        **vars(placed),
        "frequency_mhz": frequency_mhz,
        "placed": True,
        "routed": route,
        "wall_s": round(time.monotonic() - begin, 1),
    }


def _check_device(device: str) -> None:
    if device not in DEVICES:
        raise SynthesisError(f"device must be one of {', '.join(DEVICES)}, not '{device}'")
