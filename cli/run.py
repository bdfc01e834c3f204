"""`sievit run`."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.devices import DEVICE_HELP
from cli.errors import UsageError
from cli.on_device import finish, run_on_device
from cli.options import (
    PRESET_HELP,
    DatasetOption,
    DramOption,
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
from cli.stage_tables import curve_table, effort_table, stage_table
from spec.dram import DEFAULT_DRAM

__all__ = ["command"]

PICTURES_DRAWN = 8


def command(
    model: ModelOption = "demo",
    dataset: DatasetOption = "sample",
    split: SplitOption = "test",
    images: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many (default: all).")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", "-p", help=f"Predict the cycles of each image on a machine: {PRESET_HELP}."
        ),
    ] = None,
    dram: DramOption = DEFAULT_DRAM,
    predicted: Annotated[
        int,
        typer.Option(
            "--predict",
            min=0,
            help="Of how many images, evenly spread, to predict the cycles (0: all).",
        ),
    ] = 64,
    pictures: Annotated[
        Path | None,
        typer.Option(
            callback=writable,
            help="Draw the first images (eight, or --images) with the patches that each stage "
            "drops darkened (extra plot).",
        ),
    ] = None,
    curve: Annotated[
        Path | None,
        typer.Option(
            callback=writable,
            help="Draw accuracy against cycles on --preset while the thresholds of all stages "
            "vary, and print the table (extra plot).",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help=f"Run on a device, of the machine --preset: {DEVICE_HELP}"),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Classify labelled images with the integer golden model and with the float reference.

    Prints the accuracy of both and how often they agree. The float weights are those in the model
    file; no torch is needed. For a model with stages also how many tokens each of them leaves,
    the MACs that this takes, and with --preset the cycles. For a model of several efforts how
    many images each of them ends.

    With --device the images go through that device instead, all logits are compared with the
    integer golden model's, and the exit status is 1 if any differs.

    Example: sievit run --model demo --dataset fashion-mnist --json accuracy.json

    Example: sievit run --device serial:/dev/ttyUSB0 --preset ulx3s --images 100
    """
    from golden_model import evaluate
    from golden_model.sieve import sieve
    from quantize import float_logits, float_model_of
    from sim.image_cycles import ImageCycles
    from sim.sieve_report import accuracy_curve, cycle_report, effort_report, stage_report
    from sim.stage_pictures import draw_curve, draw_stages
    from spec.dram import dram_preset
    from spec.presets import preset as preset_of

    timing, config = dram_preset(dram), None if preset is None else preset_of(preset)
    if device is not None:
        if config is None:
            raise UsageError("--device needs --preset: the machine that the model is compiled for")
        if pictures or curve:
            raise UsageError("--pictures and --curve are not of a device: leave out --device")
        loaded = load_model(model)
        data = load_dataset(dataset, split, loaded.config, images or 16)
        found = run_on_device(
            device, model, loaded, config, data if images is None else data.first(images)
        )
        write_json(json, found)
        return finish(found)
    if curve and config is None:
        raise UsageError("--curve needs --preset: cycles are those of a machine")
    if pictures or curve:
        require("plot")
    loaded = load_model(model)
    if (pictures or curve) and not loaded.config.stages:
        raise UsageError(f"{model}: --pictures and --curve need a model with stages")
    cycles = None if config is None else ImageCycles(loaded, config, timing)
    data = load_dataset(dataset, split, loaded.config, images or 16)
    data = data if images is None else data.first(images)
    if curve and not data.labelled:
        raise UsageError(f"--curve needs labelled images, which --dataset {dataset} has not")
    reference_model = float_model_of(loaded)
    errors = Console(stderr=True)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("integer golden model", total=len(data))
        began = time.perf_counter()
        several = len(loaded.config.passes) > 1
        if loaded.config.stages or (cycles and (cycles.by_data or several)):
            found = sieve(loaded, data.images, lambda done: progress.advance(task, done))
            predictions, taken = found.predictions, found.effort
        else:
            evaluated = evaluate(
                loaded, data.images, progress=lambda done: progress.advance(task, done)
            )
            predictions = evaluated.predictions
            found = None
            taken = evaluated.effort
        wall_s = time.perf_counter() - began
        progress.add_task("float reference", total=None)
        reference = float_logits(reference_model, data.images).argmax(axis=1)
    report = {
        "model": model,
        "images": len(data),
        "top1_float": float((reference == data.labels).mean()),
        "top1_integer": float((predictions == data.labels).mean()),
        "agreement": float((reference == predictions).mean()),
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
    console = Console()
    if several:
        report |= effort_report(loaded.config, taken)
    if loaded.config.stages and found is not None:
        report |= stage_report(loaded.config, found)
    if cycles is not None:
        with steps() as tell:
            tell("predicting cycles")
            left = found or sieve(loaded, data.images[:1])
            report |= cycle_report(cycles, data.images[: len(left.left)], left, predicted)
    if cycles is not None:
        report |= {"preset": cycles.config.name, "dram": dram}
        table.add_row(f"cycles an image, {cycles.config.name}", f"{report['cycles']['mean']:,.0f}")
    console.print(table)
    if several:
        console.print(effort_table(report))
    if loaded.config.stages:
        console.print(stage_table(report))
    if pictures and found is not None:
        few = slice(0, images or PICTURES_DRAWN)
        titles = [f"{number}: class {label}" for number, label in enumerate(predictions[few])]
        draw_stages(data.images[few], found.alive[few], titles, loaded.config, pictures)
    if curve and cycles is not None:
        with steps() as tell:
            points = accuracy_curve(loaded, data.images, data.labels, cycles, predicted, tell)
        report["curve"] = points
        console.print(curve_table(report))
        title = f"{Path(model).name} on {cycles.config.name}, {dram} DRAM, {len(data):,} images"
        draw_curve(points, title, curve)
    write_json(json, report)
