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
    from rich.progress import Progress

    from training.recipe import recipe_named
    from training.train import train
    from training.trainer import EpochRecord

    chosen = recipe_named(recipe)
    console = Console()
    with Progress(console=console) as progress:
        task = progress.add_task("epochs", total=epochs or chosen.epochs)

        def show(record: EpochRecord) -> None:
            progress.update(task, completed=record.epoch)
            progress.console.print(
                f"epoch {record.epoch}/{record.epochs}: loss {record.train_loss:.4f}, "
                f"held-back {record.held_back_top1:.2%}, {record.seconds:.1f} s"
            )

        train(chosen, out, resume=resume, epochs=epochs, progress=show)
    console.print(f"float model written to {out}; next: sievit quantize {out} model.safetensors")
