"""Pictures of sieves: which patches are dropped where, accuracy against cycles, what each saves."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.errors import SimulationError
from spec.model_config import ModelConfig
from spec.pixels import batch_of

__all__ = ["darkened", "draw_curve", "draw_sieves", "draw_stages", "new_figure"]

DARK = 0.2
"""What is left of a dropped patch's light."""
TINT = (16, 20, 60)
"""Added to it, so that a dropped patch of a black background is seen too."""


def darkened(
    image: NDArray[np.uint8], alive: NDArray[np.bool_], model: ModelConfig
) -> NDArray[np.uint8]:
    """An image whose dropped patches are dark.

    image : uint8 [channels, height, width]; the first channel is shown unless there are three
    alive : [tokens]
    result : uint8 [height, width, 3]
    """
    side = model.image_size // model.patch_size
    patches = alive[model.prefix_tokens :].reshape(side, side)
    kept = patches.repeat(model.patch_size, axis=0).repeat(model.patch_size, axis=1)
    pixels = image if len(image) == 3 else image[:1].repeat(3, axis=0)
    dark = pixels * DARK + np.reshape(TINT, (3, 1, 1))
    return np.where(kept, pixels, dark).astype(np.uint8).transpose(1, 2, 0)


def draw_stages(
    images: NDArray[np.uint8],
    alive: NDArray[np.bool_],
    titles: list[str],
    model: ModelConfig,
    path: Path,
) -> None:
    """Draw each image, and beside it what each stage leaves of it.

    images : uint8 [n, height, width] or [n, channels, height, width]
    alive : [n, stages, tokens]
    titles : of the images
    """
    images = batch_of(images, model)
    columns = 1 + len(model.stages)
    figure, save = new_figure(path, (1.9 * columns, 2.1 * len(images)))
    grid = figure.subplots(len(images), columns, squeeze=False)
    for image, rows, title, axes in zip(images, alive, titles, grid, strict=True):
        whole = np.ones(model.tokens, np.bool_)
        for number, (each, axis) in enumerate(zip([whole, *rows], axes, strict=True)):
            axis.imshow(darkened(image, each, model), interpolation="nearest")
            axis.set_axis_off()
            patches = int(each[model.prefix_tokens :].sum())
            text = f"block {model.stages[number - 1].block}: {patches}" if number else title
            axis.set_title(text, fontsize=8)
    save()


def draw_curve(points: list[dict[str, Any]], title: str, path: Path) -> None:
    """Draw accuracy against cycles; the point of the model's own thresholds is filled."""
    figure, save = new_figure(path, (6.5, 4.2))
    axes = figure.add_subplot()
    found = sorted(points, key=lambda point: point["cycles"])
    cycles = [point["cycles"] for point in found]
    accuracy = [100 * point["top1_integer"] for point in found]
    axes.plot(cycles, accuracy, color="#3b6ea5", marker="o", markerfacecolor="white")
    for point in found:
        text = f"x {point['factor']:g}"
        place = (point["cycles"], 100 * point["top1_integer"])
        if point["factor"] == 1:
            axes.plot(*place, color="#b03030", marker="o")
            text += " (the model's)"
        axes.annotate(text, place, (3, -9), textcoords="offset points", fontsize=7)
    axes.set_xlabel("cycles an image, mean, predicted")
    axes.set_ylabel("top-1, %")
    axes.set_title(title, fontsize=9)
    axes.grid(visible=True, alpha=0.3)
    save()


def draw_sieves(report: dict[str, Any], path: Path) -> None:
    """Draw a report of `sieve_study` (`spec.reports.SIEVES`): cycles with each sieve."""
    entries = report["variants"]
    figure, save = new_figure(path, (1.5 + 1.3 * len(entries), 4.2))
    axes = figure.add_subplot()
    kinds = (
        ("cycles", "whole image", "#8fb3d9"),
        ("array_busy_cycles", "array busy", "#3b6ea5"),
        ("attention_core_cycles", "scores, softmax and P.V", "#b03030"),
    )
    width = 0.8 / len(kinds)
    for number, (key, label, colour) in enumerate(kinds):
        found = [entry[key] for entry in entries]
        means = [each["mean"] for each in found]
        places = [place + (number - 1) * width for place in range(len(entries))]
        below = [each["mean"] - each["min"] for each in found]
        above = [each["max"] - each["mean"] for each in found]
        axes.bar(places, means, width, color=colour, label=label)
        axes.errorbar(places, means, (below, above), fmt="none", ecolor="black", elinewidth=0.8)
        if key == "cycles":
            for place, mean, more in zip(places, means, above, strict=True):
                axes.annotate(
                    f"{means[0] / mean:.2f} x",
                    (place, mean + more),
                    (0, 6),
                    textcoords="offset points",
                    ha="center",
                    fontsize=7,
                )
    axes.set_xticks(range(len(entries)), [entry["name"] for entry in entries])
    axes.set_ylabel("cycles an image, mean, predicted")
    axes.set_ylim(top=1.12 * axes.get_ylim()[1])
    axes.legend(loc="upper right", fontsize=7)
    axes.set_title(
        f"{Path(report['model']).name} on {report['preset']}, {report['dram']} DRAM, "
        f"{report['images']:,} images",
        fontsize=9,
    )
    save()


def new_figure(path: Path, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure, and what writes it; refuses files of an unknown kind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    suffixes = sorted(FigureCanvasAgg(figure).get_supported_filetypes())
    if path.suffix[1:] not in suffixes:
        raise SimulationError(
            f"{path}: cannot draw '{path.suffix}'; there are {', '.join(suffixes)}"
        )
    return figure, lambda: figure.savefig(path, dpi=130)
