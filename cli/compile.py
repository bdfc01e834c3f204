"""`sievit compile`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli.options import JsonOption, ModelOption, PresetOption, load_model, writable, write_json
from cli.tables import candidate_table, order_table, traffic_table

if TYPE_CHECKING:
    from compiler import Compilation

__all__ = ["command"]


def command(
    model: ModelOption = "demo",
    preset: PresetOption = "tiny",
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", callback=writable, help="Write the image to this file."),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Print every step: layers, memory map, program.")
    ] = False,
    orders: Annotated[
        bool,
        typer.Option(
            "--orders", help="Print DRAM traffic by tensor, and every loop order of each layer."
        ),
    ] = False,
    json: JsonOption = None,
) -> None:
    """Compile a model for a machine: program, weights and tables.

    A model that does not fit is refused: where, how much it needs, how much there is, and which
    parameter of the machine decides.

    Example: sievit compile --model demo --preset ulx3s --show --out demo-ulx3s.image
    """
    from dataclasses import asdict

    from compiler import compile_steps
    from compiler.loop_orders import loop_orders
    from perf_model import traffic
    from spec import image
    from spec.presets import preset as preset_of

    config = preset_of(preset)
    result = compile_steps(load_model(model), config)
    console = Console()
    if show:
        console.print(result.describe(), markup=False, highlight=False, soft_wrap=True)
    made = result.image
    console.print(
        f"{model} for {preset}: {len(made.program):,} instructions, "
        f"{made.weights.size:,} bytes of weights and tables",
        soft_wrap=True,
    )
    parts = list(_parts(result))
    if len(parts) > 1:
        for number, part in enumerate(parts):
            blocks = ", ".join(map(str, part["skipped"])) or "none"
            console.print(
                f"effort {number}: {part['instructions']:,} instructions, "
                f"{part['weights_bytes']:,} bytes if alone; blocks without attention: {blocks}",
                soft_wrap=True,
            )
        console.print(f"{result.shared_bytes:,} bytes are shared by efforts")
    moved, found = (), ()
    if orders or json:
        moved = traffic(made, config)
        found = loop_orders(result.lowered, result.allocation)
    if orders:
        console.print(result.allocation.tiling.describe(), markup=False)
        console.print(traffic_table(moved))
        console.print(candidate_table(result.candidates, result.allocation))
        console.print(order_table(found))
    if out is not None:
        image.save(made, out)
        console.print(
            f"written to {out}; run it: "
            f"sievit simulate --model {model} --preset {preset} --image {out}",
            soft_wrap=True,
        )
    report = {
        "model": model,
        "preset": config.name,
        "instructions": len(made.program),
        "program_bytes": made.program.size,
        "weights_bytes": made.weights.size,
        "input_bytes": made.input_bytes,
        "result_bytes": made.result_bytes,
        "model_digest": made.model_digest,
        "config_digest": f"{made.config_digest:016x}",
        "scratch_bytes": made.scratch_bytes,
        "efforts": parts,
        "shared_bytes": result.shared_bytes,
        "traffic": [{**asdict(one), "window": one.window.name} for one in moved],
        "loop_orders": [asdict(one) for one in found],
    }
    write_json(json, report)


def _parts(result: "Compilation") -> Iterator[dict[str, Any]]:
    """What each effort is of a compiled program."""
    from spec.isa import program_parts

    opcodes = result.image.program[:, 0]
    for part, own in zip(result.parts, program_parts(opcodes), strict=True):
        (effort,) = part.lowered.model.config.passes
        yield {
            "skipped": list(effort.skipped),
            "instructions": len(own),
            "weights_bytes": part.allocation.weights_bytes,
        }
