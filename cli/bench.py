"""`sievit bench`."""

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cli.options import JsonOption, load_dataset, load_model, require, write_json

__all__ = ["command"]


def command(
    presets: Annotated[
        list[str] | None, typer.Option("--preset", "-p", help="Which (default: all).")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Simulated images a preset.")] = 2,
    json: JsonOption = None,
) -> None:
    """Time emission, simulation and the golden model; show the array's utilisation."""
    require("sim")
    from golden_model import evaluate
    from rtl_gen.emit import verilog
    from sim.experiment import simulate
    from sim.machine import Options
    from spec.presets import PRESETS
    from spec.presets import preset as preset_of

    console = Console()
    model = load_model("demo")
    data = load_dataset("sample", "test", model.config)
    began = time.perf_counter()
    evaluate(model, data.images)
    golden = len(data) / (time.perf_counter() - began)
    rows = []
    for name in track(presets or list(PRESETS), "presets", console=console, transient=True):
        config = preset_of(name)
        began = time.perf_counter()
        verilog(config)
        emission_s = time.perf_counter() - began
        result = simulate(
            model,
            "demo",
            config,
            "verilator",
            data.images[:images],
            Options(latency=64, bandwidth=9),
        )
        rows.append({"emission_s": emission_s, **result.report})
    table = Table(title=f"demo model, Verilator; golden model {golden:,.0f} images/s")
    for title in ("preset", "emission s", "cycles an image", "utilisation", "simulated cycles/s"):
        table.add_column(title, justify="left" if title == "preset" else "right")
    for row in rows:
        table.add_row(
            row["preset"],
            f"{row['emission_s']:.1f}",
            f"{row['cycles'] / row['images']:,.0f}",
            f"{row['utilization']:.1%}",
            f"{row['simulated_cycles_per_s']:,.0f}",
        )
    console.print(table)
    write_json(json, {"golden_images_per_s": golden, "presets": rows})
