"""`sievit synth`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cli.errors import UsageError
from cli.options import JsonOption, PresetOption, require, write_json
from cli.progress import steps

__all__ = ["command"]


def command(
    preset: PresetOption = "ulx3s",
    device: Annotated[str, typer.Option(help="ECP5 size: 25k, 45k or 85k.")] = "85k",
    frequency_mhz: Annotated[
        float, typer.Option("--frequency", min=1, help="Clock to aim at, in MHz.")
    ] = 50.0,
    route: Annotated[
        bool, typer.Option("--route", help="Route too; else estimate after placement.")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Synthesise and pack for an ECP5: resources and estimated clock (extra: fpga).

    Takes minutes; the first time the tools compile themselves, which takes minutes more. Exit
    status 2 if the machine does not fit.

    Example: sievit synth --preset ulx3s --device 85k --json ulx3s.json
    """
    from boards.ecp5 import DEVICES, synthesize
    from spec.presets import preset as preset_of

    config = preset_of(preset)
    if device not in DEVICES:
        raise UsageError(f"--device must be one of {', '.join(DEVICES)}, not '{device}'")
    require("fpga")
    console = Console()
    with steps() as tell:
        result = synthesize(
            config,
            device=device,
            frequency_mhz=frequency_mhz,
            route=route,
            progress=tell,
        )
    table = Table(title=f"{preset} on ECP5-{device.upper()}")
    table.add_column("resource")
    table.add_column("used", justify="right")
    table.add_column("available", justify="right")
    for name, entry in result["resources"].items():
        table.add_row(name, f"{entry['used']:,}", f"{entry['available']:,}")
    console.print(table)
    console.print(f"estimated clock: {result['fmax_mhz']:.1f} MHz (aim: {frequency_mhz:.0f} MHz)")
    for line in result["critical_path"]:
        console.print(f"  {line}", highlight=False)
    write_json(json, result)
