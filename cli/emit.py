"""`sievit emit`."""

import hashlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli.errors import UsageError
from cli.options import (
    DatasetOption,
    JsonOption,
    ModelOption,
    PresetOption,
    load_dataset,
    load_model,
    require,
    writable,
    write_json,
)
from cli.progress import steps

if TYPE_CHECKING:
    from spec.config import Config

__all__ = ["command"]


def command(
    preset: PresetOption = "tiny",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", callback=writable, help="Verilog file; PRESET.v if not given."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Write a folder with all that integrators need: Verilog, testbench with vectors, "
            "FuseSoC core, constraints, register map (extra export)."
        ),
    ] = None,
    model: ModelOption = "micro",
    dataset: DatasetOption = "sample",
    images: Annotated[
        int, typer.Option(min=1, max=1000, help="Of the bundle's testbench, from the first.")
    ] = 3,
    clock_mhz: Annotated[
        float, typer.Option(min=0.001, max=100_000, help="Of the bundle's constraint hints.")
    ] = 50.0,
    json: JsonOption = None,
) -> None:
    """Write the Verilog of a machine (top module sievit_top), alone or in a bundle.

    One self-contained file; the same release writes the same bytes each time. With --bundle a
    folder, of which docs/integration.md explains every file; --model, --dataset and --images are
    what its testbench runs.

    Example: sievit emit --preset asic512 --out asic512.v

    Example: sievit emit --preset tiny --bundle sievit-tiny
    """
    from rtl_gen.emit import TOP, verilog
    from spec.presets import preset as preset_of

    config = preset_of(preset)
    if bundle is not None:
        if out is not None:
            raise UsageError("--out and --bundle do not go together; the bundle has the Verilog")
        report = _bundle(bundle, config, model, dataset, images, clock_mhz)
        write_json(json, report)
        return
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


def _bundle(
    folder: Path, config: "Config", name: str, dataset: str, images: int, clock_mhz: float
) -> dict[str, Any]:
    """Write a bundle and say what it holds; returns the report."""
    require("export")
    from export.bundle import MANIFEST, check_target, write_bundle
    from rtl_gen.emit import TOP

    check_target(folder)
    model = load_model(name)
    data = load_dataset(dataset, "test", model.config, images).first(images)
    began = time.perf_counter()
    with steps() as tell:
        write_bundle(folder, config, model, name, data.images, clock_mhz, tell)
    manifest = (folder / MANIFEST).read_bytes()
    report = {
        "preset": config.name,
        "top": TOP,
        "folder": str(folder),
        "model": name,
        "images": len(data),
        "files": manifest.count(b"\n"),
        "sha256": hashlib.sha256(manifest).hexdigest(),
        "wall_s": time.perf_counter() - began,
    }
    Console().print(
        f"{folder}: {report['files']} files for {config.name}, {name} on {len(data)} images in the "
        f"testbench, {report['wall_s']:.1f} s; see {folder / 'README.md'}",
        soft_wrap=True,
    )
    return report
