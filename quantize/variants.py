"""A model without one of its sieves, or without any: what each of them is worth."""

from dataclasses import dataclass, replace
from typing import Any

from quantize.errors import QuantizeError
from spec.config import Config
from spec.model_file import Model, tensor_table

__all__ = ["SIEVES", "Variant", "sieves_of", "variants", "with_fields", "without"]

_WITHOUT = {
    "tokens": {"stages": ()},
    "masks": {"masks": ()},
    "thresholds": {"thresholds": False},
    "efforts": {"efforts": ()},
}
"""Sieve of a model -> the fields of a shape that has it no more."""
SIEVES = ("tokens", "masks", "zeros", "thresholds", "efforts")
"""All there are. Zeros are skipped by the machine, without a word in the model; thresholds make
more of them."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A model and a machine with some of the model's sieves."""

    name: str
    sieves: tuple[str, ...]
    model: Model
    config: Config


def without(model: Model, *sieves: str) -> Model:
    """The model without some of `tokens`, `masks`, `thresholds` and `efforts`.

    Other weights stay as they are.

    A model that was trained with a sieve may classify badly without it.
    """
    changes = {}
    for sieve in sieves:
        if sieve not in _WITHOUT:
            raise QuantizeError(f"a model can lose {', '.join(_WITHOUT)}, not '{sieve}'")
        changes |= _WITHOUT[sieve]
    return with_fields(model, **changes)


def with_fields(model: Model, **changes: Any) -> Model:  # noqa: ANN401
    """The model with other fields of its shape, without the tensors that it then has no more."""
    config = replace(model.config, **changes)
    tensors = {name: model.tensors[name] for name in tensor_table(config)}
    return replace(model, config=config, tensors=tensors)


def sieves_of(model: Model, config: Config) -> tuple[str, ...]:
    """The sieves that a model has on a machine, of `SIEVES`.

    A threshold saves nothing on a machine that does not skip zeros. Zeros are looked for behind
    ReLU and thresholds, and among the probabilities of lists.
    """
    shape = model.config
    zeros = shape.activation == "relu" or any(shape.masks) or shape.thresholds
    has = {
        "tokens": bool(shape.stages),
        "masks": any(shape.masks),
        "zeros": config.zero_skip and zeros,
        "thresholds": shape.thresholds and config.zero_skip,
        "efforts": bool(shape.efforts),
    }
    return tuple(sieve for sieve in SIEVES if has[sieve])


def variants(model: Model, config: Config) -> list[Variant]:
    """The model dense, with each of its sieves alone, and with all of them.

    `thresholds` alone are thresholds and the zeros that they make.
    """
    every = sieves_of(model, config)
    chosen = {"dense": (), **{sieve: (sieve,) for sieve in every}}
    if len(every) > 1:
        chosen["all"] = every
    found = []
    for name, sieves in chosen.items():
        lost = [sieve for sieve in _WITHOUT if sieve not in sieves]
        skips = not {"zeros", "thresholds"}.isdisjoint(sieves)
        found.append(
            Variant(
                name=name,
                sieves=sieves,
                model=without(model, *lost),
                config=config if skips else replace(config, zero_skip=False),
            )
        )
    return found
