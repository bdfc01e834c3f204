"""`sievit emit`."""

import hashlib
import os
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import UsageError
from cli.options import JsonOption, PresetOption, writable, write_json
from cli.progress import steps

__all__ = ["command"]


def command(
    preset: PresetOption = "tiny",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", callback=writable, help="Verilog file; PRESET.v if not given."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Write the Verilog of a machine (top module sievit_top).

    One self-contained file; the same release writes the same bytes each time.

    Example: sievit emit --preset asic512 --out asic512.v
    """
    from rtl_gen.emit import TOP, verilog
    from spec.presets import preset as preset_of

    config = preset_of(preset)
    path = out or Path(f"{config.file_name}.v")
    began = time.perf_counter()
    with steps() as tell:
        tell(f"emitting {config.name}")
        text = verilog(config)
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_text(text)
        os.replace(partial, path)
    except OSError as error:
        raise UsageError(f"{path}: cannot write: {error.strerror}") from None
    report = {
        "preset": config.name,
        "top": TOP,
        "file": str(path),
        "macs": config.macs,
        "sram_bytes": config.sram_bytes,
        "lines": text.count("\n"),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "emission_s": time.perf_counter() - began,
    }
    Console().print(
        f"{path}: {config.banks} x {config.lanes} MACs, {config.sram_bytes / 1024:,.0f} KiB SRAM, "
        f"{report['lines']:,} lines, {report['emission_s']:.1f} s",
        soft_wrap=True,
    )
    write_json(json, report)
