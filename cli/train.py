"""`sievit train`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import UsageError
from cli.options import require, writable

__all__ = ["command"]


def command(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe: demo, demo-small, demo-deep, demo-tokens, demo-relu, demo-masks, "
            "demo-all, demo-coded, demo-effort; or micro instead of demo (there is no micro-small)."
        ),
    ] = "demo",
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
    dense: Annotated[
        Path | None,
        typer.Option(help="Dense float model that a -tokens recipe starts from; else trained."),
    ] = None,
    latency_table: Annotated[
        Path | None,
        typer.Option(help="Table of `sievit latency`: find the stages instead of the recipe's."),
    ] = None,
    target_cycles: Annotated[
        float | None, typer.Option(min=1, help="Cycles per image to reach, by that table.")
    ] = None,
    accuracy_drop: Annotated[
        float, typer.Option(min=0, max=100, help="Points that the search may lose in a round.")
    ] = 0.5,
    step_images: Annotated[
        int, typer.Option(min=1, help="Training images of each step of the search.")
    ] = 10_000,
) -> None:
    """Train a float model on Fashion-MNIST (extra: train); then `sievit quantize` it.

    Needs the data set: apt-get install dataset-fashion-mnist. The state after each epoch is kept
    beside the output, so an interrupted run can go on. On two cores demo takes hours, micro
    minutes. A -tokens recipe trains its dense model first, then the token selectors. -relu, -masks,
    -all, -coded and -effort go on from the bundled models, for a few epochs.

    Example: sievit train micro --out micro-float.safetensors
    """
    require("train")
    from rich.progress import Progress

    from training.recipe import recipe_named
    from training.search import search_recipe
    from training.train import train
    from training.trainer import EpochRecord

    if (latency_table is None) != (target_cycles is None):
        raise UsageError("--latency-table and --target-cycles belong together; give both")
    chosen = recipe_named(recipe)
    path = out or Path(f"{recipe}-float.safetensors")
    console = Console()
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("epochs", total=epochs or chosen.epochs)

        def show(record: EpochRecord) -> None:
            progress.update(task, completed=record.epoch, total=record.epochs)
            keep = ", ".join(f"{share:.1%}" for share in record.keep)
            efforts = ", ".join(f"{share:.2%}" for share in record.efforts)
            progress.console.print(
                f"epoch {record.epoch}/{record.epochs}: loss {record.train_loss:.4f}, "
                f"held-back {record.held_back_top1:.2%}, {record.seconds:.1f} s"
                + f", patches left {keep}" * bool(keep)
                + f", by effort {efforts}" * bool(efforts)
            )

        if latency_table is not None and target_cycles is not None:
            chosen, dense = search_recipe(
                chosen,
                path,
                latency_table,
                target_cycles,
                accuracy_drop=accuracy_drop / 100,
                step_images=step_images,
                dense=dense,
                resume=resume,
                epochs=epochs,
                progress=show,
                tell=progress.console.print,
            )
        metadata = train(chosen, path, resume=resume, epochs=epochs, dense=dense, progress=show)
    console.print(
        f"{path}: top-1 {float(metadata['top1_held_back']):.2%} on held-back images, "
        f"{float(metadata['top1_test']):.2%} on test images",
        soft_wrap=True,
    )
    console.print(f"next: sievit quantize {path} model.safetensors", soft_wrap=True)
