"""A small machine of three head groups, and models that try its parts."""

import dataclasses

from spec.presets import preset
from tests import shapes, tiled_models

GROUPED = dataclasses.replace(
    preset("tiny"),
    name="grouped",
    attention_masks=False,
    head_groups=3,
    token_words=200,
    row_words=24,
)
MODELS = {
    "micro": shapes.model_of,
    "five_tokens": shapes.model_of,
    "uneven_heads": shapes.model_of,
    "two_tokens": shapes.model_of,
    "odd": shapes.model_of,
    "mean": shapes.model_of,
    "even depth": tiled_models.model_of,
    "odd depth": tiled_models.model_of,
    "four groups": tiled_models.model_of,
}
"""Name -> what makes it. Heads and column blocks that are no multiple of three, tiles, chunks of
inputs, and a spilled residual stream are among them; see `test_machine_groups`."""


def model_of(name):
    """The model."""
    return MODELS[name](name)
