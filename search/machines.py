"""What a search may change of the machine: array, lanes, memories, bus; what is left out."""

from collections.abc import Mapping
from typing import Any

from spec.config import Config
from spec.model_file import Model
from spec.presets import changed

__all__ = ["machine_knobs", "machine_of"]

FIELD = "machine."
"""Beginning of the names of knobs that are parameters of `Config`."""
SCALED = (
    *("banks", "lanes", "vector_lanes", "norm_lanes", "score_lanes"),
    *("bus_bits", "row_words", "token_words"),
)
"""Parameters that can be half or twice what they are."""
MIN_LANES, MIN_BUS_BITS = 8, 64
LEAVE_OUT = "machine.leave_out"
"""Whether what the point's model does not use is left out of the machine."""


def machine_knobs(config: Config) -> dict[str, tuple[Any, ...]]:
    """Knobs of a machine and their settings, what there is first.

    Not every combination can be built, nor holds every model: such a point is refused when it is
    made or compiled.
    """
    knobs: dict[str, tuple[Any, ...]] = {}
    least = {"lanes": MIN_LANES, "bus_bits": MIN_BUS_BITS}
    for field in SCALED:
        value = getattr(config, field)
        smaller = (value // 2,) if value % 2 == 0 and value // 2 >= least.get(field, 1) else ()
        knobs[FIELD + field] = (value, *smaller, 2 * value)
    if config.zero_skip:
        knobs[FIELD + "zero_skip"] = (True, False)
    knobs[LEAVE_OUT] = (False, True)
    return knobs


def machine_of(base: Config, model: Model, values: Mapping[str, Any]) -> Config:
    """The machine of some settings, for a model; `ConfigError` if it cannot be built.

    It has no more score lanes than banks.
    """
    fields = {
        name.removeprefix(FIELD): value
        for name, value in values.items()
        if name.startswith(FIELD) and name != LEAVE_OUT
    }
    if "score_lanes" in fields:
        fields["score_lanes"] = min(fields["score_lanes"], fields["banks"])
    if values.get(LEAVE_OUT):
        shape = model.config
        used = {
            "token_selector": bool(shape.stages),
            "cls_scores": any(stage.rule == "cls_attention" for stage in shape.stages),
            "attention_masks": any(shape.masks),
            "thresholds": shape.thresholds,
            "effort_gate": len(shape.passes) > 1,
        }
        fields |= {name: False for name, needed in used.items() if not needed}
    return changed(base, **fields)
