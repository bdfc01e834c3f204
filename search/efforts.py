"""What a search may change of a model's efforts: blocks without attention, and the gate (PIVOT)."""

from collections.abc import Mapping
from typing import Any

from quantize.efforts import threshold_code, with_efforts
from spec.config import Config
from spec.efforts import Effort
from spec.model_file import Model

__all__ = ["effort_knobs", "with_effort_values"]

GATE = "efforts.gate"
OFF, ONE, OWN = "off", "one", "own"
"""One pass with all attention; one pass without that of some blocks; the model's own efforts."""
ENTROPIES = (0.25, 0.5, 1.0, 1.5)
"""Bits of the logits' entropy up to which a first pass without some attention is enough; the last
effort of the model follows."""


def effort_knobs(model: Model, config: Config) -> dict[str, tuple[Any, ...]]:
    """Knobs of a model's efforts on a machine and their settings, what there is first."""
    own = model.config.passes[0].skipped
    gates = ENTROPIES if config.effort_gate else ()
    first = (OWN, OFF) if model.config.efforts else (OFF,)
    skips = {
        f"efforts.skip{block}": (block in own, block not in own)
        for block in range(model.config.depth)
    }
    return {GATE: (*first, ONE, *gates), **skips}


def with_effort_values(model: Model, values: Mapping[str, Any]) -> Model:
    """The model with the efforts of some settings; `QuantizeError` for those it cannot have."""
    gate = values.get(GATE, OWN)
    if gate == OWN or (gate == OFF and not model.config.efforts):
        return model
    skipped = tuple(
        block for block in range(model.config.depth) if values.get(f"efforts.skip{block}")
    )
    if gate == OFF or not skipped:
        return with_efforts(model, ())
    if gate == ONE:
        return with_efforts(model, (Effort(skipped=skipped),))
    first = Effort(skipped=skipped, threshold=threshold_code(gate))
    last = model.config.passes[-1]
    return with_efforts(model, (first, last if last.skipped != skipped else Effort()))
