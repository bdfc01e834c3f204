"""`sievit import`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import UsageError
from cli.options import writable

if TYPE_CHECKING:
    from quantize.importers import ImportTable

__all__ = ["command"]

COLOURS = {"folded": "cyan", "dropped": "yellow", "unsupported": "red"}


def command(
    out: Annotated[
        Path | None,
        typer.Argument(callback=writable, help="Float model file to write; none: only the table."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", "-w", help="Safetensors of timm, torchvision or Hugging Face."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="A timm name, such as deit_tiny_patch16_224; '?' lists them."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of random weights, without --weights.")] = 0,
    image_size: Annotated[
        int | None,
        typer.Option(min=1, help="Pixels a side; position embeddings are resampled to it."),
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="Attention heads, where nothing else says.")
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Mean of pixels in 0..1: a number, or one a channel: a,b,c.")
    ] = None,
    std: Annotated[str | None, typer.Option(help="Their deviation, likewise.")] = None,
    pooling: Annotated[
        str | None, typer.Option(help="What the head reads: token (the CLS row) or mean (patches).")
    ] = None,
) -> None:
    """Bring a trained ViT or DeiT of another library to sievit's float model.

    First says of each layer whether it is supported, folded into another, or unsupported and why;
    if one is unsupported nothing is done. Heads and pixel normalisation come from --model, or from
    the config.json beside the weights. With --model alone the weights are random. Then: sievit
    quantize.

    Example: sievit import deit.safetensors --model deit_tiny_patch16_224
    """
    from quantize.architectures import ARCHITECTURES, architecture, random_weights
    from quantize.float_model import save_float
    from quantize.importers import ImportRefusedError, import_file
    from quantize.importers.settings import Settings, settings_of

    console = Console()
    if model == "?":
        console.print("\n".join(ARCHITECTURES))
        return
    if weights is None and model is None:
        raise UsageError("nothing to import; give --weights FILE, --model NAME, or both")
    if weights and out and out.exists() and weights.exists() and out.samefile(weights):
        raise UsageError(f"{out}: would overwrite the weights; name another file")
    if weights is None:
        assert model is not None
        given = {"--heads": heads, "--mean": mean, "--std": std, "--pooling": pooling}
        if wrong := [name for name, value in given.items() if value is not None]:
            raise UsageError(f"{wrong[0]} is of no use without --weights: --model has its own")
        found = random_weights(model, seed, image_size)
        console.print(f"note: {model} with random weights, seed {seed}", style="yellow")
    else:
        settings = Settings(
            heads=heads,
            image_size=image_size,
            mean=_numbers("--mean", mean),
            std=_numbers("--std", std),
            pooling=pooling,
        )
        if model is not None:
            settings = settings.or_else(settings_of(architecture(model, image_size)))
        try:
            imported = import_file(weights, settings)
        except ImportRefusedError as error:
            console.print(_table(error.table, weights.name))
            raise
        console.print(_table(imported.table, f"{weights.name}, {imported.dialect}'s names"))
        found = imported.model
    config = found.config
    console.print(
        f"{config.depth} blocks, {config.tokens} tokens, {config.embed_dim} channels, "
        f"{config.heads} heads, {config.classes} classes, "
        f"{sum(value.size for value in found.parameters.values()):,} parameters"
    )
    if out is not None:
        save_float(found, out)
        console.print(f"next: sievit quantize {out} MODEL --dataset photos", soft_wrap=True)


def _table(found: "ImportTable", title: str) -> Table:
    table = Table(title=title)
    table.add_column("layer")
    table.add_column("verdict")
    table.add_column("why")
    for row in found.brief():
        table.add_row(row.layer, row.verdict.value, row.why, style=COLOURS.get(row.verdict.value))
    return table


def _numbers(option: str, text: str | None) -> "tuple[float, ...] | None":
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} must be numbers with commas between, not '{text}'") from None
    return values * 3 if len(values) == 1 else values
