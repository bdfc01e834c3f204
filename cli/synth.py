"""`sievit synth`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli.area_tables import (
    comparison_table,
    gate_table,
    memory_table,
    resource_table,
    unit_table,
)
from cli.errors import UsageError
from cli.options import JsonOption, PresetOption, require, saved_report, write_json
from cli.progress import steps

__all__ = ["command"]

TARGETS = ("ecp5", "gates", "xcup", "ice40", "gowin")


def command(
    preset: PresetOption = "ulx3s",
    target: Annotated[
        str,
        typer.Option(
            help="ecp5, gates (two-input NANDs, by unit), xcup (UltraScale+), ice40 or gowin."
        ),
    ] = "ecp5",
    device: Annotated[str, typer.Option(help="ECP5 size: 25k, 45k or 85k.")] = "85k",
    frequency_mhz: Annotated[
        float, typer.Option("--frequency", min=1, help="ECP5: clock to aim at, in MHz.")
    ] = 50.0,
    route: Annotated[
        bool, typer.Option("--route", help="ECP5: route too; else estimate after placement.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="ECP5: count resources only; the machine need not fit.")
    ] = False,
    compare: Annotated[
        Path | None,
        typer.Option(help="Also print what is more than in this report of --json."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Synthesise a machine: resources and clock of an FPGA, or gates (extra: fpga).

    ecp5 is placed too, and exit status is 2 if the machine does not fit. The others and --quick
    need no chip to fit, and say nothing about the clock. All take minutes; the first time the
    tools compile themselves, which takes minutes more.

    Example: sievit synth --preset asic512 --target gates --json gates.json
    """
    from boards import ecp5, gates, xilinx
    from boards.families import FAMILIES
    from boards.framed import count
    from spec.presets import preset as preset_of

    config = preset_of(preset)
    if target not in TARGETS:
        raise UsageError(f"--target must be one of {', '.join(TARGETS)}, not '{target}'")
    if device not in ecp5.DEVICES:
        raise UsageError(f"--device must be one of {', '.join(ecp5.DEVICES)}, not '{device}'")
    if (route or quick) and target != "ecp5":
        raise UsageError(f"--route and --quick are for --target ecp5, not {target}")
    if route and quick:
        raise UsageError("--route and --quick exclude each other")
    before = None if compare is None else saved_report(compare, target)
    require("fpga")
    console = Console()
    with steps() as tell:
        result: dict[str, Any]
        if target == "gates":
            result = gates.synthesize(config, progress=tell)
        elif target == "xcup":
            result = xilinx.synthesize(config, progress=tell)
        elif target in FAMILIES:
            result = count(config, target, FAMILIES[target], tell)
        elif quick:
            result = ecp5.estimate(config, device=device, progress=tell)
        else:
            result = ecp5.synthesize(
                config,
                device=device,
                frequency_mhz=frequency_mhz,
                route=route,
                progress=tell,
            )
    if target == "gates":
        console.print(gate_table(result))
        console.print(memory_table(result))
        console.print(f"method: {result['method']}", highlight=False)
    else:
        console.print(resource_table(result))
    if target == "xcup":
        console.print(unit_table(result))
    if not result.get("placed", True):
        console.print("synthesis only: not placed, so nothing is said about the clock")
    if "fmax_mhz" in result:
        console.print(
            f"estimated clock: {result['fmax_mhz']:.1f} MHz (aim: {frequency_mhz:.0f} MHz)"
        )
        for line in result["critical_path"]:
            console.print(f"  {line}", highlight=False)
    if before is not None:
        console.print(comparison_table(before, result))
    console.print(f"took {result['wall_s']:.0f} s")
    write_json(json, result)
