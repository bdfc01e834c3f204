"""What a search may change of a model and its machine: names of knobs, and their settings.

The first setting of every knob is what there is: all first settings together are the model and the
machine as they are. None of them needs training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from quantize.float_model import float_model_of
from quantize.masks import average_attention, prune_to_sparsity, with_masks
from quantize.thresholds import real_thresholds, with_thresholds
from quantize.variants import with_fields, without
from search.efforts import effort_knobs, with_effort_values
from search.errors import SearchError
from search.machines import machine_knobs, machine_of
from spec.config import Config
from spec.formats import SCORE
from spec.model_config import Stage
from spec.model_file import Model

__all__ = ["GROUPS", "Point", "Space", "space_of"]

GROUPS = ("tokens", "masks", "thresholds", "efforts", "machine")
"""Groups of knobs, for `--knobs`."""
OWN = "own"
"""The setting that leaves the model's own masks or thresholds as they are."""
FACTORS = (1.0, 0.0, 0.6, 0.7, 0.8, 0.9, 1.1, 1.2)
"""Of a stage's threshold; 0: the model without the stage."""
SPARSITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9)
"""Shares of the attention scores that are pruned; 0: no masks."""
TAUS = (0.0, 0.02, 0.05, 0.1, 0.2)
"""DynaTran's thresholds; 0: none."""
SKIPPED = ("context", "fc1", "probs")
"""The tensors whose zeros save steps of the array."""

Values = Mapping[str, Any]
Knobs = dict[str, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A model and a machine for it."""

    model: Model
    config: Config


@dataclass(frozen=True, kw_only=True)
class Space:
    """All points of a search."""

    model: Model
    config: Config
    knobs: Knobs
    masks: Mapping[float, NDArray[np.bool_]]
    """Kept scores for each sparsity that can be reached."""

    @property
    def base(self) -> dict[str, Any]:
        """The settings that change nothing."""
        return {name: settings[0] for name, settings in self.knobs.items()}

    def point(self, values: Values) -> Point:
        """The model and the machine of some settings; `SievitError` if there can be none."""
        model = _with_factors(self.model, values)
        model = self._with_masks(model, values)
        model = _with_taus(model, values)
        model = with_effort_values(model, values)
        return Point(model=model, config=machine_of(self.config, model, values))

    def _with_masks(self, model: Model, values: Values) -> Model:
        sparsity = values.get("masks.sparsity", OWN)
        if sparsity == OWN or (not sparsity and not any(model.config.masks)):
            return model
        if not sparsity:
            return without(model, "masks")
        kept = self.masks[sparsity].copy()
        for stage in model.config.stages:
            if stage.rule == "cls_attention":  # reads all scores of the block before
                kept[stage.block - 1] = True
        return with_masks(model, kept)


def space_of(
    model: Model, config: Config, images: NDArray[np.uint8], groups: Sequence[str] = GROUPS
) -> Space:
    """The knobs that a model and a machine have.

    images : over which attention is averaged for masks
    groups : some of `GROUPS`
    """
    for group in groups:
        if group not in GROUPS:
            raise SearchError(f"knobs must be some of {', '.join(GROUPS)}, not '{group}'")
    knobs: Knobs = {}
    masks: dict[float, NDArray[np.bool_]] = {}
    if "tokens" in groups:
        for number in range(len(model.config.stages)):
            knobs[f"stages.{number}.factor"] = FACTORS
    if "masks" in groups and config.attention_masks:
        masks = _masks(model, images)
        own = (OWN,) if any(model.config.masks) else ()
        knobs["masks.sparsity"] = (*own, 0.0, *masks)
    if "thresholds" in groups and config.thresholds and config.zero_skip:
        own = (OWN,) if model.config.thresholds else ()
        knobs |= {f"tau.{tensor}": (*own, *TAUS) for tensor in SKIPPED}
    if "efforts" in groups:
        knobs |= effort_knobs(model, config)
    if "machine" in groups:
        knobs |= machine_knobs(config)
    if not knobs:
        raise SearchError(
            f"nothing to search: neither the model nor preset '{config.name}' has a knob of "
            f"{', '.join(groups)}"
        )
    return Space(model=model, config=config, knobs=knobs, masks=masks)


def _masks(model: Model, images: NDArray[np.uint8]) -> dict[float, NDArray[np.bool_]]:
    maps = average_attention(float_model_of(model), images)
    found = {}
    for sparsity in SPARSITIES[1:]:
        try:
            found[sparsity], _ = prune_to_sparsity(maps, sparsity, model.config.prefix_tokens)
        except QuantizeError:  # more than can be reached with so few tokens
            break
    return found


def _with_factors(model: Model, values: Values) -> Model:
    """The stages with their thresholds times a factor; without those of factor 0."""
    stages: list[Stage] = []
    for number, stage in enumerate(model.config.stages):
        factor = values.get(f"stages.{number}.factor", 1.0)
        if factor:
            threshold = min(round(stage.threshold * factor), SCORE.high)
            stages.append(replace(stage, threshold=threshold))
    if tuple(stages) == model.config.stages:
        return model
    return with_fields(model, stages=tuple(stages))


def _with_taus(model: Model, values: Values) -> Model:
    taus = {tensor: values.get(f"tau.{tensor}", OWN) for tensor in SKIPPED}
    if set(taus.values()) == {OWN}:
        return model
    own = real_thresholds(model) or ({},) * model.config.depth
    changed = {tensor: tau for tensor, tau in taus.items() if tau != OWN}
    blocks = [{**block, **changed} for block in own]
    if not any(np.any(tau) for block in blocks for tau in block.values()):
        return without(model, "thresholds") if model.config.thresholds else model
    return with_thresholds(model, blocks)
