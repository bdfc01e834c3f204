"""`sievit simulate`."""

from typing import Annotated

import typer
from rich.console import Console

from cli.errors import CheckFailedError
from cli.options import (
    DatasetOption,
    JsonOption,
    ModelOption,
    PresetOption,
    SimulatorOption,
    SplitOption,
    load_dataset,
    load_model,
    require,
    write_json,
)
from cli.tables import cycle_table, layer_table, summary_table

__all__ = ["command"]


def command(
    model: ModelOption = "demo",
    preset: PresetOption = "tiny",
    simulator: SimulatorOption = "verilator",
    dataset: DatasetOption = "sample",
    split: SplitOption = "test",
    images: Annotated[int, typer.Option(min=1, help="How many, from the first.")] = 1,
    latency: Annotated[
        int, typer.Option(min=0, max=65535, help="DRAM cycles to the first beat of a burst.")
    ] = 64,
    bandwidth: Annotated[
        int, typer.Option(min=1, max=10, help="DRAM beats in every 10 cycles, at most.")
    ] = 9,
    flip_bit: Annotated[
        int | None,
        typer.Option(help="Self-test: flip this bit of the weights in the DRAM; must then fail."),
    ] = None,
    layers: Annotated[bool, typer.Option(help="Also print cycles by layer.")] = False,
    json: JsonOption = None,
) -> None:
    """Run a model on simulated Verilog and compare every intermediate tensor, bit for bit."""
    require("sim")
    from sim.experiment import simulate
    from sim.machine import Options
    from spec.presets import preset as preset_of

    loaded = load_model(model)
    data = load_dataset(dataset, split, loaded.config).first(images)
    console = Console()
    with console.status("starting") as status:
        result = simulate(
            loaded,
            model,
            preset_of(preset),
            simulator,
            data.images,
            Options(latency=latency, bandwidth=bandwidth),
            flip_bit,
            status.update,
        )
    report = result.report
    console.print(summary_table(report))
    console.print(cycle_table(report))
    if layers:
        console.print(layer_table(result))
    for number, predicted in enumerate(report["predictions"]):
        console.print(f"image {number}: predicted {predicted}, label {data.labels[number]}")
    for number, differences in enumerate(result.differences):
        for difference in differences:
            console.print(f"image {number}: {difference}", highlight=False)
    write_json(json, report)
    if not result.agrees:
        number = next(n for n, found in enumerate(result.differences) if found)
        raise CheckFailedError(
            f"{report['differing_elements']:,} elements differ; "
            f"first tensor: {result.differences[number][0].tensor} of image {number}"
        )
