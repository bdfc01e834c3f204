"""Trains a recipe to a safetensors file of float32 weights; can stop and resume at any epoch.

The same recipe on the same machine with the same number of threads gives the same weights bit for
bit, whether or not it was interrupted. A recipe with token selectors begins with a dense model: it
is trained first, by its own recipe, unless its file is there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from spec.errors import SievitError

from .datasets import DataSet, load_fashion_mnist
from .errors import TrainingError
from .recipe import RECIPES, Recipe, recipe_named
from .trainer import EpochRecord, Trainer

__all__ = ["dense_model", "dense_path", "train"]


def train(
    recipe: Recipe,
    out_path: Path,
    *,
    resume: bool = True,
    epochs: int | None = None,
    dense: Path | None = None,
    data: DataSet | None = None,
    compile_model: bool = True,
    progress: Callable[[EpochRecord], None] = lambda record: None,
) -> dict[str, str]:
    """Train `recipe` and write its averaged weights to `out_path`; returns the file's metadata.

    The state after each epoch is kept beside it as `<out_path>.checkpoint`, then `progress` is
    called; with `resume`, training goes on from there.
    `epochs` replaces the recipe's number, and with it the schedule, also that of a dense model
    trained on the way.
    `dense` is the float file of the dense model that a recipe with a `sieve` starts from; without
    it, the file is `dense_path`, and is trained if it is not there.
    `compile_model` needs a C++ compiler and takes half the time.
    """
    if epochs is not None:
        recipe = with_epochs(recipe, epochs)
    data = data or load_fashion_mnist(recipe.model.image_size)
    parameters = None
    if recipe.sieve is not None and recipe.fine_tuning is None:
        dense = dense or dense_model(
            recipe,
            out_path,
            resume=resume,
            epochs=epochs,
            data=data,
            compile_model=compile_model,
            progress=progress,
        )
        parameters = read_float(dense)[1]
    trainer = Trainer(recipe, data, compile_model=compile_model, dense=parameters)
    checkpoint = out_path.with_name(out_path.name + ".checkpoint")
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    if resume and checkpoint.exists():
        trainer.load_checkpoint(checkpoint)
    while len(trainer.history) < recipe.epochs:
        record = trainer.run_epoch()
        trainer.save_checkpoint(checkpoint)
        progress(record)
    return trainer.export(out_path)


def dense_path(recipe: Recipe, out_path: Path) -> Path:
    """Where the dense model is, from which a recipe with a `sieve` starts: beside its output."""
    assert recipe.sieve is not None
    return out_path.with_name(f"{recipe.sieve.dense}-float.safetensors")


def dense_model(
    recipe: Recipe,
    out_path: Path,
    *,
    resume: bool = True,
    epochs: int | None = None,
    data: DataSet | None = None,
    compile_model: bool = True,
    progress: Callable[[EpochRecord], None] = lambda record: None,
) -> Path:
    """The dense model's file, trained now unless its recipe made the one that is there."""
    assert recipe.sieve is not None
    path = dense_path(recipe, out_path)
    first = recipe_named(recipe.sieve.dense)
    first = first if epochs is None else with_epochs(first, epochs)
    if not (resume and _is_of(path, first)):
        train(first, path, resume=resume, data=data, compile_model=compile_model, progress=progress)
    return path


def with_epochs(recipe: Recipe, epochs: int) -> Recipe:
    """The recipe with another number of epochs, and no more of warm-up than fit."""
    return replace(recipe, epochs=epochs, warmup_epochs=min(recipe.warmup_epochs, epochs - 1))


def _is_of(path: Path, recipe: Recipe) -> bool:
    """Whether there is a float file which that recipe made."""
    if not path.exists():
        return False
    made = read_float(path)[0].get("recipe", "null")
    return json.loads(made) == json.loads(json.dumps(asdict(recipe)))


def read_float(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and parameters of a float file."""
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: not a float model: {error}") from None


def main() -> int:
    """Command line: `python -m training.train demo --out FILE --resume`."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("recipe", help=" or ".join(RECIPES))
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--resume", action="store_true", help="go on from <out>.checkpoint")
    parser.add_argument("--dense", type=Path, help="float file of the dense model to start from")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's number")
    parser.add_argument("--no-compile", action="store_true", help="run without a C++ compiler")
    options = parser.parse_args()

    def show(record: EpochRecord) -> None:
        sys.stdout.write(
            f"epoch {record.epoch}/{record.epochs}  loss {record.train_loss:.4f}  "
            f"held-back {100 * record.held_back_top1:.2f} %  {record.seconds:.1f} s"
            f"{'  keep ' * bool(record.keep)}{' '.join(f'{k:.3f}' for k in record.keep)}"
            f"{'  efforts ' * bool(record.efforts)}"
            f"{' '.join(f'{100 * share:.2f}' for share in record.efforts)}\n"
        )
        sys.stdout.flush()

    try:
        metadata = train(
            recipe_named(options.recipe),
            options.out,
            resume=options.resume,
            epochs=options.epochs,
            dense=options.dense,
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
