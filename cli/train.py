"""`sievit train`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.options import require

__all__ = ["command"]


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe: demo or micro.")] = "demo",
    out: Annotated[Path, typer.Option("--out", "-o", help="Float model file to write.")] = Path(
        "demo-float.safetensors"
    ),
    resume: Annotated[bool, typer.Option(help="Go on where an interrupted run stopped.")] = True,
    epochs: Annotated[int | None, typer.Option(help="Instead of the recipe's own number.")] = None,
) -> None:
    """Train a float model on Fashion-MNIST (extra: train); then `sievit quantize` it."""
    require("train")
    from training.train import train

    console = Console()
    train(recipe, out, resume=resume, epochs=epochs, progress=console.print)
    console.print(f"float model written to {out}; next: sievit quantize {out} model.safetensors")
