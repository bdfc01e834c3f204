"""`sievit sieves`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.options import (
    DatasetOption,
    DramOption,
    JsonOption,
    ModelOption,
    PresetOption,
    SplitOption,
    load_dataset,
    load_model,
    require,
    writable,
    write_json,
)
from cli.progress import steps
from cli.stage_tables import sieve_tables
from spec.dram import DEFAULT_DRAM

__all__ = ["command"]


def command(
    model: ModelOption = "demo",
    preset: PresetOption = "tiny",
    dram: DramOption = DEFAULT_DRAM,
    dataset: DatasetOption = "sample",
    split: SplitOption = "test",
    images: Annotated[int, typer.Option(min=1, help="Take the first so many.")] = 8,
    predict: Annotated[
        int,
        typer.Option(
            min=0,
            help="Where cycles differ, predict so many, evenly spread; 0: all.",
        ),
    ] = 0,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            callback=writable,
            help="Draw the mean cycles with each sieve into this file (extra plot).",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Predict what each sieve of a model saves: alone, and all of them together.

    The dense model first, without stages, masks and thresholds, on a machine that skips no zeros;
    then with each sieve alone, then with all. The golden machine runs every image, so that what is
    left of it is known; the cycles are those of the Verilog with the same DRAM. Accuracy is over
    all images. Cycles that differ from image to image take about a second each, and --predict takes
    a sample of them.

    Example: sievit sieves --model demo-tokens --preset tiny --images 4 --plot sieves.svg
    """
    if plot:
        require("plot")
    from sim.sieve_study import sieve_study
    from spec.dram import dram_preset
    from spec.presets import preset as preset_of

    config, timing = preset_of(preset), dram_preset(dram)
    loaded = load_model(model)
    data = load_dataset(dataset, split, loaded.config, images).first(images)
    with steps() as tell:
        labels = data.labels if data.labelled else None
        report = sieve_study(
            loaded, model, config, dram, timing, data.images, labels, predict, tell
        )
    console = Console()
    for table in sieve_tables(report):
        console.print(table)
    write_json(json, report)
    if plot:
        from sim.stage_pictures import draw_sieves

        draw_sieves(report, plot)
