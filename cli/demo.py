"""`sievit demo`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import CheckFailedError
from cli.options import (
    JsonOption,
    PresetOption,
    SimulatorOption,
    check_simulator,
    load_dataset,
    load_model,
    require,
    write_json,
)
from cli.progress import steps
from cli.tables import cycle_table, layer_table, picture, summary_table

__all__ = ["command"]


def command(
    preset: PresetOption = "tiny",
    simulator: SimulatorOption = "verilator",
    images: Annotated[int, typer.Option(min=1, help="How many sample images.")] = 3,
    json: JsonOption = None,
) -> None:
    """Classify sample images end to end on simulated Verilog, and show what happened.

    Needs no download: the model and the images are bundled. The first run builds the simulation.

    Example: sievit demo --preset asic512
    """
    require("sim")
    from quantize.datasets import CLASS_NAMES
    from sim.experiment import simulate
    from spec.presets import preset as preset_of

    check_simulator(simulator)
    model = load_model("demo")
    data = load_dataset("sample", "test", model.config).first(images)
    config = preset_of(preset)
    console = Console()
    with steps() as tell:
        result = simulate(model, "demo", config, simulator, data.images, progress=tell)
    report = result.report
    console.print(layer_table(result))
    console.print(cycle_table(report))
    console.print(summary_table(report))
    table = Table(title="what the accelerator saw and said", show_lines=True)
    table.add_column("image")
    table.add_column("answer")
    for number, predicted in enumerate(report["predictions"]):
        label = int(data.labels[number])
        mark = "[green]right[/]" if predicted == label else "[red]wrong[/]"
        entry = report["per_image"][number]
        answer = (
            f"predicted [bold]{CLASS_NAMES[predicted]}[/]\nlabel {CLASS_NAMES[label]} ({mark})\n\n"
            f"{entry['cycles']:,} cycles\n{entry['utilization']:.1%} array utilisation\n"
            f"{entry['tensors_compared']} tensors compared\n"
            f"{entry['differing_elements']} elements differ"
        )
        table.add_row(picture(data.images[number], console.color_system is not None), answer)
    console.print(table)
    write_json(json, report)
    if not result.agrees:
        raise CheckFailedError(
            f"{report['differing_elements']:,} elements differ from the golden model"
        )
    console.print(
        "Every intermediate tensor of the Verilog equals the integer golden model, bit for bit."
    )
