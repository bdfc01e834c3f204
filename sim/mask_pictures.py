"""Pictures of masks before and after reordering, and of what thresholds clear."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.masks import global_tokens, reordering
from sim.stage_pictures import new_figure

__all__ = ["draw_masks", "draw_profile"]


def draw_masks(kept: NDArray[np.bool_], title: str, path: Path) -> None:
    """Draw the masks of every block's first head, before and after reordering (ViTCoD, figure 8).

    kept : bool [blocks, heads, queries, keys]
    """
    columns = min(len(kept), 6)
    bands = -(-len(kept) // columns)
    figure, save = new_figure(path, (1.7 * columns, 3.7 * bands + 0.3))
    figure.suptitle(title, fontsize=9)
    grid = figure.subplots(2 * bands, columns, squeeze=False)
    for axis in grid.flat:
        axis.set_axis_off()
    for block, (mask, *_) in enumerate(kept):
        band, column = divmod(block, columns)
        order = reordering(mask)
        count = int(global_tokens(mask))
        for row, (picture, text) in enumerate(
            ((mask, f"block {block}, head 0"), (mask[np.ix_(order, order)], f"{count} global"))
        ):
            axis = grid[2 * band + row, column]
            axis.imshow(picture, cmap="Blues", interpolation="nearest", vmin=0, vmax=1.2)
            axis.set_title(text, fontsize=7)
            if row and count:
                axis.axvline(count - 0.5, color="#b03030", linewidth=0.7)
    save()


def draw_profile(report: dict[str, Any], path: Path) -> None:
    """Draw accuracy, zeros of each tensor and multiplications saved against tau."""
    points = [point for point in report["profile"] if point["tau"] is not None]
    points.sort(key=lambda point: point["tau"])
    figure, save = new_figure(path, (9, 4))
    left, right = figure.subplots(1, 2)
    taus = [point["tau"] for point in points]
    if points[0]["top1"] is not None:
        left.plot(taus, [100 * point["top1"] for point in points], color="#3b6ea5", marker="o")
    left.set_ylabel("top-1, %")
    for name in points[0]["sparsity"]:
        right.plot(taus, [100 * point["sparsity"][name] for point in points], label=name)
    saved = [100 * point["saved"] for point in points]
    right.plot(taus, saved, color="black", linewidth=2, label="multiplications saved")
    right.set_ylabel("zeros, %")
    right.legend(fontsize=7)
    for axis in (left, right):
        axis.set_xlabel("tau")
        axis.grid(visible=True, alpha=0.3)
    figure.suptitle(
        f"{Path(report['model']).name}: tau in {', '.join(report['tensors'])}, "
        f"{report['images']:,} images",
        fontsize=9,
    )
    save()
