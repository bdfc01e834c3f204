"""Stages for a recipe by Algorithm 1, with a short fine-tuning at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from spec.model_config import Stage

from .datasets import DataSet, Labelled, load_fashion_mnist
from .errors import TrainingError
from .insertion import Goal, Insertion, insert_selectors, stages_of
from .latency import LatencyTable
from .recipe import Recipe
from .train import dense_model, read_float
from .trainer import EpochRecord, Trainer

__all__ = ["Budget", "recipe_of", "search_recipe", "search_stages"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How long one step of the search fine-tunes; HeatViT takes 30 epochs."""

    epochs: int = 1
    images: int = 10_000
    """Training images, from the first."""


def recipe_of(recipe: Recipe, keeps: tuple[float, ...]) -> Recipe:
    """The recipe with a selector before each block that keeps fewer patches than the one before."""
    if recipe.sieve is None:
        raise TrainingError(f"recipe {recipe.name} has no token selectors to insert")
    found = stages_of(keeps)
    stages = tuple(Stage(block=block, rule="selector") for block, _ in found)
    sieve = replace(recipe.sieve, keep=tuple(keep for _, keep in found))
    return replace(recipe, model=replace(recipe.model, stages=stages), sieve=sieve)


def search_stages(
    recipe: Recipe,
    dense: dict[str, Tensor],
    table: LatencyTable,
    goal: Goal,
    data: DataSet,
    budget: Budget | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[Recipe, Insertion]:
    """Run Algorithm 1 from a dense model; the recipe with the stages found, and what they give.

    Every step goes on from the weights of the one before. Accuracies are of the held-back images.
    """
    budget = budget or Budget()
    some = replace(data, train=_first(data.train, budget.images))
    size = min(recipe.batch_size, len(some.train))
    steps = replace(recipe, epochs=budget.epochs, warmup_epochs=0, batch_size=size)
    weights = dense

    def fine_tune(keeps: tuple[float, ...]) -> float:
        nonlocal weights
        trainer = Trainer(recipe_of(steps, keeps), some, dense=dense, start=weights)
        for _ in range(budget.epochs):
            trainer.run_epoch()
        weights = trainer.average.state_dict()
        return trainer.history[-1].held_back_top1

    unsieved = replace(steps, model=replace(steps.model, stages=()), sieve=None)
    accuracy = Trainer(unsieved, some, start=dense).top1(data.held_back)
    tell(f"dense: {table.model_cycles([1.0] * recipe.model.depth):,.0f} cycles, {accuracy:.2%}")
    found = insert_selectors(table, recipe.model.depth, accuracy, fine_tune, goal, tell)
    return recipe_of(recipe, found.keeps), found


def search_recipe(
    recipe: Recipe,
    out_path: Path,
    table_path: Path,
    target_cycles: float,
    *,
    accuracy_drop: float = 0.005,
    step_images: int = 10_000,
    dense: Path | None = None,
    resume: bool = True,
    epochs: int | None = None,
    data: DataSet | None = None,
    compile_model: bool = True,
    progress: Callable[[EpochRecord], None] = lambda record: None,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[Recipe, Path]:
    """The recipe with stages that reach a number of cycles, and the dense model it starts from.

    table_path : what `sievit latency` wrote, for this model and a preset
    accuracy_drop, step_images : of `Goal` and `Budget`
    Others as in `train`. A target that cannot be reached within the accuracy is refused.
    """
    if recipe.sieve is None:
        raise TrainingError(f"recipe {recipe.name} has no token selectors to insert")
    table = LatencyTable.load(table_path)
    data = data or load_fashion_mnist(recipe.model.image_size)
    dense = dense or dense_model(
        recipe,
        out_path,
        resume=resume,
        epochs=epochs,
        data=data,
        compile_model=compile_model,
        progress=progress,
    )
    found_recipe, found = search_stages(
        recipe,
        read_float(dense)[1],
        table,
        Goal(target_cycles=target_cycles, accuracy_drop=accuracy_drop),
        data,
        Budget(images=step_images),
        tell,
    )
    if not found.met:
        raise TrainingError(
            f"target_cycles {target_cycles:,.0f} not reached: {found.cycles:,.0f} cycles at "
            f"{found.accuracy:.2%}; allow a larger accuracy drop or more cycles"
        )
    if not found.stages:
        raise TrainingError(
            f"target_cycles {target_cycles:,.0f}: the dense model needs no more; train "
            f"{recipe.sieve.dense}"
        )
    return found_recipe, dense


def _first(split: Labelled, count: int) -> Labelled:
    return Labelled(images=np.ascontiguousarray(split.images[:count]), labels=split.labels[:count])
