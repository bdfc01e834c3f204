"""`sievit estimate`."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import UsageError
from cli.options import (
    DramOption,
    JsonOption,
    ModelOption,
    PresetOption,
    live_counts,
    load_shape,
    require,
    writable,
    write_json,
)
from cli.tables import cycle_table, estimate_table, layer_estimate_table
from spec.dram import DEFAULT_DRAM

__all__ = ["command"]


def command(
    model: ModelOption = "demo",
    preset: PresetOption = "tiny",
    dram: DramOption = DEFAULT_DRAM,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also print cycles and roofline of each layer.")
    ] = False,
    all_blocks: Annotated[
        bool,
        typer.Option(
            "--all-blocks", help="Run every encoder block, also where they repeat; takes longer."
        ),
    ] = False,
    live: Annotated[
        str | None,
        typer.Option(
            help="Of a model with stages: the tokens behind each of them, as 139,78,43. If not "
            "given, those of the model's name (NAME+3:0.70), or all.",
        ),
    ] = None,
    effort: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Of a model of several efforts this one alone, from 0; if not given, all of them, "
            "one after the other.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            callback=writable,
            help="Draw cycles by layer against the roofline into this file (extra plot).",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Predict the cycles, stalls and DRAM bytes of a model on a machine, without simulating it.

    Compiles the model's shape and runs the program in time, unit by unit: the same cycles as the
    Verilog's with the same DRAM. Weights are not needed; timing does not depend on them.

    Example: sievit estimate --model deit_tiny_patch16_224 --preset asic512 --plot cycles.svg
    """
    if plot:
        require("plot")
    from perf_model.estimate import estimate
    from spec.dram import dram_preset
    from spec.presets import preset as preset_of

    config, timing = preset_of(preset), dram_preset(dram)
    shape = load_shape(model)
    counts = live_counts(model, shape, live)
    if effort is not None:
        if effort >= len(shape.passes):
            has = f"{len(shape.passes)} effort{'s' if len(shape.passes) > 1 else ''}"
            raise UsageError(f"--effort {effort}: {model} has {has}, counted from 0")
        shape = replace(shape, efforts=(replace(shape.passes[effort], threshold=0),))
    elif counts is not None:
        counts = counts * len(shape.passes)
    report = estimate(shape, model, config, dram, timing, all_blocks, counts)
    console = Console()
    console.print(estimate_table(report))
    console.print(cycle_table(report))
    if layers:
        console.print(layer_estimate_table(report))
    write_json(json, report)
    if plot:
        from perf_model.plot import plot as draw

        draw(report, plot)
