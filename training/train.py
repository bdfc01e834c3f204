"""Trains a recipe to a safetensors file of float32 weights; can stop and resume at any epoch.

The same recipe on the same machine with the same number of threads gives the same weights bit for
bit, whether or not it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from spec.errors import SievitError

from .datasets import DataSet, load_fashion_mnist
from .recipe import RECIPES, Recipe, recipe_named
from .trainer import EpochRecord, Trainer

__all__ = ["train"]


def train(
    recipe: Recipe,
    out_path: Path,
    *,
    resume: bool = True,
    epochs: int | None = None,
    data: DataSet | None = None,
    compile_model: bool = True,
    progress: Callable[[EpochRecord], None] = lambda record: None,
) -> dict[str, str]:
    """Train `recipe` and write its averaged weights to `out_path`; returns the file's metadata.

    The state after each epoch is kept beside it as `<out_path>.checkpoint`, then `progress` is
    called; with `resume`, training goes on from there.
    `epochs` replaces the recipe's number, and with it the schedule.
    `compile_model` needs a C++ compiler and takes half the time.
    """
    if epochs is not None:
        recipe = replace(recipe, epochs=epochs, warmup_epochs=min(recipe.warmup_epochs, epochs - 1))
    data = data or load_fashion_mnist(recipe.model.image_size)
    trainer = Trainer(recipe, data, compile_model=compile_model)
    checkpoint = out_path.with_name(out_path.name + ".checkpoint")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if resume and checkpoint.exists():
        trainer.load_checkpoint(checkpoint)
    while len(trainer.history) < recipe.epochs:
        record = trainer.run_epoch()
        trainer.save_checkpoint(checkpoint)
        progress(record)
    return trainer.export(out_path)


def main() -> int:
    """Command line: `python -m training.train demo --out FILE --resume`."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("recipe", help=" or ".join(RECIPES))
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--resume", action="store_true", help="go on from <out>.checkpoint")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's number")
    parser.add_argument("--no-compile", action="store_true", help="run without a C++ compiler")
    options = parser.parse_args()

    def show(record: EpochRecord) -> None:
        sys.stdout.write(
            f"epoch {record.epoch}/{record.epochs}  loss {record.train_loss:.4f}  "
            f"held-back {100 * record.held_back_top1:.2f} %  {record.seconds:.1f} s\n"
        )
        sys.stdout.flush()

    try:
        metadata = train(
            recipe_named(options.recipe),
            options.out,
            resume=options.resume,
            epochs=options.epochs,
            compile_model=not options.no_compile,
            progress=show,
        )
    except SievitError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"held-back {metadata['top1_held_back']}  test {metadata['top1_test']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
