"""`sievit train`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.options import require, writable

__all__ = ["command"]


def command(
    recipe: Annotated[str, typer.Argument(help="A recipe: demo or micro.")] = "demo",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            callback=writable,
            help="Float model file to write; RECIPE-float.safetensors if not given.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on where an interrupted run stopped.")] = True,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Instead of the recipe's own number.")
    ] = None,
) -> None:
    """Train a float model on Fashion-MNIST (extra: train); then `sievit quantize` it.

    Needs the data set: apt-get install dataset-fashion-mnist. The state after each epoch is kept
    beside the output, so an interrupted run can go on. On two cores demo takes hours, micro
    minutes.

    Example: sievit train micro --out micro-float.safetensors
    """
    require("train")
    from rich.progress import Progress

    from training.recipe import recipe_named
    from training.train import train
    from training.trainer import EpochRecord

    chosen = recipe_named(recipe)
    path = out or Path(f"{recipe}-float.safetensors")
    console = Console()
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("epochs", total=epochs or chosen.epochs)

        def show(record: EpochRecord) -> None:
            progress.update(task, completed=record.epoch)
            progress.console.print(
                f"epoch {record.epoch}/{record.epochs}: loss {record.train_loss:.4f}, "
                f"held-back {record.held_back_top1:.2%}, {record.seconds:.1f} s"
            )

        metadata = train(chosen, path, resume=resume, epochs=epochs, progress=show)
    console.print(
        f"{path}: top-1 {float(metadata['top1_held_back']):.2%} on held-back images, "
        f"{float(metadata['top1_test']):.2%} on test images",
        soft_wrap=True,
    )
    console.print(f"next: sievit quantize {path} model.safetensors", soft_wrap=True)
