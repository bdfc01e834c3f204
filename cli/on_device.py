"""`sievit run --device`: the images through a device, each answer held against the golden model."""

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cli.devices import open_device
from cli.errors import CheckFailedError

if TYPE_CHECKING:
    from quantize.datasets import Labelled
    from spec.config import Config
    from spec.model_file import Model

__all__ = ["finish", "run_on_device"]

AT_ONCE = 64
"""Pictures that a device gets together: one run of a simulator, or a step of the progress."""


def run_on_device(
    device: str, model: str, loaded: "Model", config: "Config", data: "Labelled"
) -> dict[str, Any]:
    """Run images on a device and compare all logits; the report, as `spec.reports` has it.

    model : its name, for the report
    """
    import numpy as np

    from compiler import compile
    from golden_model import evaluate
    from spec.pixels import batch_of, patches_of

    image = compile(loaded, config)
    errors = Console(stderr=True)
    with (
        Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress,
        ExitStack() as stack,
    ):
        sending = progress.add_task("loading the model", total=None)
        opened = stack.enter_context(
            open_device(
                device,
                config,
                lambda done, total: progress.update(sending, completed=done, total=total),
            )
        )
        expected = evaluate(loaded, data.images).logits
        began = time.perf_counter()
        opened.load(image)
        load_s = time.perf_counter() - began
        task = progress.add_task(f"images through {opened.name}", total=len(data))
        answers = []
        began = time.perf_counter()
        for first in range(0, len(data), AT_ONCE):
            pictures = batch_of(data.images[first : first + AT_ONCE], loaded.config)
            answers += opened.run(list(patches_of(pictures, loaded.config)))
            progress.update(task, completed=len(answers))
        wall_s = time.perf_counter() - began
        clock_hz = opened.clock_hz
    logits = np.stack([answer.logits for answer in answers])
    differing = (logits != expected).any(axis=1)
    predictions = logits.argmax(axis=1)
    cycles = [answer.cycles for answer in answers if answer.cycles is not None]
    return {
        "device": device,
        "model": model,
        "preset": config.name,
        "images": len(data),
        "top1": float((predictions == data.labels).mean()) if data.labelled else None,
        "differing_images": int(differing.sum()),
        "first_differing": int(differing.argmax()) if differing.any() else None,
        "cycles": {"mean": float(np.mean(cycles)), "min": min(cycles), "max": max(cycles)}
        if cycles
        else None,
        "clock_hz": clock_hz,
        "load_s": load_s,
        "wall_s": wall_s,
    }


def finish(report: dict[str, Any]) -> None:
    """Print the report; `CheckFailedError` if any answer is not the golden model's."""
    count = report["images"]
    table = Table(title=f"{report['model']} on {report['device']}: {count:,} images")
    table.add_column("figure")
    table.add_column("value", justify="right")
    if report["top1"] is not None:
        table.add_row("top-1", f"{report['top1']:.2%}")
    same = count - report["differing_images"]
    table.add_row("answers equal to the golden model's", f"{same:,} of {count:,}")
    table.add_row("images per second, all included", f"{count / report['wall_s']:,.1f}")
    table.add_row("seconds to load the model", f"{report['load_s']:.1f}")
    if report["cycles"]:
        mean = report["cycles"]["mean"]
        table.add_row("cycles an image, mean", f"{mean:,.0f}")
        if report["clock_hz"]:
            speed = report["clock_hz"] / mean
            clock = f"{report['clock_hz'] / 1e6:g} MHz"
            table.add_row(f"images per second of the machine at {clock}", f"{speed:,.0f}")
    Console().print(table)
    if report["differing_images"]:
        raise CheckFailedError(
            f"{report['differing_images']:,} of {count:,} answers differ from the golden model's; "
            f"first: image {report['first_differing']}"
        )
