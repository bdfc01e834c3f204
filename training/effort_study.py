"""Paths of a model by similarity, their cost and their answers, and the efforts chosen of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from golden_model.evaluate import evaluate
from perf_model.energy import energy_proxy, row_memory_bytes
from perf_model.estimate import estimate
from quantize.datasets import Labelled
from quantize.efforts import gate_tensors, with_efforts
from quantize.float_model import float_model_of
from quantize.similarity import attention_similarity, best_path, block_order, output_order
from spec.config import Config
from spec.dram import DramTiming
from spec.model_config import Effort, ModelConfig
from spec.model_file import Model

from .effort_search import Choice, Goal, Outcome, Path, choices, choose, entropy, front
from .errors import TrainingError

SCORES = ("block", "output")
"""By what paths are found: what attention changes in its block, or before the head."""

__all__ = ["SCORES", "effort_study", "path_cost", "paths_of"]


def paths_of(
    model: ModelConfig, order: Sequence[int], active: Sequence[int] = ()
) -> list[tuple[int, ...]]:
    """Blocks without attention, of each path that is tried; the one with all attention is last.

    order : of the blocks, those first that are skipped first
    active : numbers of attentions, whose best paths are taken. Without them the model's own
        efforts, which it was trained for, or else the best path of every number
    """
    if active:
        paths = [best_path(order, number) for number in active]
    elif model.efforts:
        paths = [effort.skipped for effort in model.efforts]
    else:
        paths = [best_path(order, number) for number in range(1, model.depth + 1)]
    return sorted({*paths, ()}, key=lambda skipped: (-len(skipped), skipped))


def path_cost(
    model: ModelConfig, skipped: tuple[int, ...], config: Config, dram: str, timing: DramTiming
) -> tuple[int, float]:
    """Predicted cycles of one pass as a program of its own, and its energy proxy in microjoules."""
    alone = replace(model, efforts=(Effort(skipped=skipped),))
    found = estimate(alone, "", config, dram, timing, all_blocks=True)
    energy = energy_proxy(
        macs=found["macs_done"],
        sram_bytes=row_memory_bytes(config, found["array_busy_cycles"]),
        dram_bytes=sum(found["dram_bytes"].values()),
    )
    return found["cycles"], energy


def effort_study(
    model: Model,
    name: str,
    config: Config,
    dram: str,
    timing: DramTiming,
    calibration: Labelled,
    held_out: Labelled,
    *,
    similar_images: int,
    active: Sequence[int] = (),
    score: str = "block",
    goal: Goal | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, Any], Model]:
    """Paths, and what efforts and thresholds make of them; also the model with those chosen.

    name, dram : of the model and of the memory, for the report
    calibration : images by which similarities are measured (the first `similar_images`) and
        efforts are chosen
    active : see `paths_of`
    score : one of `SCORES`
    Returns a report, see `spec.effort_report.EFFORTS`.
    """
    began = time.perf_counter()
    if model.config.stages:
        raise TrainingError(
            f"{name}: has stages, and the cycles of its paths depend on the picture; "
            "efforts are searched for models without stages"
        )
    if model.config.depth < 2:
        raise TrainingError(f"{name}: has one block, there is nothing to skip")
    tell("similarity of the blocks")
    images = calibration.images[:similar_images]
    reference = float_model_of(model)
    similarity = attention_similarity(reference, images)
    order = output_order(reference, images) if score == "output" else block_order(similarity)
    paths = []
    for skipped in paths_of(model.config, order, active):
        tell(f"{model.config.depth - len(skipped)} of {model.config.depth} blocks attend")
        one = with_efforts(model, [Effort(skipped=skipped)])
        cycles, energy = path_cost(model.config, skipped, config, dram, timing)
        paths.append(
            Path(
                skipped=skipped,
                cycles=cycles,
                energy_proxy_uj=energy,
                calibration=_outcome(one, calibration),
                held_out=_outcome(one, held_out),
            )
        )
    tell("efforts and thresholds")
    found = list(choices(paths))
    chosen = choose(found, goal or Goal())
    report = {
        "model": name,
        "preset": config.name,
        "dram": dram,
        "latency": timing.latency,
        "bandwidth": timing.bandwidth,
        "images_similarity": len(images),
        "images_calibration": len(calibration.labels),
        "images_held_out": len(held_out.labels),
        "depth": model.config.depth,
        "similarity": similarity,
        "score": score,
        "order": order,
        "paths": [_entry(each, paths) for each in found if not each.thresholds],
        "front": [_entry(each, paths) for each in front(found)],
        "chosen": _entry(chosen, paths),
        "wall_s": time.perf_counter() - began,
    }
    return report, with_efforts(model, _efforts(chosen, paths))


def _outcome(model: Model, split: Labelled) -> Outcome:
    found = evaluate(model, split.images)
    gate = gate_tensors(float(model.scales["head"]))
    scale = int(gate["gate.mult"][0]), int(gate["gate.shift"][0])
    return Outcome(right=found.predictions == split.labels, entropy=entropy(found.logits, *scale))


def _efforts(choice: Choice, paths: Sequence[Path]) -> list[Effort]:
    thresholds = (*choice.thresholds, 0)
    return [
        Effort(skipped=paths[number].skipped, threshold=threshold)
        for number, threshold in zip(choice.paths, thresholds, strict=True)
    ]


def _entry(choice: Choice, paths: Sequence[Path]) -> dict[str, Any]:
    """A choice as the report has it."""
    efforts = [
        {"skipped": list(effort.skipped), "threshold": effort.threshold}
        for effort in _efforts(choice, paths)
    ]
    return {
        "efforts": efforts,
        "calibration": asdict(choice.calibration),
        "held_out": asdict(choice.held_out),
    }
