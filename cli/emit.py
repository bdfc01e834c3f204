"""`sievit emit`."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.options import PresetOption

__all__ = ["command"]


def command(
    preset: PresetOption = "tiny",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Default: PRESET.v.")] = None,
) -> None:
    """Write the Verilog of a machine (top module sievit_top)."""
    from rtl_gen.emit import verilog
    from spec.presets import preset as preset_of

    config = preset_of(preset)
    path = out or Path(f"{preset}.v")
    began = time.perf_counter()
    text = verilog(config)
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text)
    os.replace(temporary, path)
    Console().print(
        f"{path}: {config.banks} x {config.lanes} MACs, {config.sram_bytes / 1024:,.0f} KiB SRAM, "
        f"{text.count(chr(10)):,} lines, {time.perf_counter() - began:.1f} s"
    )
