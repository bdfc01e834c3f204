"""`sievit profile`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import UsageError
from cli.options import (
    DatasetOption,
    JsonOption,
    ModelOption,
    SplitOption,
    load_dataset,
    load_model,
    require,
    writable,
    write_json,
)
from cli.progress import steps

__all__ = ["command"]

TAUS = "0,0.02,0.05,0.1,0.15,0.2,0.3"


def command(
    model: ModelOption = "demo",
    dataset: DatasetOption = "sample",
    split: SplitOption = "test",
    images: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many (default: all).")
    ] = None,
    taus: Annotated[
        str, typer.Option("--tau", help="Thresholds to try; own: the model as it is.")
    ] = TAUS,
    tensors: Annotated[
        str | None,
        typer.Option(help="Tensors to clear, such as context,fc1,probs (default: all nine)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            callback=writable,
            help="Write the model with the last of the thresholds to this file.",
        ),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            callback=writable, help="Draw accuracy and sparsity against tau (extra plot)."
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Map DynaTran's thresholds to zeros, saved multiplications and accuracy.

    Values of a magnitude of at most tau become zero in up to nine tensors of every encoder block
    (q, k, v, scores, probs, context, proj, fc1, fc2), in the integer golden model. Scores are meant
    before they are scaled, probabilities as shares of their row's largest. The table has each
    tensor's share of zeros, and the share of the blocks' multiplications that a zero scalar saves.

    Example: sievit profile --model demo --dataset fashion-mnist --tau 0,0.1,0.2 --curve tau.svg
    """
    from quantize.threshold_profile import threshold_profile
    from quantize.thresholds import with_thresholds
    from sim.mask_pictures import draw_profile
    from spec import model_file
    from spec.model_config import THRESHOLDS

    if curve:
        require("plot")
    values = _numbers(taus)
    *_, last = values
    if out and last is None:
        raise UsageError("--out needs a number as the last --tau, not own")
    if curve and values == [None]:
        raise UsageError("--curve needs numbers as --tau")
    names = tuple(THRESHOLDS if tensors is None else tensors.split(","))
    unknown = [name for name in names if name not in THRESHOLDS]
    if unknown:
        raise UsageError(f"--tensors must be some of {', '.join(THRESHOLDS)}, not '{unknown[0]}'")
    loaded = load_model(model)
    data = load_dataset(dataset, split, loaded.config, images or 16)
    data = data if images is None else data.first(images)
    labels = data.labels if data.labelled else None
    with steps() as tell:
        found = threshold_profile(loaded, data.images, labels, values, names, tell)
    report: dict[str, Any] = {
        "model": model,
        "images": len(data),
        "tensors": list(names),
        "profile": [profile.as_json() for profile in found],
    }
    console = Console()
    console.print(_table(report))
    if out:
        model_file.save(with_thresholds(loaded, dict.fromkeys(names, last)), out)
        console.print(f"{out}: tau {last:g} in {', '.join(names)}", soft_wrap=True)
    if curve:
        draw_profile(report, curve)
    write_json(json, report)


def _numbers(text: str) -> list[float | None]:
    values: list[float | None]
    try:
        values = [None if word == "own" else float(word) for word in text.split(",")]
    except ValueError:
        values = [-1.0]
    if not all(value is None or 0 <= value < float("inf") for value in values):
        raise UsageError(f"--tau must be numbers of at least 0, as 0,0.05,0.1, not '{text}'")
    return values


def _table(report: dict[str, Any]) -> Table:
    """Accuracy, multiplications saved and zeros by tensor; a column for each tau."""
    points = report["profile"]
    table = Table(
        title=f"{Path(report['model']).name}: tau in {', '.join(report['tensors'])}, "
        f"{report['images']:,} images",
        caption="zeros by tensor; saved: multiplications of the encoder blocks by a zero",
    )
    table.add_column("tau")
    for point in points:
        tau = point["tau"]
        table.add_column("own" if tau is None else f"{tau:g}", justify="right")
    if points[0]["top1"] is not None:
        table.add_row("top-1", *(f"{point['top1']:.2%}" for point in points))
    table.add_row("saved", *(f"{point['saved']:.1%}" for point in points), end_section=True)
    for name in points[0]["sparsity"]:
        table.add_row(name, *(f"{point['sparsity'][name]:.1%}" for point in points))
    table.add_section()
    for block in range(len(points[0]["hidden"])):
        table.add_row(f"fc1, block {block}", *(f"{point['hidden'][block]:.1%}" for point in points))
    return table
