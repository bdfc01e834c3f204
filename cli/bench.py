"""`sievit bench`."""

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import CheckFailedError
from cli.options import PRESET_HELP, JsonOption, load_dataset, load_model, require, write_json
from cli.progress import steps

__all__ = ["command"]


def command(
    presets: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            "-p",
            help=f"A machine: {PRESET_HELP}. May be given again. All presets, if none is.",
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Simulated images a preset.")] = 2,
    json: JsonOption = None,
) -> None:
    """Time emission, simulation and the golden model; show the array's utilisation.

    Builds each simulation at first use: minutes for asic512.

    Example: sievit bench --preset tiny --preset asic512 --json speed.json
    """
    require("sim")
    from golden_model import evaluate
    from rtl_gen.emit import verilog
    from sim.experiment import simulate
    from sim.machine import Options
    from spec.presets import PRESETS
    from spec.presets import preset as preset_of

    configs = [preset_of(name) for name in presets or PRESETS]
    console = Console()
    model = load_model("demo")
    data = load_dataset("sample", "test", model.config)
    narrow = load_model("demo-small")
    rows = []
    with steps() as tell:
        tell(f"golden model, {len(data)} images")
        began = time.perf_counter()
        evaluate(model, data.images)
        golden = len(data) / (time.perf_counter() - began)
        for config in configs:
            tell(f"emitting {config.name}")
            began = time.perf_counter()
            verilog(config)
            emission_s = time.perf_counter() - began
            pictures, dram = data.images[:images], Options(latency=64, bandwidth=9)
            fits = model.config.head_dim <= config.max_head_dim
            name, chosen = ("demo", model) if fits else ("demo-small", narrow)
            result = simulate(chosen, name, config, "verilator", pictures, dram, progress=tell)
            rows.append({"emission_s": emission_s, **result.report})
    table = Table(title=f"Verilator; golden model of demo: {golden:,.0f} images/s")
    texts = ("preset", "model")
    for title in (*texts, "emission s", "cycles an image", "utilisation", "simulated cycles/s"):
        table.add_column(title, justify="left" if title in texts else "right")
    for row in rows:
        table.add_row(
            row["preset"],
            row["model"],
            f"{row['emission_s']:.1f}",
            f"{row['cycles'] / row['images']:,.0f}",
            f"{row['utilization']:.1%}",
            f"{row['simulated_cycles_per_s']:,.0f}",
        )
    console.print(table)
    wrong = [row["preset"] for row in rows if row["differing_elements"]]
    write_json(json, {"golden_images_per_s": golden, "presets": rows})
    if wrong:
        raise CheckFailedError(f"elements differ from the golden model on {', '.join(wrong)}")
