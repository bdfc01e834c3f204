"""`sievit quantize`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.options import DatasetOption, SplitOption, load_dataset

__all__ = ["command"]


def command(
    float_model: Annotated[Path, typer.Argument(help="Float safetensors with timm's names.")],
    out: Annotated[Path, typer.Argument(help="Integer model file to write.")],
    dataset: DatasetOption = "sample",
    split: SplitOption = "train",
    images: Annotated[int, typer.Option(help="Calibration images.")] = 64,
) -> None:
    """Calibrate and quantise a float model to 8 bits; no torch needed."""
    from quantize import load_float, quantize_file

    shape = load_float(float_model).config
    data = load_dataset(dataset, split, shape).first(images)
    model = quantize_file(float_model, out, data.images)
    size = out.stat().st_size
    config = model.config
    Console().print(
        f"{out}: {config.depth} blocks, {config.tokens} tokens, {config.embed_dim} channels, "
        f"{size:,} bytes, calibrated on {len(data)} images"
    )
