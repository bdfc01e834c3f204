"""`sievit compile`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.options import ModelOption, PresetOption, load_model

__all__ = ["command"]


def command(
    model: ModelOption = "demo",
    preset: PresetOption = "tiny",
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Image file to write.")] = None,
    show: Annotated[bool, typer.Option(help="Print every step: layers, memory, program.")] = False,
) -> None:
    """Compile a model for a machine: program, weights and tables."""
    from compiler import compile_steps
    from spec import image
    from spec.presets import preset as preset_of

    result = compile_steps(load_model(model), preset_of(preset))
    console = Console()
    if show:
        console.print(result.describe(), markup=False, highlight=False, soft_wrap=True)
    made = result.image
    console.print(
        f"{model} for {preset}: {len(made.program):,} instructions, "
        f"{made.weights.size:,} bytes of weights and tables"
    )
    if out is not None:
        image.save(made, out)
        console.print(f"written to {out}")
