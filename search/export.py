"""Points of a search as files: a model, a machine as text for `--preset`, the predicted images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from search.errors import SearchError
from search.evaluate import Evaluator
from spec import model_file

__all__ = ["IMAGES", "export", "new_folder", "point_files"]

IMAGES = "images.safetensors"
"""The calibration images of which cycles were predicted, with their labels."""


def point_files(folder: Path, trial: int) -> tuple[Path, Path]:
    """Where a point's model and the text of its machine are."""
    return folder / f"trial-{trial}.safetensors", folder / f"trial-{trial}.preset"


def new_folder(folder: Path) -> None:
    """Make the folder, if it is not there."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise SearchError(f"--export {folder}: {error.strerror}") from None


def export(
    evaluator: Evaluator, points: Sequence[Mapping[str, Any]], folder: Path
) -> list[tuple[Path, Path]]:
    """Write points so that `sievit simulate -m MODEL -p "$(cat PRESET)" -d IMAGES` runs them.

    points : with `trial` and `values`, as of `search.study.Trials`
    folder : of `new_folder`
    """
    data, some = evaluator.calibration, evaluator.sampled
    model_file.write_tensors(
        folder / IMAGES,
        {"images": np.ascontiguousarray(data.images[some]), "labels": data.labels[some]},
        {"format": "sievit-sample", "version": "1"},
    )
    written = []
    for entry in points:
        model, preset = point_files(folder, entry["trial"])
        point = evaluator.space.point(entry["values"])
        model_file.save(point.model, model)
        preset.write_text(point.config.name + "\n")
        written.append((model, preset))
    return written
