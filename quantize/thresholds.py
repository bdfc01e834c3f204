"""DynaTran's thresholds (AccelTran): real magnitudes to the integers of each tensor, and back.

A real threshold tau clears |x| <= tau. Scores are meant before they are scaled by
1 / sqrt(head_dim), as DynaTran has them; probabilities as shares of their row's largest, because
the machine divides by the row's sum later. Keys are centred: a constant in every key changes no
attention, but it changes which values are small.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantize.errors import QuantizeError
from spec.formats import GELU, PROB, SOFTMAX
from spec.model_config import THRESHOLDS, ModelConfig
from spec.model_file import FLOAT_PREFIX, HIGHEST_THRESHOLD, Model

__all__ = [
    "cleared",
    "parse_tau",
    "real_thresholds",
    "threshold_codes",
    "threshold_units",
    "with_thresholds",
]

HALF = 0.5
"""A code stands for the values within half a unit of it."""


def cleared(x: NDArray[np.floating], tau: Any) -> NDArray[np.floating]:  # noqa: ANN401
    """Make values 0 whose magnitude is at most tau; a tau of 0 changes nothing.

    tau : a number, or one for each of equal parts of the last dimension (the heads' channels)
    """
    if not np.any(tau):
        return x
    limit = np.asarray(tau, x.dtype)
    if limit.ndim:
        limit = np.repeat(limit, x.shape[-1] // len(limit))
    return np.where(np.abs(x) <= limit, 0, x)


def parse_tau(value: Any, depth: int) -> tuple[dict[str, Any], ...]:  # noqa: ANN401
    """Thresholds of each block: from a number for all, an object by tensor, or one a block."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = dict.fromkeys(THRESHOLDS, value)
    if isinstance(value, Mapping):
        value = [dict(value)] * depth
    if not isinstance(value, list | tuple) or len(value) != depth:
        raise QuantizeError(f"tau must be a number, an object, or a list of {depth} objects")
    blocks = []
    for number, block in enumerate(value):
        if not isinstance(block, Mapping):
            raise QuantizeError(f"tau: entry {number} must be an object")
        for name, tau in block.items():
            if name not in THRESHOLDS:
                raise QuantizeError(f"tau: {name} is none of {', '.join(THRESHOLDS)}")
            try:
                good = (np.isfinite(tau) & (np.asarray(tau) >= 0)).all()
            except TypeError:
                good = False
            if not good:
                raise QuantizeError(f"tau: {name} must be a number of at least 0, not {tau!r}")
        blocks.append(dict(block))
    return tuple(blocks)


def threshold_units(
    config: ModelConfig, scales: Mapping[str, Any], block: int
) -> dict[str, NDArray[np.float64]]:
    """Real value of one unit of each of `THRESHOLDS`: a number, or one a head."""
    name = f"blocks.{block}"
    logit = math.sqrt(config.head_dim) * math.log(2) / (1 << SOFTMAX.fraction_bits)
    gelu = config.activation == "gelu"
    units = {
        **{kind: scales[f"{name}.attn.{kind}"] for kind in ("q", "k", "v", "context")},
        "scores": logit,
        "probs": 1 / PROB.high,
        "proj": scales["residual"],
        "fc1": GELU.input_unit if gelu else scales[f"{name}.mlp.fc1"],
        "fc2": scales["residual"],
    }
    return {kind: np.asarray(units[kind], np.float64) for kind in THRESHOLDS}


def threshold_codes(
    config: ModelConfig, scales: Mapping[str, Any], block: int, tau: Mapping[str, Any]
) -> NDArray[np.uint16]:
    """Integer thresholds of a block: the largest that clear nothing above tau.

    One for all heads: where their scales differ, the coarsest counts.
    """
    codes = []
    for name, unit in threshold_units(config, scales, block).items():
        code = math.floor(float(np.min(np.asarray(tau.get(name, 0)) / unit)) + 2**-20)
        if code > HIGHEST_THRESHOLD[name]:
            highest = HIGHEST_THRESHOLD[name] * float(unit.max())
            raise QuantizeError(
                f"tau: blocks.{block}: {name} must be at most {highest:.4g}, where nothing is "
                f"left, not {np.max(tau[name]):.4g}"
            )
        codes.append(code)
    return np.array(codes, np.uint16)


def real_thresholds(model: Model) -> tuple[dict[str, Any], ...]:
    """What the integer thresholds of a model clear in real numbers, block by block."""
    if not model.config.thresholds:
        return ()
    blocks = []
    for block in range(model.config.depth):
        units = threshold_units(model.config, model.scales, block)
        codes = model.thresholds(block)
        blocks.append({name: (codes[name] + HALF) * units[name] for name in units if codes[name]})
    return tuple(blocks)


def with_thresholds(model: Model, tau: Any) -> Model:  # noqa: ANN401
    """Give a quantised model thresholds, instead of any it has.

    tau : as of `parse_tau`
    The float originals' keys are centred like the integers', so that both clear the same.
    """
    config = replace(model.config, thresholds=True)
    tensors = dict(model.tensors)
    blocks = parse_tau(tau, config.depth)
    for block, own in enumerate(blocks):
        tensors[f"blocks.{block}.thresholds"] = threshold_codes(config, model.scales, block, own)
        name = f"blocks.{block}.attn.qkv"
        keys = slice(config.attention_dim, 2 * config.attention_dim)
        unit = np.repeat(model.scales[f"blocks.{block}.attn.k"], config.head_dim)
        factor = np.ldexp(
            model[f"{name}.mult"][keys].astype(np.float64),
            -model[f"{name}.shift"][keys].astype(int),
        )
        bias = model[FLOAT_PREFIX + f"{name}.bias"].copy()
        bias[keys] = (model[f"{name}.bias"][keys] * factor * unit).astype(bias.dtype)
        tensors[FLOAT_PREFIX + f"{name}.bias"] = bias
    return replace(
        model,
        config=config,
        tensors=tensors,
        provenance={**model.provenance, "tau": json.dumps(blocks, default=np.ndarray.tolist)},
    )
