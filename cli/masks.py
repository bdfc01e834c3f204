"""`sievit masks`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import UsageError
from cli.options import (
    PRESET_HELP,
    DatasetOption,
    JsonOption,
    SplitOption,
    load_dataset,
    load_model,
    require,
    writable,
    write_json,
)
from cli.progress import steps

if TYPE_CHECKING:
    from spec.config import Config
    from spec.model_file import Model

__all__ = ["command"]


def command(
    model: Annotated[str, typer.Argument(help="A quantised model: a file, or a name.")],
    out: Annotated[
        Path | None, typer.Argument(callback=writable, help="Masked model file to write.")
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the scores to prune, such as 0.9."),
    ] = None,
    information: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Or ViTCoD's threshold: the attention a query keeps."),
    ] = None,
    dataset: DatasetOption = "fashion-mnist",
    split: SplitOption = "train",
    images: Annotated[
        int, typer.Option(min=1, help="Images over which attention is averaged, from the first.")
    ] = 256,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", "-p", help=f"Also the bytes of the lists of a machine: {PRESET_HELP}."
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            callback=writable,
            help="Draw the masks before and after reordering, as ViTCoD's figure 8 (extra plot).",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Prune attention to fixed masks, by the attention averaged over images (ViTCoD).

    Each query keeps its largest scores; CLS's row and column stay. With --sparsity or --information
    new masks are made; without, those that the model has are reported. Fine-tuning with the masks
    brings accuracy back: see the recipe demo-masks of `sievit train`.

    Example: sievit masks demo demo-masked.safetensors --sparsity 0.8 --pictures masks.png
    """
    from quantize import float_model_of
    from quantize.masks import (
        average_attention,
        kept_masks,
        mask_rows,
        prune_by_information,
        prune_to_sparsity,
        with_masks,
    )
    from sim.mask_pictures import draw_masks
    from spec import model_file
    from spec.presets import preset as preset_of

    if sparsity is not None and information is not None:
        raise UsageError("--sparsity and --information: give one of them")
    if pictures:
        require("plot")
    machine = None if preset is None else preset_of(preset)
    loaded = load_model(model)
    config, new = loaded.config, sparsity is not None or information is not None
    if out and not new:
        raise UsageError("nothing to write: --sparsity or --information makes masks")
    if new:
        data = load_dataset(dataset, split, config, images).first(images)
        with steps() as tell:
            tell(f"averaging attention over {len(data)} images")
            maps = average_attention(float_model_of(loaded), data.images)
        if sparsity is not None:
            kept, information = prune_to_sparsity(maps, sparsity, config.prefix_tokens)
        else:
            assert information is not None
            kept = prune_by_information(maps, information, config.prefix_tokens)
        for stage in config.stages:
            if stage.rule == "cls_attention":  # reads all scores of the block before
                kept[stage.block - 1] = True
        loaded = with_masks(loaded, kept)
    elif not any(config.masks):
        raise UsageError(f"{model}: has no masks; --sparsity or --information makes some")
    kept = kept_masks(loaded)
    report: dict[str, Any] = {
        "model": model,
        "information": information,
        "sparsity": 1 - float(kept.mean()),
        "blocks": mask_rows(kept),
    }
    if machine is not None:
        report["preset"] = machine.name
        for row, size in zip(report["blocks"], _list_bytes(loaded, machine), strict=True):
            row["list_bytes"] = size
    console = Console()
    console.print(_table(report))
    if out:
        model_file.save(loaded, out)
        console.print(f"{out}: {report['sparsity']:.2%} of the scores pruned", soft_wrap=True)
        console.print(f"next: sievit run --model {out}", soft_wrap=True)
    if pictures:
        draw_masks(kept, f"{Path(model).name}: {report['sparsity']:.1%} pruned", pictures)
    write_json(json, report)


def _list_bytes(model: "Model", machine: "Config") -> list[int]:
    """Bytes of each block's lists of kept scores, as a machine reads them."""
    from compiler.layers import Attention
    from compiler.lowering import lower

    found = [0] * model.config.depth
    for layer in lower(model, machine).layers:
        if isinstance(layer, Attention):
            heads = [head for first in layer.heads for head in (first, *first.beside)]
            block = int(layer.name.split(".")[1])
            found[block] += sum(len(head.lists) for head in heads if head.lists is not None)
    return found


def _table(report: dict[str, Any]) -> Table:
    """One row for each block."""
    table = Table(
        title=f"{Path(report['model']).name}: {report['sparsity']:.2%} of all scores pruned",
        caption="global tokens by head: keys of more than a quarter of the queries (50 of 197); "
        "keys: that a query keeps, mean / most; bytes: pointers and indices in the file",
    )
    for column in ("block", "pruned", "global tokens", "keys", "bytes", "bitmap"):
        table.add_column(column, justify="right")
    if "preset" in report:
        table.add_column(f"lists, {report['preset']}", justify="right")
    for row in report["blocks"]:
        keys = row["keys_a_query"]
        table.add_row(
            str(row["block"]),
            f"{row['sparsity']:.2%}",
            " ".join(str(count) for count in row["global_tokens"]),
            f"{keys['mean']:.1f} / {keys['max']}",
            f"{row['file_bytes']:,}",
            f"{row['bitmap_bytes']:,}",
            *([f"{row['list_bytes']:,}"] if "list_bytes" in row else []),
        )
    return table
