"""`sievit selftest`."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.devices import DeviceOption, open_device
from cli.errors import CheckFailedError
from cli.options import (
    DatasetOption,
    JsonOption,
    ModelOption,
    PresetOption,
    load_dataset,
    load_model,
    write_json,
)
from cli.progress import steps

__all__ = ["command"]

_MARKS = {True: ("ok", "green"), False: ("failed", "red"), None: ("-", "")}


def command(
    device: DeviceOption = "golden",
    preset: PresetOption = "tiny",
    model: ModelOption = "micro",
    dataset: DatasetOption = "sample",
    images: Annotated[int, typer.Option(min=1, help="Pictures, from the first.")] = 4,
    all_memory: Annotated[
        bool,
        typer.Option(
            "--all-memory", help="Test a board's whole memory, not only what is behind the image."
        ),
    ] = False,
    json: JsonOption = None,
) -> None:
    """Check a board, or any other device: registers, memory, link, answers bit by bit, errors.

    What a device has not is shown as such. Exit status 1 if any check fails.

    Example: sievit selftest --device serial:/dev/ttyUSB0 --preset ulx3s --model demo
    """
    from compiler import compile
    from host.selftest import selftest
    from spec.pixels import batch_of, patches_of
    from spec.presets import preset as preset_of

    config, loaded = preset_of(preset), load_model(model)
    data = load_dataset(dataset, "test", loaded.config, images).first(images)
    inputs = list(patches_of(batch_of(data.images, loaded.config), loaded.config))
    with steps() as tell:
        tell("compiling")
        image = compile(loaded, config)
        tell(f"opening {device}")
        with open_device(device, config) as opened:
            name = opened.name
            checks = selftest(opened, config, image, inputs, whole_memory=all_memory, tell=tell)
    table = Table(title=f"{name}: {model} on {config.name}")
    for title in ("check", "result", "found"):
        table.add_column(title)
    table.add_column("seconds", justify="right")
    for check in checks:
        mark = Text(*_MARKS[check.ok])
        seconds = "" if check.ok is None else f"{check.wall_s:.2f}"
        table.add_row(check.name, mark, Text(check.detail), seconds)
    Console().print(table)
    write_json(
        json,
        {
            "device": device,
            "preset": config.name,
            "model": model,
            "checks": [
                {"name": one.name, "ok": one.ok, "found": one.detail, "wall_s": one.wall_s}
                for one in checks
            ],
        },
    )
    failed = [check for check in checks if check.ok is False]
    if failed:
        done = sum(check.ok is not None for check in checks)
        raise CheckFailedError(
            f"{len(failed)} of {done} checks; first: {failed[0].name}: {failed[0].detail}"
        )
