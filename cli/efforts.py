"""`sievit efforts`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cli.effort_tables import effort_tables
from cli.errors import UsageError
from cli.options import (
    DatasetOption,
    DramOption,
    JsonOption,
    ModelOption,
    PresetOption,
    load_dataset,
    load_model,
    require,
    writable,
    write_json,
)
from cli.progress import steps
from spec.dram import DEFAULT_DRAM

if TYPE_CHECKING:
    from quantize.datasets import Labelled
    from spec.model_config import ModelConfig

__all__ = ["command"]

CALIBRATION = 5_000
"""As many of Fashion-MNIST's training images as are held back."""


def command(
    model: ModelOption = "demo-deep",
    preset: PresetOption = "tiny",
    dram: DramOption = DEFAULT_DRAM,
    dataset: DatasetOption = "sample",
    images: Annotated[
        int, typer.Option(min=0, help="Held-out images: take the first so many; 0: all.")
    ] = 0,
    calibration: Annotated[
        int, typer.Option(min=2, help="Calibration images: take the first so many.")
    ] = CALIBRATION,
    similar: Annotated[
        int, typer.Option(min=2, help="Measure similarity on the first so many of them.")
    ] = 500,
    active: Annotated[
        str | None,
        typer.Option(
            help="Numbers of blocks that attend, as 2,4: try the best path of each. If not given: "
            "the model's own efforts, or every number."
        ),
    ] = None,
    score: Annotated[
        str,
        typer.Option(
            help="Paths by what attention changes least: block (its block's output) or output "
            "(the head's input, greedily; takes longer)."
        ),
    ] = "block",
    max_drop: Annotated[
        float,
        typer.Option(
            min=0, max=100, help="Points that may be lost against all attention, on calibration."
        ),
    ] = 0.5,
    target_cycles: Annotated[
        float | None,
        typer.Option(min=1, help="Most mean cycles an image, instead of --max-drop."),
    ] = None,
    low_share: Annotated[
        float,
        typer.Option(min=0, max=1, help="Share of images that the first effort must answer."),
    ] = 0.0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", callback=writable, help="Write the model with the efforts chosen."
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            callback=writable,
            help="Draw accuracy against cycles into this file (extra plot).",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Choose the efforts of a model: which blocks skip attention, and when a picture is done.

    Blocks whose attention changes least (CKA of their input with and without it, float) are skipped
    first. Each path runs once, in integers, over all images; then every cascade of up to three
    paths is tried with a grid of thresholds. Efforts are chosen on calibration images: of
    fashion-mnist the last 5,000 of training, of others the first half; they are reported on the
    others. Cycles are predicted for the preset, the sum of all passes of an image.

    Example: sievit efforts --model demo-effort --preset tiny --plot efforts.svg
    """
    if plot:
        require("plot")
    from spec.dram import dram_preset
    from spec.model_file import save
    from spec.presets import preset as preset_of
    from training.effort_search import Goal
    from training.effort_study import SCORES, effort_study

    if score not in SCORES:
        raise UsageError(f"--score must be {' or '.join(SCORES)}, not '{score}'")
    config, timing = preset_of(preset), dram_preset(dram)
    goal = Goal(max_drop=max_drop / 100, target_cycles=target_cycles, low_share=low_share)
    loaded = load_model(model)
    numbers = _numbers(active, loaded.config.depth)
    known, others = _splits(dataset, loaded.config, calibration, images)
    with steps() as tell:
        report, chosen = effort_study(
            loaded,
            model,
            config,
            dram,
            timing,
            known,
            others,
            similar_images=similar,
            active=numbers,
            score=score,
            goal=goal,
            tell=tell,
        )
    console = Console()
    for table in effort_tables(report):
        console.print(table)
    write_json(json, report)
    if out:
        save(chosen, out)
        console.print(f"{out}: the model with these efforts", soft_wrap=True)
    if plot:
        from sim.effort_pictures import draw_efforts

        draw_efforts(report, plot)


def _numbers(text: str | None, depth: int) -> list[int]:
    """`--active` as numbers of blocks."""
    if text is None:
        return []
    words = text.split(",")
    if not all(word.strip().isdecimal() and 1 <= int(word) <= depth for word in words):
        raise UsageError(f"--active must be numbers of blocks in 1..{depth}, as 2,4, not '{text}'")
    return [int(word) for word in words]


def _splits(
    dataset: str, config: "ModelConfig", calibration: int, images: int
) -> tuple["Labelled", "Labelled"]:
    """The images to choose by, and those to report."""
    from training.datasets import HELD_BACK

    if dataset == "fashion-mnist":
        known = load_dataset(dataset, "train", config).part(slice(-HELD_BACK, None))
        others = load_dataset(dataset, "test", config)
    else:
        data = load_dataset(dataset, "test", config)
        if not data.labelled or len(data) < 4:
            raise UsageError(f"--dataset {dataset}: needs at least 4 images with labels")
        half = len(data) // 2
        known, others = data.first(half), data.part(slice(half, None))
    return known.first(calibration), others.first(images or len(others))
