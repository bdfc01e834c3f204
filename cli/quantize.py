"""`sievit quantize`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.errors import UsageError
from cli.options import DatasetOption, SplitOption, load_dataset, writable
from cli.progress import steps

__all__ = ["command"]


def command(
    float_model: Annotated[Path, typer.Argument(help="Float safetensors with timm's names.")],
    out: Annotated[Path, typer.Argument(callback=writable, help="Integer model file to write.")],
    dataset: DatasetOption = "fashion-mnist",
    split: SplitOption = "train",
    images: Annotated[int, typer.Option(min=1, help="Calibration images, from the first.")] = 64,
) -> None:
    """Calibrate and quantise a float model to 8 bits; no torch needed.

    Calibration images set the ranges of the activations: 8 to 64 typical ones, not the ones the
    accuracy is measured on.

    Example: sievit quantize my-float.safetensors my-model.safetensors
    """
    from quantize import load_float, quantize_file

    if out.exists() and float_model.exists() and out.samefile(float_model):
        raise UsageError(f"{out}: would overwrite the float model; name another file")
    shape = load_float(float_model).config
    data = load_dataset(dataset, split, shape).first(images)
    console = Console()
    if dataset == "sample" or (dataset == "fashion-mnist" and split == "test"):
        console.print("note: these are test images; accuracy on them will flatter", style="yellow")
    with steps() as tell:
        tell(f"calibrating on {len(data)} images")
        model = quantize_file(float_model, out, data.images)
    size = out.stat().st_size
    config = model.config
    console.print(
        f"{out}: {config.depth} blocks, {config.tokens} tokens, {config.embed_dim} channels, "
        f"{size:,} bytes, calibrated on {len(data)} images",
        soft_wrap=True,
    )
    console.print(f"next: sievit run --model {out}", soft_wrap=True)
