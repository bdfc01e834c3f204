"""`sievit run`."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.options import (
    DatasetOption,
    JsonOption,
    ModelOption,
    SplitOption,
    load_dataset,
    load_model,
    write_json,
)

__all__ = ["command"]


def command(
    model: ModelOption = "demo",
    dataset: DatasetOption = "sample",
    split: SplitOption = "test",
    images: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many (default: all).")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Classify labelled images with the integer golden model and with the float reference.

    Prints the accuracy of both and how often they agree. The float weights are those in the model
    file; no torch is needed.

    Example: sievit run --model demo --dataset fashion-mnist --json accuracy.json
    """
    from golden_model import evaluate
    from quantize import float_logits, float_model_of

    loaded = load_model(model)
    data = load_dataset(dataset, split, loaded.config, images or 16)
    data = data if images is None else data.first(images)
    reference_model = float_model_of(loaded)
    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("integer golden model", total=len(data))
        began = time.perf_counter()
        integer = evaluate(
            loaded, data.images, data.labels, lambda done: progress.advance(task, done)
        )
        wall_s = time.perf_counter() - began
        progress.add_task("float reference", total=None)
        reference = float_logits(reference_model, data.images).argmax(axis=1)
    report = {
        "model": model,
        "images": len(data),
        "top1_float": float((reference == data.labels).mean()),
        "top1_integer": float((integer.predictions == data.labels).mean()),
        "agreement": float((reference == integer.predictions).mean()),
        "wall_s": wall_s,
    }
    table = Table(title=f"{Path(model).name}: {len(data):,} images of {Path(dataset).name}")
    table.add_column("figure")
    table.add_column("value", justify="right")
    if data.labelled:
        table.add_row("top-1, float reference", f"{report['top1_float']:.2%}")
        table.add_row("top-1, integer golden model", f"{report['top1_integer']:.2%}")
    else:
        report["top1_float"] = report["top1_integer"] = None
    table.add_row("same prediction", f"{report['agreement']:.2%}")
    table.add_row("integer images per second", f"{len(data) / wall_s:,.0f}")
    Console().print(table)
    write_json(json, report)
