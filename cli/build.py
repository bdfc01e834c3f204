"""`sievit build`."""

from typing import Annotated

import typer
from rich.console import Console

from cli.area_tables import resource_table
from cli.errors import CheckFailedError, UsageError
from cli.options import JsonOption, load_model, require, write_json
from cli.progress import steps

__all__ = ["command"]


def command(
    board: Annotated[str, typer.Option("--board", "-b", help="ulx3s-85f or ulx3s-25f.")],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Put into the memory; the board's own if not given."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option("--preset", "-p", help="Another machine than the board's own.")
    ] = None,
    clock_mhz: Annotated[
        float | None, typer.Option("--clock", min=1, help="Another clock, in MHz.")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Placements to try until one meets the clock.")
    ] = 8,
    first_seed: Annotated[
        int | None, typer.Option(min=0, help="The first of them; the board's own if not given.")
    ] = None,
    no_route: Annotated[
        bool,
        typer.Option("--no-route", help="Stop after placement: an estimate, and no bitstream."),
    ] = False,
    link_only: Annotated[
        bool,
        typer.Option("--link-only", help="Leave the machine out: a small build to try the board."),
    ] = False,
    json: JsonOption = None,
) -> None:
    """Build the bitstream of a board with a compiled model in its block RAM (extra: fpga).

    Exit status is 1, and there is no bitstream, when no seed meets the clock. Synthesis takes
    minutes, each seed many more; --no-route and --link-only are quick.

    Example: sievit build --board ulx3s-85f --model demo --json build.json
    """
    from dataclasses import replace

    if link_only and (model or preset):
        raise UsageError("--link-only has neither --model nor --preset")
    require("fpga")
    from boards.build import build
    from boards.platforms import board as board_of
    from compiler import compile_steps
    from spec.presets import preset as preset_of

    target = board_of(board)
    if clock_mhz is not None:
        target = replace(target, clock_hz=round(clock_mhz * 1e6))
    config = None if link_only else preset_of(preset or target.preset)
    image = (
        None if config is None else compile_steps(load_model(model or target.model), config).image
    )
    with steps() as tell:
        result = build(
            target,
            config,
            image,
            route=not no_route,
            seeds=seeds,
            first_seed=target.first_seed if first_seed is None else first_seed,
            progress=tell,
        )
    console = Console()
    what = "link only" if config is None else config.name
    console.print(resource_table(result | {"preset": what, "target": board}))
    kind = "after routing" if result["routed"] else "estimated after placement"
    for one in result["seeds"]:
        console.print(f"seed {one['seed']}: {one['fmax_mhz']:.2f} MHz, {one['wall_s']:.0f} s")
    for line in result["critical_path"]:
        console.print(f"  {line}", highlight=False)
    console.print(
        f"clock {kind}: {result['fmax_mhz']:.2f} MHz, {result['clock_mhz']:g} MHz wanted; "
        f"synthesis {result['synthesis_s']:.0f} s, all {result['wall_s']:.0f} s"
    )
    write_json(json, result)
    if result["bitstream"]:
        console.print(f"{result['bitstream']}", soft_wrap=True)
    elif not result["met"]:
        raise CheckFailedError(
            f"{board}: {result['fmax_mhz']:.2f} MHz at best, {result['clock_mhz']:g} MHz wanted; "
            "try --seeds, or a slower --clock"
        )
