"""`sievit search`."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from cli.errors import CheckFailedError, UsageError
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
from cli.search_tables import front_table, measured_table, refusal_table, settings_table
from spec.dram import DEFAULT_DRAM

if TYPE_CHECKING:
    from perf_model.energy import EnergyCosts
    from quantize.datasets import Labelled
    from spec.model_config import ModelConfig

__all__ = ["command"]


def command(
    model: ModelOption = "demo",
    preset: PresetOption = "tiny",
    target_cycles: Annotated[
        float | None, typer.Option(min=1, help="The most accurate point of so few mean cycles.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0, max=100, help="Or the fastest point that loses at most so many points of top-1."
        ),
    ] = None,
    trials: Annotated[
        int, typer.Option(min=1, help="In all, rounded up to whole generations.")
    ] = 64,
    generation: Annotated[
        int, typer.Option(min=4, help="Trials that are chosen together, and run in parallel.")
    ] = 16,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed and trials give the same points.")
    ] = 0,
    study: Annotated[
        Path | None,
        typer.Option(callback=writable, help="Keep every trial in this file, and go on from it."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    cluster: Annotated[
        str | None,
        typer.Option(help="Instead: the scheduler of dask.distributed, such as tcp://host:8786."),
    ] = None,
    knobs: Annotated[
        str, typer.Option(help="What to change: some of these groups.")
    ] = "tokens,masks,thresholds,efforts,machine",
    dataset: DatasetOption = "fashion-mnist",
    images: Annotated[
        int, typer.Option(min=1, help="Calibration images: the first training images.")
    ] = 512,
    held_out: Annotated[
        int, typer.Option(min=0, help="Images for the front's second top-1: test images.")
    ] = 1000,
    predict: Annotated[
        int, typer.Option(min=1, help="Calibration images whose cycles are predicted.")
    ] = 4,
    dram: DramOption = DEFAULT_DRAM,
    energy: Annotated[
        str | None,
        typer.Option(
            help="The energy proxy's picojoules: of a MAC, a byte of row memory, a byte of DRAM "
            "(default: 0.3,1.25,162.5, see docs/search.md)."
        ),
    ] = None,
    simulate: Annotated[
        int,
        typer.Option(min=0, help="Measure so many of the front again on simulated Verilog."),
    ] = 0,
    export: Annotated[
        Path | None,
        typer.Option(help="Write each point of the front as model and preset to this folder."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(callback=writable, help="Draw accuracy against cycles (extra plot)."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Search sieves and machine together: accuracy, cycles, DRAM bytes, gates (extra: search).

    Nothing is trained: token thresholds, masks, DynaTran's thresholds, efforts, and array, lanes,
    memories and bus of the machine. Accuracy is the integer golden model's on calibration images,
    cycles are those of the Verilog, gates are an estimate and energy is a proxy. All points that no
    other one beats are listed; with a target one is chosen. A study file can be resumed.

    Example: sievit search -m micro-all -p tiny --max-drop 1 --trials 64 --study micro.study
    """
    if target_cycles is not None and max_drop is not None:
        raise UsageError("--target-cycles and --max-drop: give one of them")
    if cluster is not None and jobs > 1:
        raise UsageError("--jobs and --cluster: give one of them")
    require("search")
    if plot:
        require("plot")
    if simulate:
        require("sim")
    from search.evaluate import Evaluator
    from search.export import export as export_points
    from search.export import new_folder
    from search.plot import draw_front
    from search.remeasure import remeasure, some_of
    from search.settings import settings_of
    from search.space import space_of
    from search.study import Target, Trials
    from search.workers import workers
    from spec.dram import dram_preset
    from spec.presets import preset as preset_of

    began = time.perf_counter()
    config, timing = preset_of(preset), dram_preset(dram)
    costs = _energy_costs(energy)
    if export:
        new_folder(export)
    loaded = load_model(model)
    calibration, others = _split(dataset, loaded.config, images, held_out)
    drop = None if max_drop is None else max_drop / 100
    target = Target(cycles=target_cycles, drop=drop)
    console = Console()
    with steps() as tell:
        tell(f"averaging attention over {len(calibration)} images")
        evaluator = Evaluator(
            space=space_of(loaded, config, calibration.images, knobs.split(",")),
            timing=timing,
            calibration=calibration,
            held_out=others,
            predicted=predict,
            costs=costs,
        )
        space = evaluator.space
        found = Trials(space.knobs, target, settings_of(evaluator), study, seed, generation)
        with workers(evaluator, jobs, cluster) as run:
            found.run(trials, run, tell)
            front = found.front
            tell(f"{len(others)} other images at {len(front)} points")
            looked_at = [found.points[0], *front] if len(others) else []
            checks = run([("check", point["values"]) for point in looked_at])
        chosen = target.best(front)
        measured = [
            remeasure(evaluator, point, model, tell=tell) for point in some_of(front, simulate)
        ]
    report: dict[str, Any] = {
        "model": model,
        "preset": config.name,
        "dram": dram,
        "latency": timing.latency,
        "bandwidth": timing.bandwidth,
        "dataset": dataset,
        "images": len(calibration),
        "held_out_images": len(others),
        "cycles_images": len(evaluator.sampled),
        "seed": seed,
        "trials": len(found.finished()),
        "target_cycles": target_cycles,
        "max_drop": drop,
        "knobs": {name: list(choices) for name, choices in space.knobs.items()},
        "energy_costs": asdict(evaluator.costs),
        "points": found.points,
        "refused": found.refused,
        "front": [
            {"trial": point["trial"], "top1_held_out": checks[number] if checks else None}
            for number, point in enumerate(front, 1)
        ],
        "base_top1_held_out": checks[0] if checks else None,
        "chosen": None if chosen is None else chosen["trial"],
        "measured": measured,
        "wall_s": time.perf_counter() - began,
    }
    console.print(front_table(report))
    console.print(settings_table(report))
    if report["refused"]:
        console.print(refusal_table(report))
    if measured:
        console.print(measured_table(report))
    if export:
        for file, text in export_points(evaluator, front, export):
            console.print(f"{file}, {text}", soft_wrap=True, highlight=False)
    write_json(json, report)
    if plot:
        draw_front(report, plot)
    if not front:
        least = min(point["cycles"] for point in report["points"])
        raise CheckFailedError(
            f"none of {len(report['points'])} points reaches the target; the fewest cycles are "
            f"{least:,.0f}; allow more, or more --trials"
        )
    wrong = [entry["trial"] for entry in measured if not entry["agrees"]]
    if wrong:
        raise CheckFailedError(f"trial {wrong[0]}: the Verilog does not do what was predicted")


def _energy_costs(text: str | None) -> "EnergyCosts":
    from perf_model.energy import HOROWITZ, EnergyCosts

    if text is None:
        return HOROWITZ
    try:
        costs = [float(word) for word in text.split(",")]
    except ValueError:
        costs = []
    if len(costs) != 3 or not all(0 <= cost < float("inf") for cost in costs):
        raise UsageError(f"--energy must be three numbers, as 0.3,1.25,162.5, not '{text}'")
    mac, sram, dram = costs
    return EnergyCosts(mac_pj=mac, sram_byte_pj=sram, dram_byte_pj=dram)


def _split(
    dataset: str, config: "ModelConfig", images: int, held_out: int
) -> tuple["Labelled", "Labelled"]:
    """Images to choose by and others: training and test images, or the two parts of a file."""
    if dataset == "fashion-mnist":
        chosen_by = load_dataset(dataset, "train", config).first(images)
        return chosen_by, load_dataset(dataset, "test", config).first(held_out)
    data = load_dataset(dataset, "test", config)
    if not data.labelled:
        raise UsageError(f"--dataset {dataset}: a search needs labels")
    return data.first(images), data.part(slice(images, images + held_out))
