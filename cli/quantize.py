"""`sievit quantize`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import UsageError
from cli.options import (
    PICTURES,
    DatasetOption,
    JsonOption,
    SplitOption,
    load_dataset,
    writable,
    write_json,
)
from cli.progress import steps
from cli.quality_table import print_quality

__all__ = ["command"]


def command(
    float_model: Annotated[Path, typer.Argument(help="Float safetensors with timm's names.")],
    out: Annotated[Path, typer.Argument(callback=writable, help="Integer model file to write.")],
    dataset: DatasetOption = "fashion-mnist",
    split: SplitOption = "train",
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Calibration images, from the first: 64, of pictures 16."),
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Also say what each tensor loses, over other images.")
    ] = False,
    report_images: Annotated[int, typer.Option(min=1, help="How many others.")] = 4,
    json: JsonOption = None,
) -> None:
    """Calibrate and quantise a float model to 8 bits; no torch needed.

    Calibration images set the ranges of the activations: 8 to 64 typical ones, not the ones the
    accuracy is measured on.

    Example: sievit quantize my-float.safetensors my-model.safetensors
    """
    from quantize import load_float, quantize_file
    from quantize.report import quality

    if out.exists() and float_model.exists() and out.samefile(float_model):
        raise UsageError(f"{out}: would overwrite the float model; name another file")
    shape = load_float(float_model).config
    images = images or (16 if dataset in PICTURES else 64)
    data = load_dataset(dataset, split, shape, images)
    others = data.images[images : images + report_images]
    if dataset in PICTURES:
        others = load_dataset(
            dataset, "test" if split == "train" else "train", shape, report_images
        )
        others = others.images
    data = data.first(images)
    asked = report or json is not None
    if asked and not len(others):
        raise UsageError(f"--report: --dataset {dataset} has no images beyond {images}")
    console = Console()
    if dataset == "sample" or (dataset == "fashion-mnist" and split == "test"):
        console.print("note: these are test images; accuracy on them will flatter", style="yellow")
    with steps() as tell:
        tell(f"calibrating on {len(data)} images")
        notes: list[str] = []
        model = quantize_file(float_model, out, data.images, notes.append)
        if asked:
            tell(f"comparing on {len(others)} other images")
        found = quality(model, others) if asked else None
    size = out.stat().st_size
    config = model.config
    console.print(
        f"{out}: {config.depth} blocks, {config.tokens} tokens, {config.embed_dim} channels, "
        f"{size:,} bytes, calibrated on {len(data)} images",
        soft_wrap=True,
    )
    for note in notes:
        console.print(f"note: {note}", style="yellow", soft_wrap=True)
    if found is not None:
        print_quality(console, found)
        write_json(json, found.as_json())
    console.print(f"next: sievit run --model {out}", soft_wrap=True)
